import { expect, test } from "vitest";
import { fromColumns, toColumns } from "./messages.ts";

test("columns have the facts of each file, and none of those where nothing is", () => {
  const facts = [1, 2, 3].map((n) => ({
    size: n === 2 ? 0 : n * 2 ** 40,
    sha256: String(n).repeat(64),
    ino: Number.MAX_SAFE_INTEGER - n,
    mtime: 1_700_000_000_000.25 + n,
  }));
  for (const some of [[], facts, [undefined, ...facts, undefined, facts[0]], [undefined]])
    expect(fromColumns(structuredClone(toColumns(some)))).toEqual(some);
});
