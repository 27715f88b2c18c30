import { comparePaths } from "@pannier/core/adapter";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { compareUnits, inByteOrder } from "./order.ts";

async function reorder(keys: readonly string[], batch: number): Promise<string[]> {
  async function* batches() {
    for (let at = 0; at < keys.length; at += batch) yield keys.slice(at, at + batch);
  }
  const found: string[] = [];
  for await (const each of inByteOrder(batches(), (key) => key)) found.push(...each);
  return found;
}

test("puts any names in UTF-16 order into the order of their bytes", async () => {
  const unit = fc.constantFrom("a", "/", "\u{10000}", "😀", "😁", "\uE000", "～", "\uFFFD", "z");
  const names = fc.uniqueArray(fc.string({ unit, maxLength: 5 }), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(names, fc.integer({ min: 1, max: 7 }), async (keys, batch) => {
      const listed = keys.toSorted(compareUnits);
      expect(await reorder(listed, batch)).toEqual(keys.toSorted(comparePaths));
    }),
    { numRuns: 500 },
  );
});

test("passes on what is in order already before the next batch is asked for", async () => {
  let asked = 0;
  async function* batches() {
    for (const key of ["a", "b😀", "c"]) {
      asked++;
      yield [key];
    }
  }
  const iterator = inByteOrder(batches(), (key) => key);
  expect((await iterator.next()).value).toEqual(["a"]);
  expect(asked).toBe(1);
  expect((await iterator.next()).value).toEqual(["b😀", "c"]);
});
