/** What a small change may cost: what changed, not what there is. */
import fs, { mkdtempSync, rmSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Entry, type Source, sync } from "../src/index.ts";
import { type MemorySource, memorySource } from "./memory-source.ts";

let target: string;
const restore: (() => void)[] = [];

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-cost-"));
});

afterEach(() => {
  for (const undo of restore.splice(0)) undo();
  syncBuiltinESMExports();
  rmSync(target, { recursive: true, force: true });
});

/** Calls `seen` with the arguments of each call. */
function spyOn<Key extends string>(
  owner: Record<Key, unknown>,
  name: Key,
  seen: (...args: unknown[]) => void,
): void {
  const original = owner[name] as (...args: unknown[]) => unknown;
  owner[name] = function (this: unknown, ...args: unknown[]) {
    seen(...args);
    return original.apply(this, args);
  };
  restore.push(() => (owner[name] = original));
}

/** A source that knows what changed between its revisions. */
function withChanges(source: MemorySource, changed: () => string): MemorySource {
  const { open } = source.adapter;
  const adapter = {
    ...source.adapter,
    async open(...args: Parameters<typeof open>) {
      const opened = await open(...args);
      return {
        ...opened,
        async changes() {
          const listing = await opened.list(new AbortController().signal);
          const entries: Entry[] = [];
          for await (const batch of listing.entries) entries.push(...batch);
          const entry = entries.find(({ path }) => path === changed()) as never;
          return { changes: [[{ kind: "put" as const, entry }]] };
        },
      };
    },
  };
  return Object.assign(source, { adapter });
}

const COUNT = 5000;

it.each(["swap", "mirror"] as const)(
  "%s: no query goes through all entries, and few files are touched",
  { timeout: 60_000 },
  async (publish) => {
    const files = Object.fromEntries(
      Array.from({ length: COUNT }, (_, i) => [`d${i % 20}/f${i}`, "x"]),
    );
    const source = withChanges(memorySource(files), () => "d7/f7");
    const other = memorySource({ other: "1" }, "other");
    other.token = "t";
    const update = (revision: number) => {
      source.content = { ...files, "d7/f7": `revision ${revision}` };
      source.token = source.revision = `r${revision}`;
      return sync({ sources: [source, other], target, publish });
    };
    for (let revision = 0; revision < 5; revision++) await update(revision);

    const statements = new Set<string>();
    let calls = 0;
    spyOn(DatabaseSync.prototype, "prepare", (sql) => statements.add(sql as string));
    spyOn(DatabaseSync.prototype, "exec", (sql) =>
      (sql as string).split(";").forEach((part) => statements.add(part.trim())),
    );
    for (const name of ["lstatSync", "linkSync", "unlinkSync", "renameSync", "openSync"] as const)
      spyOn(fs, name, () => calls++);
    syncBuiltinESMExports();
    expect(await update(5)).toMatchObject({ result: "published", changed: 1 });
    for (const undo of restore.splice(0)) undo();

    const db = new DatabaseSync(join(target, ".pannier/state.db"));
    const scans = [...statements]
      .filter(
        (sql) =>
          /^(SELECT|INSERT|UPDATE|DELETE)/.test(sql) && !sql.endsWith("FROM entries LIMIT 1"),
      )
      .filter((sql) =>
        db
          .prepare(`EXPLAIN QUERY PLAN ${sql}`)
          .all()
          .some(({ detail }) => /SCAN (entries|deltas)/.test(detail as string)),
      );
    db.close();
    expect(statements.size).toBeGreaterThan(20);
    expect(scans).toEqual([]);
    // The sample of a recycled tree, two looks at each of 20 directories, and little more.
    expect(calls).toBeLessThan(COUNT / 2);
  },
);

it("a source without names for its revisions tells changes by tokens, and is told what is published of it", async () => {
  const files = Object.fromEntries(
    Array.from({ length: 2500 }, (_, i) => [`f${i}`, { text: "x", ref: `object ${i % 500}` }]),
  );
  const source = memorySource(files);
  const told: unknown[] = [];
  let after = "t1";
  const { open } = source.adapter;
  const adapter = {
    ...source.adapter,
    async open(...args: Parameters<typeof open>): Promise<Source> {
      return {
        ...(await open(...args)),
        async changes(from, to, _signal, _scope, published) {
          const paths = await published?.pathsOf(new Set(["object 7", "object 499", "none"]));
          told.push({ from, to, paths, refs: ["f8", "none"].map((path) => published?.ref(path)) });
          return { changes: [[{ kind: "delete", path: "f7" }]], token: () => after };
        },
      };
    },
  };
  Object.assign(source, { adapter });
  const options = { sources: [{ source, into: "some/where" }], target };
  source.token = "t0";
  await sync(options);
  source.token = "t1";
  // What it tells is of a later moment than the probe.
  after = "t2";
  expect(await sync(options)).toMatchObject({ result: "published", deleted: 1, added: 0 });
  const objects = [7, 499].flatMap((i) => [0, 500, 1000, 1500, 2000].map((more) => `f${i + more}`));
  expect(told).toEqual([
    { from: "t0", to: "t1", paths: objects.toSorted(), refs: ["object 8", undefined] },
  ]);
  expect(source.lists).toBe(1);
  source.token = "t2";
  expect(await sync(options)).toMatchObject({ result: "unchanged" });
  expect(told).toHaveLength(1);
});
