/** Directories of an SFTP server as entries. */
import {
  makePause,
  type Entry,
  quotePath,
  type Scope,
  type SourceContext,
  SourceError,
} from "@pannier/core/adapter";
import { type DirectoryItem, failedItem, unicodeProblem, walk } from "@pannier/file-server";
import type { FileEntryWithStats, SFTPWrapper } from "ssh2";
import { type Connection, misunderstood, type Session } from "./connection.ts";
import { isMissing, isVague, translate } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { ask } from "./kind.ts";
import { type Told, told } from "./told.ts";

/** Directories at once, on one connection. */
const CONCURRENCY = 16;
/** Requests for more of a directory that are on their way together: a server gives some 100 names at a time. */
const PAGES = 4;
/** Answers one after the other that neither have a name nor are the end. */
const MOST_EMPTY = 100;

export interface Listing {
  readonly connection: Connection;
  /** Without a `/` at the end. */
  readonly root: string;
  readonly signal: AbortSignal;
  readonly request: (operation: string) => void;
  readonly retry: SourceContext["retry"];
  readonly scope: Scope | undefined;
  /** Told of each FIFO, socket and device, which are left out. */
  readonly onSpecial: (path: string) => void;
}

export function listTree(listing: Listing): AsyncGenerator<readonly Entry[]> {
  const { signal, scope, onSpecial } = listing;
  return walk({
    read: (prefix, inner, count) =>
      listing.retry(() => readDirectory(listing, prefix, inner, count), inner),
    concurrency: CONCURRENCY,
    signal,
    scope,
    onSpecial,
  });
}

async function readDirectory(
  listing: Listing,
  prefix: string,
  signal: AbortSignal,
  count: (names: number, characters: number) => void,
): Promise<readonly DirectoryItem[] | undefined> {
  const { connection, root, request, scope } = listing;
  const path = `${root}/${prefix}`.replace(/(?<=.)\/$/, "");
  const session = await connection.session(signal);
  request("list");
  const now = Date.now();
  try {
    const items: DirectoryItem[] = [];
    const pause = makePause();
    for await (const page of readPages(session, path, quotePath(prefix || "/"), signal)) {
      const names = page.filter(({ filename }) => filename !== "." && filename !== "..");
      count(
        page.length,
        page.reduce((sum, { filename }) => sum + filename.length, 0),
      );
      const found = names.map((name) =>
        toItem({ root, session, prefix, scope, now, signal }, name),
      );
      for (const item of await Promise.all(found)) if (item !== undefined) items.push(item);
      await pause();
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
  const found = await ask(session, path, prefix, { signal }).catch((reason: unknown) => {
    throw translate(reason, prefix);
  });
  if (found === undefined) return undefined;
  if (found.kind === "directory") throw translate(error, prefix);
  throw new SourceError("changed", `${quotePath(prefix)} was replaced while it was listed`);
}

/** A page at a time: what ssh2 makes of a name is several times what an entry is. */
async function* readPages(
  session: Session,
  path: string,
  what: string,
  signal: AbortSignal,
): AsyncGenerator<readonly FileEntryWithStats[], void> {
  const close = (handle: Buffer) => session.tell((sftp, done) => sftp.close(handle, done));
  const handle = await session.ask<Buffer>(signal, (sftp, done) => sftp.opendir(path, done), close);
  const page = () => session.ask<Page>(signal, (sftp, done) => readPage(sftp, handle, done));
  const pages = Array.from({ length: PAGES }, page);
  // Those behind one that failed have nobody who waits for them.
  for (const one of pages) one.catch(() => {});
  try {
    for (let empty = 0; empty < MOST_EMPTY; empty++) {
      const some = await (pages.shift() as (typeof pages)[number]);
      if (some === "end") return;
      if (some.length > 0) empty = -1;
      const next = page();
      next.catch(() => {});
      pages.push(next);
      if (some.length > 0) yield some;
    }
    throw new SourceError("invalid", `the server lists nothing, again and again, of ${what}`);
  } finally {
    close(handle);
  }
}

/** What its type does not know. */
interface WholeReaddir {
  readdir(
    handle: Buffer,
    options: { readonly full: boolean },
    done: (error: Error | undefined | null, names: unknown) => void,
  ): void;
}

type Page = readonly FileEntryWithStats[] | "end";

/** The end of a directory is an error to ssh2. */
function readPage(
  sftp: SFTPWrapper,
  handle: Buffer,
  done: (error: Error | undefined, page: Page) => void,
): void {
  // With itself and the one above: ssh2 would leave them out, and a page of nothing else is not the end.
  (sftp as unknown as WholeReaddir).readdir(handle, { full: true }, (error, names) => {
    const END = 1;
    const atEnd = (error as { code?: number } | undefined)?.code === END;
    if (error !== undefined && error !== null && !atEnd) done(error, "end");
    else if (atEnd) done(undefined, "end");
    else if (isPage(names)) done(undefined, names);
    else done(misunderstood("names were asked for"), "end");
  });
}

function isPage(answer: unknown): answer is readonly FileEntryWithStats[] {
  return Array.isArray(answer);
}

interface Directory {
  readonly root: string;
  readonly session: Session;
  readonly prefix: string;
  readonly scope: Scope | undefined;
  readonly now: number;
  readonly signal: AbortSignal;
}

async function toItem(
  directory: Directory,
  { filename: name, longname, attrs }: FileEntryWithStats,
): Promise<DirectoryItem | undefined> {
  const { root, session, prefix, scope, now, signal } = directory;
  const relative = prefix + name;
  const path = `${root}/${relative}`;
  const failure = unicodeProblem(name, relative);
  let found = told(attrs, longname);
  if (found === undefined) {
    if (failure !== undefined) return { kind: "unknown", name, failure };
    // Nothing is asked about what is not wanted, as far as that is known.
    if (scope?.wants(relative) === false && !scope.enters(relative)) return undefined;
    try {
      found = await ask(session, path, relative, { signal, sent: attrs, longname });
    } catch (error) {
      return { kind: "unknown", name, failure: finalOr(error) };
    }
  }
  if (found === undefined) return { kind: "gone", name };
  const { kind } = found;
  const mtime = found.mtime === undefined ? undefined : found.mtime * 1000;
  if (kind === "directory") return { kind, name, failure };
  if (kind === "special") return { kind, name };
  if (failure !== undefined) return failedItem(name, failure);
  if (kind === "file") return fileItem(name, found, now);
  if (scope?.wants(relative) === false) return undefined;
  try {
    const target = await readTarget(session, path, relative, signal);
    if (target === undefined) return { kind: "gone", name };
    return { kind: "entry", name, entry: (at) => ({ kind, path: at, target, mtime }) };
  } catch (error) {
    return failedItem(name, finalOr(error));
  }
}

/** What another try would not change fails the listing only where the entry is wanted. @throws the rest */
function finalOr(error: unknown): unknown {
  if (error instanceof SourceError && !error.transient && error.code !== "changed") return error;
  throw error;
}

/** Of many thousands of names each keeps no more than this: what is made of it is made when its turn comes. */
function fileItem(name: string, { size, mode, mtime }: Told, now: number): DirectoryItem {
  return {
    kind: "entry",
    name,
    entry(path) {
      const fingerprint = fingerprintOf({ size, mtime }, now);
      const milliseconds = mtime === undefined ? undefined : mtime * 1000;
      return { kind: "file", size, mode, mtime: milliseconds, fingerprint, path };
    },
  };
}

/** @returns `undefined` where the symlink is gone since its name was read */
async function readTarget(
  session: Session,
  path: string,
  relative: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const target = await session.ask<string | undefined>(signal, (sftp, done) =>
      sftp.readlink(path, done),
    );
    if (typeof target !== "string") throw untold(relative);
    const problem = unicodeProblem(target, relative);
    if (problem !== undefined) throw problem;
    return target;
  } catch (error) {
    if (!isMissing(error) && !isVague(error)) throw translate(error, relative);
    const now = await ask(session, path, relative, { signal }).catch((reason: unknown) => {
      throw translate(reason, relative);
    });
    if (now === undefined) return undefined;
    if (now.kind === "symlink")
      throw isMissing(error) ? untold(relative) : translate(error, relative);
    throw new SourceError("changed", `${quotePath(relative)} was replaced while it was listed`);
  }
}

function untold(path: string): SourceError {
  const why = `the server does not tell what the symlink ${quotePath(path)} leads to`;
  return new SourceError("invalid", why, { hint: "exclude it" });
}
