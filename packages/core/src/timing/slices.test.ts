import { expect, test } from "vitest";
import { sortInSlices } from "./slices.ts";

test("sorts as a sort does, stable, and lets others have their turn", async () => {
  const items = Array.from({ length: 300_001 }, (_, at) => ({ key: (at * 7919) % 1000, at }));
  let turns = 0;
  const timer = setInterval(() => {
    turns++;
  }, 1);
  const sorted = await sortInSlices(items, (a, b) => a.key - b.key);
  clearInterval(timer);
  expect(sorted).toEqual(items.toSorted((a, b) => a.key - b.key));
  expect(turns).toBeGreaterThan(5);
});
