/** What a name stands for: told by the permissions, which version 3 of the protocol leaves to the server to send. */
import { constants } from "node:fs";
import { type FileEntry, quotePath, SourceError } from "@pannier/core/adapter";
import type { Attributes, SFTPWrapper } from "ssh2";
import type { Callback, Session } from "./connection.ts";
import { isMissing, isRefusal } from "./errors.ts";
import { matches } from "./fingerprint.ts";

/** `special`: a FIFO, a socket, a device, and only where the server says so. */
type Kind = "file" | "directory" | "symlink" | "special";

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
type Sent = Partial<Attributes>;

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

/**
 * Asks for what a listing did not tell: by the attributes alone, else by trying what can be done with it.
 *
 * @param path on the server
 * @param name as it is told to the user
 * @returns `undefined` where it is gone by now
 * @throws SourceError `invalid` where the server does not tell; what the server answers
 */
export async function ask(
  session: Session,
  path: string,
  name: string,
  {
    signal,
    sent = {},
    longname = "",
  }: {
    readonly signal: AbortSignal;
    readonly sent?: Sent;
    readonly longname?: string;
  },
): Promise<Told | undefined> {
  let known = sent;
  try {
    const found = await session.ask<Sent>(signal, (sftp, done) => sftp.lstat(path, done));
    known = { ...sent, ...defined(found) };
  } catch (error) {
    if (isMissing(error)) return undefined;
    if (!isRefusal(error)) throw error;
  }
  const answer = told(known, longname);
  if (answer !== undefined) return answer;
  const make = (kind: Kind, size: number): Told => ({
    kind,
    size,
    mode: known.mode === undefined ? undefined : known.mode & 0o777,
    mtime: known.mtime,
  });
  if (await can(session, signal, (sftp, done) => sftp.readlink(path, done))) {
    return make("symlink", 0);
  }
  if (await opens(session, signal, (sftp, done) => sftp.opendir(path, done))) {
    return make("directory", 0);
  }
  const { size } = known;
  if (
    size !== undefined &&
    (await opens(session, signal, (sftp, done) => sftp.open(path, "r", done)))
  ) {
    return make("file", size);
  }
  throw new SourceError("invalid", `the server does not tell what ${quotePath(name)} is`, {
    hint: "exclude it",
  });
}

/** What a server left out is not there at all in what ssh2 makes of it, or `undefined`. */
function defined(sent: Sent): Sent {
  return Object.fromEntries(
    Object.entries(sent).filter(([, value]) => value !== undefined),
  ) as Sent;
}

type Send<Result> = (sftp: SFTPWrapper, done: Callback<Result>) => void;

async function can(session: Session, signal: AbortSignal, send: Send<unknown>): Promise<boolean> {
  try {
    await session.ask(signal, send);
    return true;
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return false;
  }
}

async function opens(session: Session, signal: AbortSignal, send: Send<Buffer>): Promise<boolean> {
  const close = (handle: Buffer) => session.tell((sftp, done) => sftp.close(handle, done));
  return can(session, signal, (sftp, done) =>
    send(sftp, (error, handle) => {
      if (error === undefined || error === null) close(handle);
      done(error, handle);
    }),
  );
}
