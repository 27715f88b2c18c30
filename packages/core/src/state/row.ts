/** Entries as the state keeps them. */
import type { Digest, DigestAlgorithm, Entry, FileEntry } from "../source/contract.ts";

export const FILE = 0;
export const SYMLINK = 1;
/** A symlink that the policy `skip` leaves out: known, but not in the tree. */
export const SKIPPED = 2;

/** An entry at its place in the tree, as source and settings want it. */
export interface EntryRow {
  readonly path: string;
  readonly layer: number;
  readonly kind: number;
  readonly size: number | null;
  /** Effective permission bits; null for symlinks. */
  readonly mode: number | null;
  readonly mtime: number | null;
  /** For a symlink: its target. */
  readonly fingerprint: string;
  readonly ref: string | null;
  /** Of the content, found while it was written. Before that what the source vouches for, as {@link toText} writes it. */
  readonly sha256: string | null;
}

/** How a file stands on the volume, by which tampering is noticed. */
interface DiskFacts {
  readonly ino: number | null;
  readonly disk_mtime: number | null;
}

/** What the state knows of a file that was published. */
export type PublishedRow = EntryRow & DiskFacts & { readonly since: number };

/** Columns of {@link EntryRow} and {@link DiskFacts}, for SELECTs. */
const ENTRY_COLUMNS = "path, layer, kind, size, mode, mtime, fingerprint, ref, sha256";
export const ALL_COLUMNS = `${ENTRY_COLUMNS}, ino, disk_mtime`;

/** Where a layer's entries go, and with which permissions. */
export interface Placement {
  readonly layer: number;
  /** Empty for the root. */
  readonly into: string;
  /** Overrides the source's mode. */
  readonly mode: number | undefined;
}

export function toRow(entry: Entry, place: Placement): EntryRow {
  const path = place.into === "" ? entry.path : `${place.into}/${entry.path}`;
  if (entry.kind === "symlink") {
    return {
      path,
      layer: place.layer,
      kind: SYMLINK,
      size: null,
      mode: null,
      mtime: entry.mtime ?? null,
      fingerprint: entry.target,
      ref: null,
      sha256: null,
    };
  }
  // Never set-user-id, set-group-id or sticky: a source must not hand out privileges.
  const mode = place.mode ?? (entry.mode === undefined ? 0o644 : entry.mode & 0o777);
  return {
    path,
    layer: place.layer,
    kind: FILE,
    size: entry.size ?? null,
    mode,
    mtime: entry.mtime ?? null,
    fingerprint: entry.fingerprint,
    ref: entry.ref ?? null,
    sha256: entry.digest === undefined ? null : toText(entry.digest),
  };
}

/** The way back, for reading: an entry as its source listed it. */
export function toEntry(row: EntryRow, into: string): FileEntry {
  return {
    kind: "file",
    path: into === "" ? row.path : row.path.slice(into.length + 1),
    size: row.size ?? undefined,
    mode: row.mode ?? undefined,
    mtime: row.mtime ?? undefined,
    fingerprint: row.fingerprint,
    digest: row.sha256 === null ? undefined : fromText(row.sha256),
    ref: row.ref ?? undefined,
  };
}

/** A SHA-256 as it is found by the engine too, others as `md5:HEX`, of parts as `md5/8388608:HEX`. */
function toText({ algorithm, value, partSize }: Digest): string {
  if (partSize !== undefined) return `${algorithm}/${partSize}:${value}`;
  return algorithm === "sha256" ? value : `${algorithm}:${value}`;
}

function fromText(text: string): Digest {
  const [, algorithm = "sha256", partSize, value = text] =
    /^(\w+)(?:\/(\d+))?:(.*)$/.exec(text) ?? [];
  return {
    algorithm: algorithm as DigestAlgorithm,
    value,
    partSize: partSize === undefined ? undefined : Number(partSize),
  };
}

/** False where two rows are known to have different contents: digests of different kinds tell nothing. */
export function mayEqual(a: string | null, b: string | null): boolean {
  return a === null || b === null || a === b || a.includes(":") !== b.includes(":");
}
