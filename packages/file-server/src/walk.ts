/**
 * A tree on a server as entries, in the order of their paths' bytes, whatever order the server lists in.
 *
 * Directories are read several at once: those that come next in order, while the consumer is still busy with earlier ones.
 * What is held is one directory for each level on the way to where the consumer is, and of what was read ahead a limited
 * number of names. A directory is held whole, because it can only be sorted whole.
 */
import {
  comparePaths,
  type Entry,
  IGNORE_FILE,
  makePause,
  quotePath,
  type Scope,
  sortInSlices,
  SourceError,
} from "@pannier/core/adapter";

/** What a directory holds under one name. The name is that of the last segment only, exactly as the server has it. */
export type DirectoryItem =
  | {
      readonly name: string;
      readonly kind: "directory";
      /** Why it cannot be entered, if its name alone tells that: thrown where it should be. */
      readonly failure?: unknown;
    }
  /** Made into an entry when its turn comes, so that names that wait for theirs cost little. It may throw: what is not wanted is not made. */
  | { readonly name: string; readonly kind: "entry"; readonly entry: (path: string) => Entry }
  /** What the server calls a FIFO, a socket or a device, and nothing else: it is left out. */
  | { readonly name: string; readonly kind: "special" }
  /** What it is could not be told, which fails the listing where it may be wanted. */
  | { readonly name: string; readonly kind: "unknown"; readonly failure: unknown }
  /** The server listed it, and then said that it does not exist. It is left out once another look no longer lists it. */
  | { readonly name: string; readonly kind: "gone" };

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
/** Names that may be held of one directory and of those above it: some 200 MB. */
export const MOST_NAMES = 400_000;
/** Characters of a name, and the target of a symlink, on the average: what is more counts as more names. */
const LONG = 100;
/** Names that directories which are read ahead may have brought before they wait for their turn. */
const MOST_UNDERWAY = 100_000;
/** Directories that are read ahead: they are looked through for the next one each time. */
const MOST_AHEAD = 256;
/** Of a path in bytes. The engine takes less, but is asked about files only. */
const LONGEST_PATH = 4096;
/** Directories one after the other without anything in them to publish: a tree without end is made of those. */
const MOST_EMPTY = 100_000;

/** Ends a directory that was read ahead, and is to be read again when its turn comes. Not retried, not translated. */
class Postponed extends SourceError {
  constructor() {
    super("changed", "a directory that was read ahead is too large to be held");
  }
}

/** A file or symlink that fails the listing where it is wanted. */
export function failedItem(name: string, failure: unknown): DirectoryItem {
  return {
    kind: "entry",
    name,
    entry() {
      throw failure;
    },
  };
}

/** What a directory holds; a directory that is not wanted still stands for its name. */
type Item = DirectoryItem | { readonly name: string; readonly kind: "passed" };

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

function ignoreFileOf(items: readonly DirectoryItem[]): Entry | undefined {
  const item = items.find(({ name }) => name === IGNORE_FILE);
  return item?.kind === "entry" ? item.entry(IGNORE_FILE) : undefined;
}

async function withoutUnwanted(
  items: readonly DirectoryItem[],
  prefix: string,
  scope: Scope | undefined,
): Promise<readonly Item[]> {
  if (scope?.filters !== true) return items;
  const pause = makePause();
  const wanted: Item[] = [];
  for (const item of items) {
    const { name, kind } = item;
    const path = prefix + name;
    // Should it be a directory, then what may be wanted is below.
    if (kind === "unknown" && scope.enters(path)) throw item.failure;
    if (kind === "gone" && !scope.wants(path) && !scope.enters(path)) continue;
    const passed = kind === "directory" && !scope.enters(path);
    wanted.push(passed ? { name, kind: "passed" } : item);
    if (wanted.length % 1000 === 0) await pause();
  }
  return wanted;
}

/** A directory `a` stands where its content does, at `a/`: behind `a.b`. */
async function sorted(
  items: readonly DirectoryItem[],
  prefix: string,
): Promise<readonly DirectoryItem[]> {
  const pause = makePause();
  for (const [index, item] of items.entries()) {
    checkName(item.name, prefix);
    if (index % 1000 === 999) await pause();
  }
  return sortInSlices(items, compareItems);
}

function compareItems(a: DirectoryItem, b: DirectoryItem): number {
  if (a.kind !== "directory" && b.kind !== "directory") return comparePaths(a.name, b.name);
  return comparePaths(keyOf(a), keyOf(b));
}

function keyOf({ kind, name }: DirectoryItem): string {
  return kind === "directory" ? `${name}/` : name;
}

/** Long names count more than once. */
function weightOf(names: number, characters: number): number {
  return Math.max(names, characters / LONG);
}

/** Why a directory is not taken. */
export function tooManyNames(prefix: string): SourceError {
  const most = MOST_NAMES.toLocaleString("en");
  return new SourceError(
    "invalid",
    `${quotePath(prefix || "/")}, with the directories above it, holds more than ${most} names`,
    { hint: "spread them over more directories, or take a directory below it as the source" },
  );
}

function listedAndGone(path: string): SourceError {
  return new SourceError(
    "changed",
    `the server lists ${quotePath(path)}, and says that it does not exist`,
    { hint: "exclude it if that stays so" },
  );
}

function checkDepth(prefix: string): void {
  if (prefix.length * 3 <= LONGEST_PATH || Buffer.byteLength(prefix) <= LONGEST_PATH) return;
  throw new SourceError(
    "invalid",
    `a directory's path is longer than ${LONGEST_PATH.toLocaleString("en")} bytes: ${quotePath(prefix)}`,
    { hint: "a directory may hold itself, or the server makes directories up: exclude it" },
  );
}

function endless(prefix: string): SourceError {
  return new SourceError(
    "invalid",
    `${MOST_EMPTY.toLocaleString("en")} directories, one after the other, hold nothing: the last one is ${quotePath(prefix)}`,
    { hint: "the server may make them up; take a directory below as the source" },
  );
}

/** What would be another path than the one that is walked. All else is the engine's to judge. */
function checkName(name: string, prefix: string): void {
  if (name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name)) return;
  throw new SourceError(
    "invalid",
    `the server lists an invalid name: ${quotePath(name)} in ${quotePath(prefix || "/")}`,
  );
}
