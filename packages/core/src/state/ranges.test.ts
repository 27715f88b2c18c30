import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DamagedState } from "./damaged.ts";
import { namedChanges, plannedPaths, plannedPuts, putRows, rowsToPut } from "./plan-paths.ts";
import { promotePlan } from "./promote.ts";
import { ranges, ROWS } from "./ranges.ts";
import { longTransaction, openState, type State } from "./state.ts";

const PATHS = 3 * ROWS + 1;
const LAYERS = 3;
let directory: string;
let state: State;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "pannier-ranges-"));
  state = openState(join(directory, "state.db"));
  state.db.exec(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${PATHS}), l(j) AS (SELECT 0 UNION ALL SELECT j + 1 FROM l WHERE j < ${LAYERS - 1})
     INSERT INTO plan (path, layer, action, effective, change, kind, fingerprint) SELECT 'd/' || i, j, 'put', j = 0, 'added', 0, '1' FROM n, l`,
  );
});

afterEach(() => {
  state.close();
  rmSync(directory, { recursive: true });
});

const rows = (table: "plan" | "entries" | "deltas", of = state) =>
  Number(of.sql(`SELECT count(*) AS rows FROM ${table}`).get()?.["rows"]);

test("ranges have all rows of a path, each path once, and a pause between them", async () => {
  const select = state.sql(
    "SELECT path, layer FROM plan WHERE path > ? AND path <= ? ORDER BY path",
  );
  const seen: unknown[] = [];
  let pauses = 0;
  const pause = () => {
    pauses++;
    return undefined;
  };
  let count = 0;
  for await (const range of ranges(state, "plan", pause)) {
    const found = select.all(...range);
    expect(found.length).toBeLessThanOrEqual(ROWS + LAYERS - 1);
    expect(pauses).toBe(count++);
    seen.push(...found);
  }
  expect(count).toBeGreaterThan(LAYERS * 3 - 1);
  expect(seen).toEqual(state.sql("SELECT path, layer FROM plan ORDER BY path, layer").all());
});

test("others read what was there before, while it is under way", async () => {
  const beside = openState(join(directory, "state.db"), true);
  let looks = 0;
  const look = () => {
    looks++;
    expect([rows("plan", beside), rows("entries", beside)]).toEqual([LAYERS * PATHS, 0]);
    return new Promise<void>((resolve) => setImmediate(resolve));
  };
  await longTransaction(state, () => promotePlan(state, 1, { deltas: false }, look));
  expect(looks).toBeGreaterThan(5);
  expect([rows("plan", beside), rows("entries", beside)]).toEqual([0, LAYERS * PATHS]);
  beside.close();
});

test("an abort in a pause leaves all as it was, and the state can be used again", async () => {
  let pauses = 0;
  const pause = () => (++pauses === 4 ? Promise.reject(new Error("enough")) : undefined);
  const work = () => promotePlan(state, 1, { deltas: true }, pause);
  await expect(longTransaction(state, work)).rejects.toThrow("enough");
  expect([rows("plan"), rows("entries"), rows("deltas")]).toEqual([LAYERS * PATHS, 0, 0]);
  pauses = 10;
  await longTransaction(state, work);
  expect([rows("plan"), rows("entries")]).toEqual([0, LAYERS * PATHS]);
});

test("a second transaction cannot begin within one", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const first = longTransaction(state, () => promise);
  await expect(longTransaction(state, () => Promise.resolve())).rejects.toThrow("transaction");
  resolve();
  await first;
});

test("paths that are no text are damage, and no endless loop", async () => {
  state.sql("UPDATE plan SET path = CAST(x'ff' AS TEXT) || path").run();
  const all = async () => {
    for await (const _ of ranges(state, "plan", () => undefined));
  };
  await expect(all()).rejects.toThrow(DamagedState);
});

test("planned paths come in pages, each path once", () => {
  const paths = [...plannedPaths(state, "all")];
  expect(paths).toHaveLength(PATHS);
  expect(paths).toEqual([...new Set(paths)].toSorted());
});

const lists = { namedChanges, plannedPuts, putRows, rowsToPut };

test.for(Object.entries(lists))("%s gives each row once, in order", ([, list]) => {
  const decided = [...list(state)].map(({ path }) => path);
  expect(decided).toHaveLength(PATHS);
  expect(decided).toEqual([...new Set(decided)].toSorted());
});

test("rows of one path may be on two pages", () => {
  state.sql("UPDATE plan SET effective = 1").run();
  const all = [...rowsToPut(state)].map(({ path, layer }) => ({ path, layer }));
  expect(all).toEqual(state.sql("SELECT path, layer FROM plan ORDER BY path, layer").all());
});

test("rows to put are what was planned, also while it is noted what was written", () => {
  const [first, ...rest] = rowsToPut(state);
  const note = state.sql("UPDATE plan SET ino = 1, disk_mtime = 2, sha256 = 'a' WHERE path = ?");
  expect(first).toEqual({
    since: 0,
    ...state.sql("SELECT * FROM plan WHERE path = ? AND effective = 1").get(first?.path ?? ""),
    effective: undefined,
  });
  let count = 0;
  for (const { path } of rowsToPut(state)) {
    note.run(path);
    count++;
  }
  expect(count).toBe(1 + rest.length);
});

test.for(Object.entries(lists))("%s of paths that are no text are damage", ([, list]) => {
  state.sql("UPDATE plan SET path = CAST(x'ff' AS TEXT) || path").run();
  expect(() => [...list(state)]).toThrow(DamagedState);
});
