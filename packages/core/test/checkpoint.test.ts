import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { refuseThreads } from "../../../test/support/no-threads.ts";
import { longTransaction, openState, type State } from "../src/state/state.ts";

let directory: string;
let state: State;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "pannier-checkpoint-"));
  state = openState(join(directory, "state.db"));
});

afterEach(() => {
  state.close();
  rmSync(directory, { recursive: true });
});

const size = (suffix = "") => statSync(state.file + suffix).size;

function insert(rows: number): void {
  state
    .sql(
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
       INSERT INTO spool (path, entry) SELECT printf('%08d', i), printf('%.1000c', 'x') FROM n`,
    )
    .run(rows);
}

test("a long log is moved into the state after the commit, and not by it", async () => {
  const exec = state.db.exec.bind(state.db);
  let atCommit = 0;
  state.db.exec = (sql) => {
    exec(sql);
    if (sql === "COMMIT") atCommit = size();
  };
  await longTransaction(state, () => Promise.resolve(insert(8000)));
  expect(atCommit).toBeGreaterThan(0);
  expect(atCommit).toBeLessThan(2 ** 20);
  expect(size()).toBeGreaterThan(20_000_000);
  expect(process.getActiveResourcesInfo()).not.toContain("MessagePort");
});

test("a short one is left to SQLite, which moves it with the next commits", async () => {
  await longTransaction(state, () => Promise.resolve(insert(2000)));
  expect(size("-wal")).toBeGreaterThan(5_000_000);
  expect(size()).toBeLessThan(2 ** 20);
  state.sql("DELETE FROM spool WHERE path = '00000001'").run();
  expect(size()).toBeGreaterThan(5_000_000);
});

test("where the system has no room for a thread, it stays where it is", async () => {
  refuseThreads();
  await longTransaction(state, () => Promise.resolve(insert(8000)));
  expect(state.sql("SELECT count(*) AS rows FROM spool").get()).toEqual({ rows: 8000 });
});

test("where it cannot be moved, it stays where it is", async () => {
  const beside = openState(state.file, true);
  const reader = beside.sql("SELECT 1 FROM sqlite_schema").iterate();
  reader.next();
  await longTransaction(state, () => Promise.resolve(insert(8000)));
  expect(state.sql("SELECT count(*) AS rows FROM spool").get()).toEqual({ rows: 8000 });
  reader.return?.();
  beside.close();
});
