import { expect, test } from "vitest";
import type { Entry } from "../source/contract.ts";
import { boundedEntries, boundedScope, MAX_FILES } from "./bounded.ts";
import { filterScope } from "./scope.ts";
import { makeFilter } from "./filter.ts";

const BATCH = 1000;

function* endless(): Generator<readonly Entry[]> {
  const entry: Entry = { kind: "file", path: "x", fingerprint: "x" };
  for (;;) yield Array.from({ length: BATCH }, () => entry);
}

async function countIn(maxFiles: number): Promise<{ count: number; error: unknown }> {
  let count = 0;
  try {
    for await (const batch of boundedEntries(endless(), maxFiles)) count += batch.length;
  } catch (error) {
    return { count, error };
  }
  return { count, error: undefined };
}

test("a listing without end is given up, at what is allowed of a tree where that is more", async () => {
  expect(await countIn(10)).toMatchObject({
    count: MAX_FILES,
    error: { code: "invalid", hint: expect.stringContaining("--max-files") },
  });
  expect((await countIn(MAX_FILES + 5 * BATCH)).count).toBe(MAX_FILES + 5 * BATCH);
});

test("so is one of which the source itself leaves out what is not wanted", () => {
  const scope = boundedScope(filterScope(makeFilter([], ["*.tmp"])), 10);
  const ask = () => {
    for (let asked = 0; ; asked += 2) {
      if (asked > MAX_FILES) return "goes on";
      if (!scope.wants("a") || scope.wants("a.tmp") || scope.enters("b.tmp")) return "is wrong";
    }
  };
  expect(ask).toThrow("wanted or not");
});
