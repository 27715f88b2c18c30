import { mkdtempSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DamagedState, isOfDamage } from "./damaged.ts";
import { openState } from "./state.ts";

let directory: string;
const file = () => join(directory, "state.db");

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "pannier-state-"));
  openState(file()).close();
});

afterEach(() => {
  rmSync(directory, { recursive: true });
});

function change(sql: string): void {
  const db = new DatabaseSync(file());
  db.exec(sql);
  db.close();
}

test("a state of version 1 is brought up to date, with the plan that was under way", () => {
  change(`DROP TABLE plan; PRAGMA user_version = 1;
    CREATE TABLE plan (path TEXT NOT NULL, layer INTEGER NOT NULL, put INTEGER NOT NULL, wins INTEGER NOT NULL DEFAULT 1, change TEXT,
      same INTEGER NOT NULL DEFAULT 0, kind INTEGER NOT NULL, size INTEGER, mode INTEGER, mtime REAL, fingerprint TEXT NOT NULL, sha256 TEXT,
      ref TEXT, ino REAL, disk_mtime REAL, staged TEXT, PRIMARY KEY (path, layer)) WITHOUT ROWID;
    INSERT INTO plan (path, layer, put, wins, change, same, kind, fingerprint, staged) VALUES
      ('a', 0, 1, 1, 'A', 0, 0, 'f', '1'), ('b', 0, 1, 1, 'M', 1, 0, 'f', NULL), ('c', 0, 0, 1, 'D', 0, 0, 'f', NULL),
      ('d', 0, 1, 1, 'T', 3, 0, 'f', NULL), ('e', 0, 1, 0, NULL, 2, 1, 'f', NULL);`);
  const state = openState(file());
  const rows = state.sql("SELECT path, action, effective, change, content, staged FROM plan").all();
  expect(rows.map((row) => Object.values(row))).toEqual([
    ["a", "put", 1, "added", "fetch", "1"],
    ["b", "put", 1, "changed", "samePublished", null],
    ["c", "remove", 1, "deleted", "fetch", null],
    ["d", "put", 1, "touched", "reread", null],
    ["e", "put", 0, null, "mustFetch", null],
  ]);
  expect(isOfDamage(new TypeError(), state)).toBe(false);
  state.close();
});

test("comments of another version are no damage, and another table is", () => {
  const db = new DatabaseSync(file());
  const { sql } = db.prepare("SELECT sql FROM sqlite_schema WHERE name = 'generations'").get() as {
    sql: string;
  };
  const other = sql.replace("-- milliseconds", "-- since the epoch");
  expect(other).not.toBe(sql);
  db.exec(`DROP TABLE generations; ${other}`);
  db.close();
  let state = openState(file());
  expect(isOfDamage(new TypeError(), state)).toBe(false);
  state.close();
  change(`DROP TABLE seen; CREATE TABLE seen (path TEXT PRIMARY KEY)`);
  state = openState(file());
  expect(isOfDamage(new TypeError(), state)).toBe(true);
  state.close();
});

test("version 1 without the tables of version 1 is damage", () => {
  change("PRAGMA user_version = 1; DROP TABLE plan");
  expect(() => openState(file())).toThrow(DamagedState);
});
