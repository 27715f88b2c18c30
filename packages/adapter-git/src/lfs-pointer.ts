/** Pointers of Git LFS. Loaded by lanes, too: it imports nothing. */

/** What stands in the repository for a file. */
export interface LfsPointer {
  /** SHA-256 of the content. */
  readonly oid: string;
  readonly size: number;
}

/** A pointer is shorter than this: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md */
export const POINTER_LIMIT = 1024;

export function parsePointer(data: Uint8Array): LfsPointer | undefined {
  if (data.length >= POINTER_LIMIT) return undefined;
  const text = Buffer.from(data).toString("latin1");
  if (!text.startsWith("version https://git-lfs.github.com/spec/v1\n")) return undefined;
  const oid = /^oid sha256:([0-9a-f]{64})$/m.exec(text)?.[1];
  const size = /^size (\d{1,15})$/m.exec(text)?.[1];
  return oid === undefined || size === undefined ? undefined : { oid, size: Number(size) };
}
