/** Directories of an SFTP server as entries. */
import { constants } from "node:fs";
import { type Entry, quotePath, type SourceContext, SourceError } from "@pannier/core";
import { checkUnicode, type DirectoryItem, walk } from "@pannier/walk";
import type { Attributes, FileEntryWithStats, SFTPWrapper } from "ssh2";
import type { Connection, Session } from "./connection.ts";
import { isMissing, isVague, translate } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";

/** Directories at once, on one connection. */
const CONCURRENCY = 16;
/** Requests for more of a directory that are on their way together: a server gives some 100 names at a time. */
const PAGES = 4;

export interface Listing {
  readonly connection: Connection;
  /** Without a `/` at the end. */
  readonly root: string;
  readonly signal: AbortSignal;
  readonly request: (operation: string) => void;
  readonly retry: SourceContext["retry"];
  /** Told of each FIFO, socket and device, which are left out; also twice. */
  readonly onSpecial: (path: string) => void;
}

export function listTree(listing: Listing): AsyncGenerator<readonly Entry[]> {
  const { signal } = listing;
  return walk({
    read: (prefix, inner) => listing.retry(() => readDirectory(listing, prefix, inner), inner),
    concurrency: CONCURRENCY,
    signal,
  });
}

async function readDirectory(
  listing: Listing,
  prefix: string,
  signal: AbortSignal,
): Promise<readonly DirectoryItem[] | undefined> {
  const { connection, root, request } = listing;
  const path = `${root}/${prefix}`.replace(/(?<=.)\/$/, "");
  const session = await connection.session(signal);
  request("list");
  const now = Date.now();
  try {
    const items: DirectoryItem[] = [];
    for await (const page of readPages(session, path, signal)) {
      const found = page
        .filter(({ filename }) => filename !== "." && filename !== "..")
        .map((name) => toItem(listing, session, prefix, name, now, signal));
      for (const item of await Promise.all(found)) if (item !== undefined) items.push(item);
    }
    return items;
  } catch (error) {
    if (prefix === "" || !(isMissing(error) || isVague(error))) throw translate(error, prefix);
    return whyUnreadable(session, path, prefix, error, signal);
  }
}

/** A directory that is gone is one thing, one that became something else another: then its parent was listed wrongly. */
async function whyUnreadable(
  session: Session,
  path: string,
  prefix: string,
  error: unknown,
  signal: AbortSignal,
): Promise<undefined> {
  const found = await session
    .ask<Attributes>(signal, (sftp, done) => sftp.lstat(path, done))
    .catch((reason: unknown) => {
      if (isMissing(reason)) return undefined;
      throw translate(reason, prefix);
    });
  if (found === undefined) return undefined;
  if ((found.mode & constants.S_IFMT) === constants.S_IFDIR) throw translate(error, prefix);
  throw new SourceError("changed", `${quotePath(prefix)} was replaced while it was listed`);
}

/** A page at a time: what ssh2 makes of a name is several times what an entry is. */
async function* readPages(
  session: Session,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<readonly FileEntryWithStats[], void> {
  const close = (handle: Buffer) => session.tell((sftp, done) => sftp.close(handle, done));
  const handle = await session.ask<Buffer>(signal, (sftp, done) => sftp.opendir(path, done), close);
  const page = () =>
    session.ask<FileEntryWithStats[]>(signal, (sftp, done) => readPage(sftp, handle, done));
  const pages = Array.from({ length: PAGES }, page);
  // Those behind one that failed have nobody who waits for them.
  for (const one of pages) one.catch(() => {});
  try {
    for (;;) {
      const some = await (pages.shift() as (typeof pages)[number]);
      if (some.length === 0) return;
      const next = page();
      next.catch(() => {});
      pages.push(next);
      yield some;
    }
  } finally {
    close(handle);
  }
}

/** The end of a directory, which ssh2 gives as an error, as a page without names. */
function readPage(
  sftp: SFTPWrapper,
  handle: Buffer,
  done: (error: Error | undefined, names: FileEntryWithStats[]) => void,
): void {
  sftp.readdir(handle, (error, names) => {
    const END = 1;
    const atEnd = (error as { code?: number } | undefined)?.code === END;
    if (error !== undefined && error !== null && !atEnd) done(error, []);
    else done(undefined, atEnd ? [] : names);
  });
}

async function toItem(
  { root, onSpecial }: Listing,
  session: Session,
  prefix: string,
  { filename: name, attrs }: FileEntryWithStats,
  now: number,
  signal: AbortSignal,
): Promise<DirectoryItem | undefined> {
  const relative = prefix + name;
  checkUnicode(name, relative);
  const path = `${root}/${relative}`;
  const { mode, size, mtime } = attrs;
  switch (mode & constants.S_IFMT) {
    case constants.S_IFDIR:
      return { kind: "directory", name };
    case constants.S_IFREG: {
      const fingerprint = fingerprintOf(attrs, now);
      const facts = {
        kind: "file",
        size,
        mode: mode & 0o777,
        mtime: mtime * 1000,
        fingerprint,
      } as const;
      return { kind: "entry", name, entry: (at) => ({ ...facts, path: at }) };
    }
    case constants.S_IFLNK: {
      const target = await session
        .ask<string>(signal, (sftp, done) => sftp.readlink(path, done))
        .catch((error: unknown) => {
          // Gone since its name was read.
          if (isMissing(error)) return undefined;
          throw translate(error, relative);
        });
      if (target === undefined) return undefined;
      checkUnicode(target, relative);
      return {
        kind: "entry",
        name,
        entry: (at) => ({ kind: "symlink", path: at, target, mtime: mtime * 1000 }),
      };
    }
    default:
      onSpecial(relative);
      return undefined;
  }
}
