/** Turns any listing into one in path order, without holding a long one in memory. */
import { makePause, type Pause, sortInSlices } from "../timing/slices.ts";
import type { Entry, Listing } from "../source/contract.ts";
import { SourceError } from "../source/errors.ts";
import { deleteSpooled, spooledAt, spoolEntry, takeSpooled } from "../state/spool.ts";
import type { State } from "../state/state.ts";
import { comparePaths, quotePath } from "../source/path.ts";

/** Longest listing that is sorted in memory; some 20 MB. A longer one goes through a table of the state. */
const IN_MEMORY = 50_000;
/** Entries that are passed on, or written, in one go: some milliseconds. */
const BATCH = 1000;

/**
 * Entries in the order of their paths' UTF-8 bytes, without duplicates: of several with one path the last wins, as in a tar
 * archive, unless the source calls that a `clash`. To be called within a transaction, which is rolled back where the listing fails: a long one otherwise pays a commit
 * for each of its entries. Others have their turn between batches, however fast the entries come.
 */
export async function* orderedEntries(
  batches: AsyncIterable<readonly Entry[]> | Iterable<readonly Entry[]>,
  ordered: boolean,
  state: State,
  signal: AbortSignal,
  clash?: Listing["clash"],
): AsyncGenerator<readonly Entry[]> {
  const pause = makePause(signal);
  if (ordered) {
    yield* checkOrder(batches, pause);
    return;
  }
  const held = new Map<string, Entry>();
  let spooling = false;
  for await (const batch of batches) {
    signal.throwIfAborted();
    if (spooling) await spool(batch, state, pause, clash);
    else {
      for (const entry of batch) {
        const first = clash === undefined ? undefined : held.get(entry.path);
        if (first !== undefined) throw clash?.(first, entry);
        held.set(entry.path, entry);
      }
    }
    if (held.size > IN_MEMORY) {
      spooling = true;
      // Of a listing that was begun before, in the same transaction.
      while (deleteSpooled(state, BATCH)) await pause();
      await spool([...held.values()], state, pause);
      held.clear();
    }
    await pause();
  }
  if (spooling) yield* drain(state, pause);
  else yield* sorted([...held.values()], pause);
}

async function* sorted(entries: readonly Entry[], pause: Pause): AsyncGenerator<readonly Entry[]> {
  const inOrder = await sortInSlices(entries, (a, b) => comparePaths(a.path, b.path));
  for (let at = 0; at < inOrder.length; at += BATCH) {
    yield inOrder.slice(at, at + BATCH);
    await pause();
  }
}

async function spool(
  entries: readonly Entry[],
  state: State,
  pause: Pause,
  clash?: Listing["clash"],
): Promise<void> {
  for (const [index, entry] of entries.entries()) {
    const first = clash === undefined ? undefined : spooledAt(state, entry.path);
    if (first !== undefined) throw clash?.(first, entry);
    spoolEntry(state, entry);
    if (index % BATCH === 0) await pause();
  }
}

/** What was spooled, in order. It is taken away as it passes: to delete all of it at the end would take seconds in one go. */
async function* drain(state: State, pause: Pause): AsyncGenerator<readonly Entry[]> {
  for (;;) {
    const entries = takeSpooled(state, BATCH);
    if (entries.length === 0) return;
    yield entries;
    await pause();
  }
}

/** A merge with what is published reads wrongly if the promised order does not hold: better an error than a deletion. */
async function* checkOrder(
  batches: AsyncIterable<readonly Entry[]> | Iterable<readonly Entry[]>,
  pause: Pause,
): AsyncGenerator<readonly Entry[]> {
  let previous: string | undefined;
  for await (const batch of batches) {
    for (const { path } of batch) {
      if (previous !== undefined && comparePaths(previous, path) >= 0) outOfOrder(previous, path);
      previous = path;
    }
    yield batch;
    await pause();
  }
}

function outOfOrder(previous: string, path: string): never {
  throw new SourceError(
    "invalid",
    `the listing has ${quotePath(path)} after ${quotePath(previous)}, against its promised order`,
    { hint: "this is a fault of the adapter; please report it" },
  );
}
