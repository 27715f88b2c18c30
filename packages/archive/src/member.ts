/** What an archive holds, whatever its format. */
import { SourceError } from "@pannier/core/adapter";

interface Named {
  /** As the archive has it. */
  readonly name: string;
  readonly mtime: number | undefined;
}

/** One member of an archive. Its content must be read before the next member is asked for; else it is skipped. */
export type Member =
  | (Named & {
      readonly kind: "file";
      readonly mode: number | undefined;
      /** As announced; the content may not be larger. */
      readonly size: number;
      readonly content: AsyncIterable<Uint8Array>;
      /** The content of a small one at once, where that is less work: to be called in its place, before the next member is asked for. */
      readonly whole?: (() => Uint8Array | Promise<Uint8Array>) | undefined;
    })
  | (Named & {
      readonly kind: "hardlink";
      readonly mode: number | undefined;
      readonly target: string;
    })
  | (Named & { readonly kind: "symlink"; readonly target: string })
  | (Named & { readonly kind: "directory" })
  /** Nothing that can be published, as a device or a FIFO: an error where it is wanted. */
  | (Named & { readonly kind: "special"; readonly failure: SourceError });

/** A file's content in the way that is least work: whole where it is small. To be read, or let be, before the next member is asked for. */
export function contentOf(
  member: Extract<Member, { kind: "file" }>,
): Uint8Array | Promise<Uint8Array> | AsyncIterable<Uint8Array> {
  return member.whole?.() ?? member.content;
}

/**
 * The segments of a member's name, without `.` and empty ones.
 *
 * @throws SourceError `invalid` for a name that leads out of the tree: the archive is refused as a whole
 */
export function segmentsOf(name: string): string[] {
  if (name.startsWith("/")) throw refuseName(name, "is an absolute path");
  if (name.includes("\0")) throw refuseName(name, "holds a NUL");
  const segments = name.split("/").filter((segment) => segment !== "" && segment !== ".");
  if (segments.includes("..")) throw refuseName(name, 'holds ".."');
  return segments;
}

/** What is wrong with a name that leads nowhere else. */
export function unreadable(name: string): SourceError | undefined {
  return name.includes("\uFFFD") ? refuseName(name, "is not UTF-8") : undefined;
}

function refuseName(name: string, why: string): SourceError {
  return new SourceError("invalid", `the archive holds ${JSON.stringify(name)}, which ${why}`, {
    hint: "nothing of it is used",
  });
}

/** Refuses an archive for a member that is neither file, directory nor link. */
export function refuseKind(name: string, kind: string): SourceError {
  return new SourceError("invalid", `the archive holds ${JSON.stringify(name)}, a ${kind}`, {
    hint: "nothing of it is used",
  });
}
