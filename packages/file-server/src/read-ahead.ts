/** Reads directories before they are reached, several at once. */
import { type Scope, SourceError } from "@pannier/core/adapter";
import { type Directory, insertChildren, makeDirectory } from "./directory.ts";
import { checkGone, type ReadItems, withoutGone } from "./gone.ts";
import { checkDepth, MOST_NAMES, tooManyNames, weightOf } from "./walk-limits.ts";
import { ignoreFileOf, sorted, withoutUnwanted } from "./wanted.ts";

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

export interface ReadAhead {
  readonly root: Directory;
  /** Reads on, and resolves when the next directory was read, whichever that is, or {@link ReadAhead.wake} was called. */
  next(): Promise<void>;
  wake(): void;
  /** When a directory is reached it leaves the list; what it holds no longer counts as read ahead. */
  enter(directory: Directory): void;
  /** The directory above goes on knowing it, and all that is beside it: what it held is let go. */
  leave(directory: Directory): void;
}

export function createReadAhead({
  read,
  scope,
  concurrency,
  ahead,
  signal,
}: {
  readonly read: ReadItems;
  readonly scope: Scope | undefined;
  /** Directories read at once. */
  readonly concurrency: number;
  /** Names that may wait for their turn before no more is read. */
  readonly ahead: number;
  readonly signal: AbortSignal;
}): ReadAhead {
  let arrival = Promise.withResolvers<void>();
  let reading = 0;
  let waiting = 0;
  /** Names of directories that are being read. */
  let underway = 0;
  /** Names of the directory that the consumer is in, and of those above it. */
  let held = 0;
  const root = makeDirectory(undefined, "");
  /** The first one that the consumer has not reached. */
  let first: Directory | undefined = root;

  function startReads(): void {
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
      const items = await read(directory.prefix, (names, characters) => {
        const weight = weightOf(names, characters);
        directory.underway += weight;
        underway += weight;
        if (directory === first) checkHeld(directory, directory.underway);
        else if (underway > MOST_UNDERWAY) throw new Postponed();
      });
      if (items === undefined) await checkGone(directory, read);
      const inOrder = await sorted(items ?? [], directory.prefix);
      if (directory === root) await scope?.ignoreFile(ignoreFileOf(inOrder));
      directory.items = await withoutGone(
        directory,
        await withoutUnwanted(inOrder, directory.prefix, scope),
        read,
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
    arrival.resolve();
    if (!signal.aborted) startReads();
  }

  function checkHeld({ prefix }: Directory, names: number): void {
    if (held + names > MOST_NAMES) throw tooManyNames(prefix);
  }

  return {
    root,
    next() {
      arrival = Promise.withResolvers();
      // Among them may be one that was put off until now.
      startReads();
      return arrival.promise;
    },
    wake: () => arrival.resolve(),
    enter(directory) {
      const { length } = directory.items;
      checkHeld(directory, length);
      held += length;
      first = directory.following;
      waiting -= length;
      startReads();
    },
    leave(directory) {
      held -= directory.items.length;
      directory.items = [];
      directory.children = [];
      directory.laterNames = undefined;
    },
  };
}
