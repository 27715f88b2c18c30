/**
 * A tree on a server as entries, in the order of their paths' bytes, whatever order the server lists in.
 *
 * Directories are read several at once: those that come next in order, while the consumer is still busy with earlier ones.
 * What is held is one directory for each level on the way to where the consumer is, and of what was read ahead a limited
 * number of names. A directory is held whole, because it can only be sorted whole.
 */
import { type Entry, makePause, quotePath, type Scope, SourceError } from "@pannier/core/adapter";
import type { DirectoryItem } from "./directory-item.ts";
import {
  MOST_NAMES,
  MOST_EMPTY,
  weightOf,
  tooManyNames,
  checkDepth,
  endless,
} from "./walk-limits.ts";
import { type Item, ignoreFileOf, withoutUnwanted, sorted } from "./wanted.ts";

export interface Walk {
  /**
   * Reads a directory. `.` and `..` are left out by it.
   *
   * @param prefix relative to the root, with a `/` at the end; empty for the root
   * @param count to be told of names while they come, so that a directory without end has one. What it throws has to pass.
   * @returns `undefined` where it is gone by now: nothing is listed of it, once the directory above it says so too
   * @throws where the root is gone
   */
  readonly read: (
    prefix: string,
    signal: AbortSignal,
    count: (names: number, characters: number) => void,
  ) => Promise<readonly DirectoryItem[] | undefined>;
  /** What is not wanted is neither read nor judged, except for names that are none. */
  readonly scope?: Scope | undefined;
  /** Told once of each path that is left out though it may be wanted. */
  readonly onSpecial?: ((path: string) => void) | undefined;
  /** Directories read at once. */
  readonly concurrency: number;
  readonly signal: AbortSignal;
  /** Names that may wait for their turn before no more is read ahead. Default 20,000. */
  readonly ahead?: number | undefined;
}

const BATCH = 1000;

/** Names that directories which are read ahead may have brought before they wait for their turn. */
const MOST_UNDERWAY = 100_000;

/** Directories that are read ahead: they are looked through for the next one each time. */
const MOST_AHEAD = 256;

/** Ends a directory that was read ahead, and is to be read again when its turn comes. Not retried, not translated. */
class Postponed extends SourceError {
  constructor() {
    super("changed", "a directory that was read ahead is too large to be held");
  }
}

/** A directory that is listed sooner or later. Those not yet reached form a list in the order of their paths. */
interface Directory {
  readonly prefix: string;
  readonly parent: Directory | undefined;
  /** As its parent has it. */
  readonly name: string;
  /** `postponed`: too large to be read ahead. */
  state: "unread" | "postponed" | "reading" | "read" | "failed";
  /** Names that came while it is read. */
  underway: number;
  /** Sorted, once read. */
  items: readonly Item[];
  next: number;
  /** Its subdirectories in the order of `items`. */
  children: Directory[];
  nextChild: number;
  error: unknown;
  following: Directory | undefined;
  /** What it held when it was looked at again, because something of it was gone. */
  laterNames: ReadonlySet<string> | undefined;
}

/**
 * Lists all files and symlinks below a root.
 *
 * @throws what `read` throws, for the first directory in order that fails; SourceError `invalid` on a name that is none,
 * `changed` where a directory cannot be entered that is still listed
 */
export async function* walk(options: Walk): AsyncGenerator<readonly Entry[]> {
  const { signal, concurrency, scope, ahead = 20_000 } = options;
  signal.throwIfAborted();
  const stop = new AbortController();
  const inner = AbortSignal.any([signal, stop.signal]);
  let bell = Promise.withResolvers<void>();
  let reading = 0;
  let waiting = 0;
  /** Names of directories that are being read. */
  let underway = 0;
  /** Names of the directory that the consumer is in, and of those above it. */
  let held = 0;
  let empty = 0;
  const root = makeDirectory(undefined, "");
  /** The first one that the consumer has not reached. */
  let first: Directory | undefined = root;

  function readAhead(): void {
    let passed = 0;
    for (let at = first; at !== undefined && reading < concurrency; at = at.following) {
      if (passed++ === MOST_AHEAD) return;
      if (at.state !== "unread" && (at.state !== "postponed" || at !== first)) continue;
      // The one that is waited for is read in any case.
      if (waiting >= ahead && at !== first) return;
      void readOne(at);
    }
  }

  async function readOne(directory: Directory): Promise<void> {
    directory.state = "reading";
    reading++;
    try {
      checkDepth(directory.prefix);
      const items = await options.read(directory.prefix, inner, (names, characters) => {
        const weight = weightOf(names, characters);
        directory.underway += weight;
        underway += weight;
        if (directory === first) checkHeld(directory, directory.underway);
        else if (underway > MOST_UNDERWAY) throw new Postponed();
      });
      if (items === undefined) await checkGone(directory);
      const inOrder = await sorted(items ?? [], directory.prefix);
      if (directory === root) await scope?.ignoreFile(ignoreFileOf(inOrder));
      directory.items = await withoutGone(
        directory,
        await withoutUnwanted(inOrder, directory.prefix, scope),
      );
      await insertChildren(directory);
      directory.state = "read";
      waiting += directory.items.length;
    } catch (error) {
      directory.state = error instanceof Postponed ? "postponed" : "failed";
      directory.error = error;
    }
    underway -= directory.underway;
    directory.underway = 0;
    reading--;
    bell.resolve();
    if (!inner.aborted) readAhead();
  }

  /**
   * A server says of all that it cannot reach that it does not exist, be it one directory that was deleted or the disk with all
   * of them. So the directory above has to be there, and to have something else: what is missing from a listing is deleted.
   */
  async function checkGone({ parent, name, prefix }: Directory): Promise<void> {
    if (parent === undefined) throw new SourceError("not-found", "the root does not exist");
    if (parent.laterNames === undefined || parent.laterNames.has(name)) {
      const laterNames = await namesNow(parent);
      if (laterNames === undefined) return checkGone(parent);
      parent.laterNames = laterNames;
    }
    const { laterNames } = parent;
    if (laterNames.has(name)) throw listedAndGone(prefix);
    if (parent.items.some((item) => laterNames.has(item.name))) return;
    throw new SourceError(
      "changed",
      `${quotePath(prefix)} disappeared with all that was beside it`,
    );
  }

  /** @returns `undefined` where the directory does not exist any more */
  async function namesNow({ prefix }: Directory): Promise<ReadonlySet<string> | undefined> {
    let seen = 0;
    const items = await options.read(prefix, inner, (names, characters) => {
      seen += weightOf(names, characters);
      if (seen > MOST_NAMES) throw tooManyNames(prefix);
    });
    return items && new Set(items.map((item) => item.name));
  }

  /** What is missing from a listing is deleted: only what the directory itself no longer has is left out. */
  async function withoutGone(
    directory: Directory,
    items: readonly Item[],
  ): Promise<readonly Item[]> {
    const gone = items.find(({ kind }) => kind === "gone");
    if (gone === undefined) return items;
    const laterNames = await namesNow(directory);
    if (laterNames === undefined) {
      await checkGone(directory);
      return [];
    }
    directory.laterNames = laterNames;
    const listed = items.find(({ kind, name }) => kind === "gone" && laterNames.has(name));
    if (listed !== undefined) throw listedAndGone(directory.prefix + listed.name);
    return items.filter(({ kind }) => kind !== "gone");
  }

  function checkHeld({ prefix }: Directory, names: number): void {
    if (held + names > MOST_NAMES) throw tooManyNames(prefix);
  }

  /** When a directory is reached it leaves the list; what it holds no longer counts as read ahead. */
  function enter(directory: Directory): void {
    checkHeld(directory, directory.items.length);
    held += directory.items.length;
    first = directory.following;
    waiting -= directory.items.length;
    if (++empty > MOST_EMPTY) throw endless(directory.prefix);
    readAhead();
  }

  /** The directory above goes on knowing it, and all that is beside it: what it held is let go. */
  function leave(directory: Directory): void {
    levels.pop();
    held -= directory.items.length;
    directory.items = [];
    directory.children = [];
    directory.laterNames = undefined;
  }

  const pause = makePause();
  let unwanted = 0;
  const levels: Directory[] = [];
  let batch: Entry[] = [];
  const takeBatch = () => {
    const taken = batch;
    batch = [];
    return taken;
  };
  const onAbort = () => bell.resolve();
  signal.addEventListener("abort", onAbort);
  try {
    readAhead();
    for (let next: Directory | undefined = root; ;) {
      if (next !== undefined) {
        while (next.state !== "read" && next.state !== "failed") {
          bell = Promise.withResolvers();
          // One that was put off until now.
          readAhead();
          // What there is need not wait for the server.
          if (batch.length > 0) yield takeBatch();
          else await bell.promise;
          signal.throwIfAborted();
        }
        if (next.state === "failed") {
          if (batch.length > 0) yield takeBatch();
          throw next.error;
        }
        enter(next);
        levels.push(next);
        next = undefined;
      }
      const level = levels.at(-1);
      if (level === undefined) break;
      const item = level.items[level.next++];
      if (item === undefined) leave(level);
      else if (item.kind === "directory") next = level.children[level.nextChild++];
      else if (item.kind !== "passed") {
        const path = level.prefix + item.name;
        if (item.kind === "entry") empty = 0;
        if (scope?.wants(path) !== false) {
          if (item.kind === "entry") batch.push(item.entry(path));
          else if (item.kind === "special") options.onSpecial?.(path);
          else if (item.kind === "unknown") throw item.failure;
        } else if (++unwanted % 1000 === 0) {
          await pause();
          signal.throwIfAborted();
        }
      }
      if (batch.length === BATCH) {
        yield takeBatch();
        signal.throwIfAborted();
      }
    }
    if (batch.length > 0) yield batch;
  } finally {
    signal.removeEventListener("abort", onAbort);
    stop.abort(new Error("the walk has ended"));
  }
}

function makeDirectory(parent: Directory | undefined, name: string): Directory {
  return {
    prefix: parent === undefined ? "" : `${parent.prefix}${name}/`,
    parent,
    name,
    state: "unread",
    underway: 0,
    items: [],
    next: 0,
    children: [],
    nextChild: 0,
    error: undefined,
    following: undefined,
    laterNames: undefined,
  };
}

/** Puts the subdirectories into the list, right after their parent. */
async function insertChildren(directory: Directory): Promise<void> {
  const pause = makePause();
  let end: Directory | undefined;
  let start: Directory | undefined;
  for (const item of directory.items) {
    if (item.kind !== "directory") continue;
    const child = makeDirectory(directory, item.name);
    if (item.failure !== undefined) {
      child.state = "failed";
      child.error = item.failure;
    }
    directory.children.push(child);
    if (end === undefined) start = child;
    else end.following = child;
    end = child;
    if (directory.children.length % 1000 === 0) await pause();
  }
  if (end === undefined) return;
  end.following = directory.following;
  directory.following = start;
}

function listedAndGone(path: string): SourceError {
  return new SourceError(
    "changed",
    `the server lists ${quotePath(path)}, and says that it does not exist`,
    { hint: "exclude it if that stays so" },
  );
}
