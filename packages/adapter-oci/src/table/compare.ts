/** What differs between two images, from the layers that only one of them has. */
import type { Change, Scope } from "@pannier/core/adapter";
import type { Layer } from "../image.ts";
import { BATCH, type Database } from "./database.ts";
import { toEntry } from "./entries.ts";
import {
  ancestorsOf,
  below,
  differs,
  judge,
  pathBelow,
  published,
  resolve,
  type Root,
  type StoredRow,
} from "./rows.ts";

/**
 * @param run a number that no other comparison of this database has
 * @returns `undefined` where only listings of both tell
 */
export async function compareImages(
  database: Database,
  run: number,
  from: readonly Layer[],
  to: readonly Layer[],
  root: Root,
  scope: Scope | undefined,
): Promise<AsyncGenerator<readonly Change[]> | undefined> {
  const [before, after] = [database.positionsOf(from), database.positionsOf(to)];
  const common = [...before.keys()].filter((id) => after.has(id));
  const inOrder = (positions: ReadonlyMap<number, number>) =>
    common.toSorted((a, b) => (positions.get(a) as number) - (positions.get(b) as number));
  if (inOrder(before).join() !== inOrder(after).join()) return undefined;
  const differing = [...new Set([...before.keys(), ...after.keys()])].filter(
    (id) => before.has(id) !== after.has(id),
  );
  await touch(database, run, differing, [...new Set([...before.keys(), ...after.keys()])], root);
  return changes(database, run, before, after, root, scope);
}

/** Notes each path at which two images may differ: those of the layers that only one has, and what lies below where they hide it. */
async function touch(
  database: Database,
  run: number,
  differing: readonly number[],
  all: readonly number[],
  root: Root,
): Promise<void> {
  const { db, pause } = database;
  const rowAt = db.prepare("SELECT * FROM rows WHERE path = ? AND layer = ?");
  const [from, to] = below(root);
  const next = db.prepare(
    // What lies below a path in a layer makes it a directory there.
    `SELECT path, kind IN ('whiteout', 'opaque') OR (kind <> 'dir' AND EXISTS (
       SELECT 1 FROM rows AS other WHERE other.path = rows.path AND other.kind IN ('dir', 'opaque'))) AS hides
     FROM rows WHERE layer = ? AND path > ? AND path >= ? AND path < ? ORDER BY path LIMIT ${BATCH}`,
  );
  const note = db.prepare("INSERT OR IGNORE INTO touched VALUES (?, ?)");
  const noteBelow = db.prepare(
    `INSERT OR IGNORE INTO touched SELECT ?, path FROM rows WHERE path >= ? AND path < ? AND layer IN (${all.join(", ")})`,
  );
  for (const layer of differing) {
    // What hides the root, or something above it, hides all.
    for (const path of root === "" ? [""] : [...ancestorsOf(root), root]) {
      const row = rowAt.get(path, layer) as unknown as StoredRow | undefined;
      if (row !== undefined && row.kind !== "dir") noteBelow.run(run, from, to);
    }
    for (let path = ""; ;) {
      const rows = next.all(layer, path, from, to) as unknown as { path: string; hides: 0 | 1 }[];
      const last = rows.at(-1);
      if (last === undefined) break;
      db.exec("BEGIN");
      for (const row of rows) {
        note.run(run, row.path);
        if (row.hides === 1) noteBelow.run(run, ...below(row.path));
      }
      db.exec("COMMIT");
      path = last.path;
      await pause();
    }
  }
}

async function* changes(
  database: Database,
  run: number,
  before: ReadonlyMap<number, number>,
  after: ReadonlyMap<number, number>,
  root: Root,
  scope: Scope | undefined,
): AsyncGenerator<readonly Change[]> {
  const { db, pause, rowsAt } = database;
  const next = db.prepare(
    `SELECT path FROM touched WHERE run = ? AND path > ? ORDER BY path LIMIT ${BATCH}`,
  );
  const directory = rowsOfDirectories(rowsAt);
  try {
    for (let path = ""; ;) {
      const batch: Change[] = [];
      const rows = next.all(run, path) as unknown as { path: string }[];
      for (const row of rows) {
        const all = rowsAt(row.path);
        const was = published(resolve(row.path, all, before, directory));
        const top = resolve(row.path, all, after, directory);
        if (top?.kind === "refused") judge(top, root, scope);
        const is = published(top);
        if (is === undefined) {
          if (was !== undefined) batch.push({ kind: "delete", path: pathBelow(root, row.path) });
        } else if (was === undefined || differs(was, is)) {
          batch.push({ kind: "put", entry: toEntry(is, database.keyOf(is.layer), root) });
        }
      }
      if (batch.length > 0) yield batch;
      const last = rows.at(-1);
      if (last === undefined) return;
      ({ path } = last);
      await pause();
    }
  } finally {
    if (!database.isClosed) db.prepare("DELETE FROM touched WHERE run = ?").run(run);
  }
}

/** Rows of directories, of which those above one path are mostly those above the next. */
export function rowsOfDirectories(
  rowsAt: Database["rowsAt"],
): (path: string) => readonly StoredRow[] {
  const seen = new Map<string, StoredRow[]>();
  return (path: string): StoredRow[] => {
    let rows = seen.get(path);
    if (rows === undefined) {
      rows = rowsAt(path);
      if (seen.size >= BATCH) seen.clear();
      seen.set(path, rows);
    }
    return rows;
  };
}
