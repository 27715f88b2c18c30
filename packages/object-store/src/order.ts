/**
 * From the store's order to that of UTF-8 bytes. The orders of UTF-16 units and of bytes differ only where of two names that are the same
 * so far one goes on with a surrogate (an emoji, a rare ideograph), the other with U+E000 to U+FFFF.
 */
import { comparePaths } from "@pannier/core/adapter";
import type { Compare } from "./boundaries.ts";

/** In which order a store lists its keys. `none`: the engine has to sort. */
export type ListingOrder = "utf-8" | "utf-16" | "none";

export const COMPARE: Readonly<Record<ListingOrder, Compare>> = {
  "utf-8": comparePaths,
  "utf-16": compareUnits,
  none: () => 1,
};

/** The order of UTF-16 units. */
export function compareUnits(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/** Puts what begins so and goes on with a surrogate or above in order; all else passes. Holds no more than that. */
export async function* inByteOrder<Item>(
  batches: AsyncIterable<readonly Item[]>,
  keyOf: (item: Item) => string,
): AsyncGenerator<readonly Item[]> {
  let held: Item[] = [];
  /** What those held begin with. */
  let prefix = "";
  const release = () => {
    const sorted = held.toSorted((a, b) => comparePaths(keyOf(a), keyOf(b)));
    held = [];
    return sorted;
  };

  for await (const batch of batches) {
    if (held.length === 0 && !batch.some((item) => SURROGATE.test(keyOf(item)))) {
      yield batch;
      continue;
    }
    const out: Item[] = [];
    for (const item of batch) {
      const key = keyOf(item);
      if (held.length > 0 && !(key.startsWith(prefix) && key.charCodeAt(prefix.length) >= 0xd800)) {
        out.push(...release());
      }
      if (held.length === 0) {
        const at = key.search(SURROGATE);
        if (at === -1) {
          out.push(item);
          continue;
        }
        prefix = key.slice(0, at);
      }
      held.push(item);
    }
    if (out.length > 0) yield out;
  }
  if (held.length > 0) yield release();
}

const SURROGATE = /[\uD800-\uDFFF]/;
