/**
 * A tree on a server as entries, in the order of their paths' bytes, whatever order the server lists in.
 *
 * Directories are read several at once: those that come next in order, while the consumer is still busy with earlier ones.
 * What is held is one directory for each level on the way to where the consumer is, and of what was read ahead a limited
 * number of names. A directory is held whole, because it can only be sorted whole.
 */
import { comparePaths, type Entry, quotePath, SourceError } from "@pannier/core";

/** What a directory holds under one name. The name is that of the last segment only, exactly as the server has it. */
export type DirectoryItem =
  | { readonly name: string; readonly kind: "directory" }
  /** Made into an entry when its turn comes, so that names that wait for theirs cost little. */
  | { readonly name: string; readonly kind: "entry"; readonly entry: (path: string) => Entry };

export interface Walk {
  /**
   * Reads a directory. `.` and `..` are left out by it.
   *
   * @param prefix relative to the root, with a `/` at the end; empty for the root
   * @returns `undefined` where it is gone by now: nothing is listed of it, once the directory above it says so too
   * @throws where the root is gone
   */
  readonly read: (
    prefix: string,
    signal: AbortSignal,
  ) => Promise<readonly DirectoryItem[] | undefined>;
  /** Directories read at once. */
  readonly concurrency: number;
  readonly signal: AbortSignal;
  /** Names that may wait for their turn before no more is read ahead. Default 20,000. */
  readonly ahead?: number | undefined;
}

const BATCH = 1000;

/** A directory that is listed sooner or later. Those not yet reached form a list in the order of their paths. */
interface Directory {
  readonly prefix: string;
  readonly parent: Directory | undefined;
  /** As its parent has it. */
  readonly name: string;
  state: "unread" | "reading" | "read" | "failed";
  /** Sorted, once read. */
  items: readonly DirectoryItem[];
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
  const { signal, concurrency, ahead = 20_000 } = options;
  signal.throwIfAborted();
  const stop = new AbortController();
  const inner = AbortSignal.any([signal, stop.signal]);
  let bell = Promise.withResolvers<void>();
  let reading = 0;
  let waiting = 0;
  const root = makeDirectory(undefined, "");
  /** The first one that the consumer has not reached. */
  let first: Directory | undefined = root;

  function readAhead(): void {
    for (let at = first; at !== undefined && reading < concurrency; at = at.following) {
      if (at.state !== "unread") continue;
      // The one that is waited for is read in any case.
      if (waiting >= ahead && at !== first) return;
      void readOne(at);
    }
  }

  async function readOne(directory: Directory): Promise<void> {
    directory.state = "reading";
    reading++;
    try {
      const items = await options.read(directory.prefix, inner);
      if (items === undefined) await checkGone(directory);
      directory.items = sorted(items ?? [], directory.prefix);
      directory.state = "read";
      waiting += directory.items.length;
      insertChildren(directory);
    } catch (error) {
      directory.state = "failed";
      directory.error = error;
    }
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
      const items = await options.read(parent.prefix, inner);
      if (items === undefined) return checkGone(parent);
      parent.laterNames = new Set(items.map((item) => item.name));
    }
    const { laterNames } = parent;
    if (laterNames.has(name)) {
      const why = `the server lists ${quotePath(prefix)}, and says that it does not exist`;
      throw new SourceError("changed", why);
    }
    if (parent.items.some((item) => laterNames.has(item.name))) return;
    throw new SourceError(
      "changed",
      `${quotePath(prefix)} disappeared with all that was beside it`,
    );
  }

  /** When a directory is reached it leaves the list; what it holds no longer counts as read ahead. */
  function enter(directory: Directory): void {
    first = directory.following;
    waiting -= directory.items.length;
    readAhead();
  }

  /** The directory above goes on knowing it, and all that is beside it: what it held is let go. */
  function leave(directory: Directory): void {
    levels.pop();
    directory.items = [];
    directory.children = [];
    directory.laterNames = undefined;
  }

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
        while (next.state === "unread" || next.state === "reading") {
          bell = Promise.withResolvers();
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
      else batch.push(item.entry(level.prefix + item.name));
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
function insertChildren(directory: Directory): void {
  let last = directory;
  const { following } = directory;
  for (const item of directory.items) {
    if (item.kind !== "directory") continue;
    const child = makeDirectory(directory, item.name);
    directory.children.push(child);
    last.following = child;
    last = child;
  }
  last.following = following;
}

/** A directory `a` stands where its content does, at `a/`: behind `a.b`. */
function sorted(items: readonly DirectoryItem[], prefix: string): readonly DirectoryItem[] {
  const keyed = items.map((item) => {
    checkName(item.name, prefix);
    return { key: item.kind === "directory" ? `${item.name}/` : item.name, item };
  });
  return keyed.toSorted((a, b) => comparePaths(a.key, b.key)).map(({ item }) => item);
}

/** What would be another path than the one that is walked. All else is the engine's to judge. */
function checkName(name: string, prefix: string): void {
  if (name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name)) return;
  throw new SourceError(
    "invalid",
    `the server lists a name that is none: ${quotePath(name)} in ${quotePath(prefix || "/")}`,
  );
}
