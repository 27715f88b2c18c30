/** Who works on the state need not know how it is kept: that is said here, and nowhere else. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const SOURCES = join(import.meta.dirname, "..");
const SQL =
  /node:sqlite|\.(?:sql|prepare)\(|\.db\.|\b(?:SELECT|INSERT (?:OR|INTO)|UPDATE|DELETE FROM|PRAGMA|BEGIN IMMEDIATE) /;

test("all SQL is in this folder", () => {
  const files = globSync("**/*.ts", { cwd: SOURCES }).filter((file) => !file.endsWith(".test.ts"));
  const having = files.filter((file) => SQL.test(readFileSync(join(SOURCES, file), "utf8")));
  expect(files.length).toBeGreaterThan(having.length);
  expect(having.length).toBeGreaterThan(5);
  expect(having.filter((file) => !file.startsWith("state/"))).toEqual([]);
});
