/** Work that may be much, in slices: a listing may hold hundreds of thousands of names, and the main thread has to stay free. */

/** Names that are sorted in one go: some milliseconds. */
const RUN = 4000;
/** Milliseconds of work after which others have their turn. */
const SLICE = 10;

/** Returns at once, or after all others had their turn where there was much to do since the last time. */
export type Pause = () => Promise<void> | undefined;

/** @param signal rejects a pause once aborted, with its reason */
export function makePause(signal?: AbortSignal): Pause {
  let since = performance.now();
  return () => {
    if (performance.now() - since < SLICE) return undefined;
    return new Promise((resolve, reject) =>
      setImmediate(() => {
        since = performance.now();
        if (signal?.aborted === true) reject(signal.reason);
        else resolve();
      }),
    );
  };
}

/** Sorts without holding the thread for long: in runs, which are then merged. Stable. */
export async function sortInSlices<Item>(
  items: readonly Item[],
  compare: (a: Item, b: Item) => number,
): Promise<Item[]> {
  if (items.length <= RUN) return items.toSorted(compare);
  const pause = makePause();
  let runs: Item[][] = [];
  for (let at = 0; at < items.length; at += RUN) {
    runs.push(items.slice(at, at + RUN).toSorted(compare));
    await pause();
  }
  while (runs.length > 1) {
    const merged: Item[][] = [];
    for (let at = 0; at < runs.length; at += 2) {
      merged.push(await merge(runs[at] as Item[], runs[at + 1] ?? [], compare, pause));
    }
    runs = merged;
  }
  return runs[0] as Item[];
}

async function merge<Item>(
  left: readonly Item[],
  right: readonly Item[],
  compare: (a: Item, b: Item) => number,
  pause: Pause,
): Promise<Item[]> {
  const merged: Item[] = [];
  let l = 0;
  let r = 0;
  while (l < left.length || r < right.length) {
    const fromLeft =
      r === right.length || (l < left.length && compare(left[l] as Item, right[r] as Item) <= 0);
    merged.push((fromLeft ? left[l++] : right[r++]) as Item);
    if (merged.length % 1000 === 0) await pause();
  }
  return merged;
}
