/**
 * A tree on a server as entries, in the order of their paths' bytes, whatever order the server lists in.
 *
 * Directories are read several at once: those that come next in order, while the consumer is still busy with earlier ones.
 * What is held is one directory for each level on the way to where the consumer is, and of what was read ahead a limited
 * number of names. A directory is held whole, because it can only be sorted whole.
 */
import { type Entry, makePause, type Scope } from "@pannier/core/adapter";
import type { Directory } from "./directory.ts";
import type { DirectoryItem } from "./directory-item.ts";
import { createReadAhead } from "./read-ahead.ts";
import { endless, MOST_EMPTY } from "./walk-limits.ts";

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
  const reader = createReadAhead({
    read: (prefix, count) => options.read(prefix, inner, count),
    scope,
    concurrency,
    ahead,
    signal: inner,
  });
  /** Directories in a row without anything in them. */
  let empty = 0;
  const pause = makePause();
  let unwanted = 0;
  const levels: Directory[] = [];
  let batch: Entry[] = [];
  const takeBatch = () => {
    const taken = batch;
    batch = [];
    return taken;
  };
  signal.addEventListener("abort", reader.wake);
  try {
    for (let next: Directory | undefined = reader.root; ;) {
      if (next !== undefined) {
        while (next.state !== "read" && next.state !== "failed") {
          const arrival = reader.next();
          // What there is need not wait for the server.
          if (batch.length > 0) yield takeBatch();
          else await arrival;
          signal.throwIfAborted();
        }
        if (next.state === "failed") {
          if (batch.length > 0) yield takeBatch();
          throw next.error;
        }
        reader.enter(next);
        if (++empty > MOST_EMPTY) throw endless(next.prefix);
        levels.push(next);
        next = undefined;
      }
      const level = levels.at(-1);
      if (level === undefined) break;
      const item = level.items[level.next++];
      if (item === undefined) {
        levels.pop();
        reader.leave(level);
      } else if (item.kind === "directory") next = level.children[level.nextChild++];
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
    signal.removeEventListener("abort", reader.wake);
    stop.abort(new Error("the walk has ended"));
  }
}
