/**
 * No statement goes through a whole table at once, and no loop through all files without a pause, whatever is to be done: the main thread
 * would be held for as long. That is looked at in the statements, and in the calls of the file system between two turns of the event loop,
 * rather than on a clock, so that it does not depend on the machine.
 */
import fs, { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { DatabaseSync, type SQLInputValue, StatementSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { history, repair, rollback, sync, type SyncOptions, verify } from "../src/index.ts";
import { changesBetween, recentChanges } from "../src/engine/changes.ts";
import { ROWS } from "../src/state/ranges.ts";
import { type Content, memorySource } from "./memory-source.ts";

const COUNT = 2 * ROWS;
const TABLES = "plan|entries|deltas|overlay|seen|directories";

interface Statement {
  readonly sql: string;
  readonly rows: number;
}

/** Of each statement that was not iterated, with the rows that it gave or changed. */
let statements: Statement[] = [];
/** Those that were. */
let iterated = new Set<string>();
const restore: (() => void)[] = [];

// By a count, so that how much is done in a turn is no matter of the clock.
vi.mock("../src/timing/slices.ts", async (original) => ({
  ...(await original<typeof import("../src/timing/slices.ts")>()),
  makePause(signal?: AbortSignal) {
    let asked = 0;
    return () => {
      if (++asked % 4 !== 0) return undefined;
      return new Promise<void>((resolve, reject) => {
        setImmediate(() => (signal?.aborted === true ? reject(signal.reason) : resolve()));
      });
    };
  },
}));

/** What was done since the event loop last had its turn, and the most there ever was. */
const WORK = { calls: 0, statements: 0, rows: 0, megabytes: 0 };
let now = { ...WORK };
let most = { ...WORK };

let turn: NodeJS.Immediate | undefined;

function did(what: keyof typeof WORK, count = 1): void {
  now[what] += count;
  most[what] = Math.max(most[what], now[what]);
  turn ??= setImmediate(() => {
    turn = undefined;
    now = { ...WORK };
  });
}

/** Counts calls of the file system, and the names that they give. */
function countCalls(): void {
  const functions = fs as unknown as Record<string, (...values: unknown[]) => unknown>;
  for (const [name, original] of Object.entries(functions)) {
    if (!name.endsWith("Sync")) continue;
    functions[name] = (...values) => {
      const result = original(...values);
      did("calls", name === "readdirSync" ? (result as unknown[]).length : 1);
      if (name === "readSync") did("megabytes", (result as number) / 2 ** 20);
      if (name === "copyFileSync")
        did("megabytes", fs.statSync(values[0] as string).size / 2 ** 20);
      return result;
    };
    restore.push(() => (functions[name] = original));
  }
  const readName = fs.Dir.prototype.readSync;
  fs.Dir.prototype.readSync = function () {
    did("calls");
    return readName.call(this);
  };
  restore.push(() => (fs.Dir.prototype.readSync = readName), syncBuiltinESMExports);
  syncBuiltinESMExports();
}

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
      did("statements");
      return result;
    };
    restore.push(() => (prototype[name] = original));
  }
  const { iterate } = StatementSync.prototype;
  StatementSync.prototype.iterate = function* (this: StatementSync, ...values: SQLInputValue[]) {
    iterated.add(this.sourceSQL);
    for (const row of Reflect.apply(iterate, this, values) as Iterable<object>) {
      did("rows");
      yield row;
    }
  } as typeof iterate;
  restore.push(() => (StatementSync.prototype.iterate = iterate));
  countCalls();
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
  iterated = new Set();
  most = { ...WORK };
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
  // These give the first row at once only where nothing is sorted or gathered before.
  const gathered = [...iterated].filter((sql) =>
    db
      .prepare(`EXPLAIN QUERY PLAN ${sql}`)
      .all()
      .some(({ detail }) => /TEMP B-TREE|MATERIALIZE|LIST SUBQUERY/.test(detail as string)),
  );
  db.close();
  return [...scans, ...gathered];
}

function expectSlices(): void {
  // A page of rows, a batch of the journal, and what is done once.
  expect(most.calls).toBeLessThan(ROWS + 300);
  expect(most.statements).toBeLessThan(ROWS + 300);
  expect(most.rows).toBeLessThan(ROWS + 300);
  expect(most.megabytes).toBeLessThan(6);
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

/** As many directories as files. */
const spread = (content: string) =>
  Object.fromEntries(Array.from({ length: COUNT }, (_, i) => [`d${i}/f`, content]));

describe.each(["swap", "mirror"] as const)("%s of as many directories as files", (publish) => {
  it("that change, lose their owner's permission, and go", { timeout: 120_000 }, async () => {
    const source = memorySource(spread("1"));
    const run = (options: Partial<SyncOptions> = {}) =>
      sync({ sources: [source], target, publish, keep: 1, maxDelete: "100%", ...options });
    await run({ dirMode: 0o555 });
    if (publish === "mirror") for (let i = 0; i < 50; i++) writeFileSync(join(target, `o${i}`), "");
    source.content = spread("2");
    expect(await run({ dirMode: 0o555 })).toMatchObject({ changed: COUNT });
    await run({ dirMode: 0o755 });
    source.content = { left: "" };
    expect(await run()).toMatchObject({ deleted: COUNT });
    expectSlices();
  });

  it("that are lost", { timeout: 120_000 }, async () => {
    const options = { sources: [memorySource(spread("1"))], target, publish };
    await sync(options);
    const root = publish === "swap" ? join(target, "current/") : target;
    for (const name of readdirSync(root))
      if (name !== ".pannier") rmSync(join(root, name), { recursive: true });
    await onTurn();
    expect(await verify(target)).toMatchObject({ missing: COUNT });
    await repair(options);
    expect(await verify(target)).toMatchObject({ checked: COUNT });
    expectSlices();
  });
});

/** What the test itself did does not count. */
const onTurn = () =>
  new Promise<void>((resolve) =>
    setImmediate(() => {
      most = { ...WORK };
      resolve();
    }),
  );

/** A sync whose last files do not come. */
const cut = async () => {
  const source = memorySource(spread("1"));
  const options = { sources: [source], target, keep: 1, maxDelete: "100%" };
  await sync(options);
  await sync({ ...options, dirMode: 0o750 });
  source.content = spread("2");
  let reads = 0;
  source.beforeRead = () => {
    if (++reads > COUNT - 200) throw new Error("cut");
  };
  await expect(sync({ ...options, dirMode: 0o750 })).rejects.toThrow("cut");
  source.beforeRead = () => {};
  return options;
};

describe("a next tree that was cut short", () => {
  it("is gone on with", { timeout: 120_000 }, async () => {
    const options = await cut();
    expect(await sync({ ...options, dirMode: 0o750 })).toMatchObject({ changed: COUNT });
    expectSlices();
  });

  it("is given up for other permissions", { timeout: 120_000 }, async () => {
    const options = await cut();
    expect(await sync({ ...options, dirMode: 0o755 })).toMatchObject({ changed: COUNT });
    expectSlices();
  });

  it("is given up after a restart of the machine", { timeout: 120_000 }, async () => {
    const options = await cut();
    const db = new DatabaseSync(join(target, ".pannier/state.db"));
    db.exec("UPDATE meta SET value = 'another' WHERE key = 'boot'");
    db.close();
    expect(await sync({ ...options, dirMode: 0o750 })).toMatchObject({ changed: COUNT });
    expectSlices();
  });
});

it("what a killed process left", { timeout: 120_000 }, async () => {
  const options = { sources: [memorySource({ a: "1" })], target };
  await sync(options);
  for (const litter of ["trash-0123456789abcdef", "generations/x", "scratch/x"]) {
    mkdirSync(join(target, ".pannier", litter), { recursive: true });
    for (let i = 0; i < COUNT; i++) writeFileSync(join(target, ".pannier", litter, `f${i}`), "");
  }
  await onTurn();
  await sync(options);
  expect(readdirSync(join(target, ".pannier")).toSorted()).not.toContain("trash-0123456789abcdef");
  expectSlices();
});

it("what a hook is told, and what changed since", { timeout: 120_000 }, async () => {
  const source = memorySource(text("1", "a"));
  const run = () => sync({ sources: [source], target, keep: 4, prePublish: async () => {} });
  await run();
  for (const version of ["2", "3"]) {
    source.content = text(version, version);
    await run();
  }
  expectSlices();
  const [latest, , first] = history(target);
  // Who reads them takes as many at a time as they like.
  const [change] = changesBetween(target, first?.id, latest?.id as number) ?? [];
  expect(change).toEqual({ change: "changed", path: "d0/f000000" });
  await onTurn();
  await recentChanges(target, { entries: 3, paths: 100, after: 0 });
  expectSlices();
});

it("a large file that is looked at, and copied for another owner", async () => {
  const source = memorySource({ large: "x".repeat(12 * 2 ** 20) });
  const options = { sources: [source], target };
  await sync(options);
  await onTurn();
  await verify(target);
  await sync({ ...options, dirMode: 0o700 });
  expect(most.megabytes).toBeGreaterThan(0.5);
  expectSlices();
});
