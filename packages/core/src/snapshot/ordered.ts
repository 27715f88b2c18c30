/** Turns any listing into one in path order, without holding a long one in memory. */
import type { Entry } from "../source/contract.ts";
import { SourceError } from "../source/errors.ts";
import type { State } from "../volume/state.ts";
import { comparePaths, quotePath } from "./path.ts";

/** Longest listing that is sorted in memory; some 20 MB. A longer one goes through a table of the state. */
const IN_MEMORY = 50_000;

/**
 * Entries in the order of their paths' UTF-8 bytes, without duplicates: of several with one path the last wins, as in a tar
 * archive. To be called within a transaction: a long listing otherwise pays a commit for each of its entries.
 */
export async function* orderedEntries(
  batches: AsyncIterable<readonly Entry[]> | Iterable<readonly Entry[]>,
  ordered: boolean,
  state: State,
): AsyncGenerator<readonly Entry[]> {
  if (ordered) {
    yield* checkOrder(batches);
    return;
  }
  const held = new Map<string, Entry>();
  let spooling = false;
  try {
    for await (const batch of batches) {
      for (const entry of batch) held.set(entry.path, entry);
      if (held.size > IN_MEMORY) {
        if (!spooling) state.db.exec("DELETE FROM spool");
        spooling = true;
        spool(held, state);
      }
    }
    if (!spooling) {
      yield [...held.values()].toSorted((a, b) => comparePaths(a.path, b.path));
      return;
    }
    spool(held, state);
    let batch: Entry[] = [];
    for (const row of state.prepare("SELECT entry FROM spool ORDER BY path").iterate()) {
      batch.push(JSON.parse(row["entry"] as string) as Entry);
      if (batch.length === 1000) {
        yield batch;
        batch = [];
      }
    }
    yield batch;
  } finally {
    if (spooling) state.db.exec("DELETE FROM spool");
  }
}

function spool(held: Map<string, Entry>, state: State): void {
  const insert = state.sql("INSERT OR REPLACE INTO spool (path, entry) VALUES (?, ?)");
  for (const [path, entry] of held) insert.run(path, JSON.stringify(entry));
  held.clear();
}

/** A merge with what is published reads wrongly if the promised order does not hold: better an error than a deletion. */
async function* checkOrder(
  batches: AsyncIterable<readonly Entry[]> | Iterable<readonly Entry[]>,
): AsyncGenerator<readonly Entry[]> {
  let previous: string | undefined;
  for await (const batch of batches) {
    for (const { path } of batch) {
      if (previous !== undefined && comparePaths(previous, path) >= 0) outOfOrder(previous, path);
      previous = path;
    }
    yield batch;
  }
}

function outOfOrder(previous: string, path: string): never {
  throw new SourceError(
    "invalid",
    `the listing has ${quotePath(path)} after ${quotePath(previous)}, against its promised order`,
    { hint: "this is a fault of the adapter; please report it" },
  );
}
