/** What a server tells of a name by itself: by the permissions, which version 3 of the protocol leaves to it to send. Also for lanes. */
import { constants } from "node:fs";
import type { FileEntry } from "@pannier/core/adapter";
import type { Attributes } from "ssh2";
import { matches } from "./fingerprint.ts";

/** `special`: a FIFO, a socket, a device, and only where the server says so. */
export type Kind = "file" | "directory" | "symlink" | "special";

/** What is known of a name. */
export interface Told {
  readonly kind: Kind;
  readonly size: number;
  /** Without its type; `undefined` where it is not told. */
  readonly mode: number | undefined;
  /** Seconds; `undefined` where it is not told. */
  readonly mtime: number | undefined;
}

/** Each may be missing: ssh2's own type does not say so. */
export type Sent = Partial<Attributes>;

const { S_IFMT } = constants;
const KINDS = new Map<number, Kind>([
  [constants.S_IFREG, "file"],
  [constants.S_IFDIR, "directory"],
  [constants.S_IFLNK, "symlink"],
  [constants.S_IFIFO, "special"],
  [constants.S_IFSOCK, "special"],
  [constants.S_IFCHR, "special"],
  [constants.S_IFBLK, "special"],
]);
/** As `ls -l` begins a line. */
const LETTERS = new Map<string, Kind>([
  ["-", "file"],
  ["d", "directory"],
  ["l", "symlink"],
  ["p", "special"],
  ["s", "special"],
  ["c", "special"],
  ["b", "special"],
]);

/** What the server says by itself; `undefined` where it does not say enough. */
export function told(sent: Sent, longname = ""): Told | undefined {
  const { mode, size, mtime } = typeof sent === "object" ? sent : {};
  const letter = /^([-dlpscb])[-rwxsStTlL]{9}/.exec(longname)?.[1] ?? "";
  const kind = KINDS.get((mode ?? 0) & S_IFMT) ?? LETTERS.get(letter);
  if (kind === undefined || (kind === "file" && size === undefined)) return undefined;
  return {
    kind,
    size: size ?? 0,
    mode: mode === undefined ? undefined : mode & 0o777,
    mtime,
  };
}

/** Whether what the server says of an open file is the version that was listed, as far as it says it. */
export function isVersion({ fingerprint }: FileEntry, sent: Sent): boolean {
  // Not every server tells types and times, of an open file least of all.
  const { kind = "file" } = told({ size: 0, ...sent }) ?? {};
  return kind === "file" && matches(fingerprint, sent);
}
