/**
 * No statement goes through a whole table at once, whatever a sync has to do: the main thread would be held for as long. That is looked at
 * in the statements rather than on a clock, so that it does not depend on the machine.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { DatabaseSync, StatementSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { rollback, sync, type SyncOptions } from "../src/index.ts";
import { ROWS } from "../src/state/ranges.ts";
import { type Content, memorySource } from "./memory-source.ts";

const COUNT = 2 * ROWS + 500;
const TABLES = "plan|entries|deltas|overlay|seen|directories";

interface Statement {
  readonly sql: string;
  readonly rows: number;
}

/** Of each statement that was not iterated, with the rows that it gave or changed. */
let statements: Statement[] = [];
const restore: (() => void)[] = [];

beforeAll(() => {
  const prototype = StatementSync.prototype as unknown as Record<
    string,
    (...a: unknown[]) => unknown
  >;
  for (const name of ["run", "get", "all"]) {
    const original = prototype[name] as (...values: unknown[]) => unknown;
    prototype[name] = function (this: StatementSync, ...values: unknown[]) {
      const result = original.apply(this, values);
      const rows =
        name === "run"
          ? Number((result as { changes: number | bigint }).changes)
          : name === "all"
            ? (result as unknown[]).length
            : 1;
      statements.push({ sql: this.sourceSQL, rows });
      return result;
    };
    restore.push(() => (prototype[name] = original));
  }
  const { exec } = DatabaseSync.prototype;
  DatabaseSync.prototype.exec = function (sql) {
    for (const part of sql.split(";")) statements.push({ sql: part.trim(), rows: 0 });
    exec.call(this, sql);
  };
  restore.push(() => (DatabaseSync.prototype.exec = exec));
});

afterAll(() => {
  for (const undo of restore) undo();
});

let target: string;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-slices-"));
  statements = [];
});

afterEach(() => {
  rmSync(target, { recursive: true, force: true });
});

const numbered = (value: (number: number) => Content[string], from = 0) =>
  Object.fromEntries(
    Array.from({ length: COUNT }, (_, i) => [
      `d${i % 20}/f${String(from + i).padStart(6, "0")}`,
      value(i),
    ]),
  );
const text = (content: string, fingerprint: string) =>
  numbered(() => ({ text: content, fingerprint }));

/** Statements that may look at a whole table. */
function atOnce(): string[] {
  const db = new DatabaseSync(join(target, ".pannier/state.db"));
  const texts = new Set(
    statements
      .filter(({ sql }) => /^(SELECT|INSERT|UPDATE|DELETE)/.test(sql))
      .map(({ sql }) => sql),
  );
  const scans = [...texts].filter(
    (sql) =>
      // The first that comes, or so many from there.
      !/^SELECT 1 FROM \w+ LIMIT 1$/.test(sql) &&
      (/^DELETE FROM \w+$/.test(sql) ||
        db
          .prepare(`EXPLAIN QUERY PLAN ${sql}`)
          .all()
          .some(({ detail }) => new RegExp(`SCAN (${TABLES})\\b`).test(detail as string))),
  );
  db.close();
  return scans;
}

function expectSlices(): void {
  expect(statements.filter(({ rows }) => rows > ROWS + 10)).toEqual([]);
  expect(atOnce()).toEqual([]);
  expect(statements.length).toBeGreaterThan(100);
}

describe.each(["swap", "mirror"] as const)("%s", (publish) => {
  const run = (source: ReturnType<typeof memorySource>, options: Partial<SyncOptions> = {}) =>
    sync({ sources: [source], target, publish, keep: 1, maxDelete: "100%", ...options });

  it(
    "content and fingerprints that change, and what is deleted",
    { timeout: 120_000 },
    async () => {
      const source = memorySource(text("1", "a"));
      expect(await run(source)).toMatchObject({ added: COUNT });
      source.content = text("1", "b");
      expect(await run(source)).toMatchObject({ result: "unchanged" });
      source.content = text("2", "c");
      expect(await run(source)).toMatchObject({ changed: COUNT });
      source.content = { ...text("3", "d"), ...numbered(() => "new", COUNT) };
      expect(await run(source)).toMatchObject({ changed: COUNT, added: COUNT });
      source.content = { left: "" };
      expect(await run(source)).toMatchObject({ added: 1, deleted: 2 * COUNT });
      expectSlices();
    },
  );

  it("layers, one of them taken away, and symlinks", { timeout: 120_000 }, async () => {
    const below = memorySource(text("1", "a"), "below");
    const above = memorySource(text("2", "b"), "above");
    expect(await run(below)).toMatchObject({ added: COUNT });
    await run(below, { sources: [below, above] });
    above.content = numbered(() => ({ link: "f" }));
    await run(below, { sources: [below, above] });
    await run(below, { sources: [below, above], symlinks: "skip" });
    await run(below);
    expectSlices();
  });

  it("another owner of all, and an empty source", { timeout: 120_000 }, async () => {
    const source = memorySource(text("1", "a"));
    await run(source);
    await run(source, { dirMode: 0o700 });
    source.content = {};
    expect(await run(source)).toMatchObject({ deleted: COUNT });
    expectSlices();
  });
});

it("a sync that was cut, and going back", { timeout: 120_000 }, async () => {
  const source = memorySource(text("1", "a"));
  const run = () => sync({ sources: [source], target, keep: 3, maxDelete: "100%" });
  await run();
  source.content = text("2", "b");
  let reads = 0;
  source.beforeRead = () => {
    if (++reads > COUNT - 200) throw new Error("cut");
  };
  await expect(run()).rejects.toThrow("cut");
  source.beforeRead = () => {};
  expect(await run()).toMatchObject({ changed: COUNT });
  await rollback(target);
  expectSlices();
});
