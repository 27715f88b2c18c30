/**
 * Which layer a file goes to. By its directory, so that what changes together lies together and what does not change stays the same
 * bytes. The number of groups follows the size of the tree in powers of two, and weights are rounded, so that a change seldom moves
 * anything; no group gets much more than its share, so that a change of one file costs no more than that (consistent hashing with
 * bounded loads: https://arxiv.org/abs/1608.01350).
 */
import { hash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { type PublishedEntry, RefusedError } from "@pannier/core";
import { DatabaseSync } from "@pannier/core/adapter";

/** Files from this size on have layers of their own, while there is room. */
const LARGE = 8 << 20;
const MOST_LARGE = 20;
const MOST_GROUPS = 80;
/** Bytes that a group should hold at least. */
const GROUP_BYTES = 1 << 20;
/** Files of one directory that go to one group: more are spread. */
const DIRECTORY_FILES = 256;
/** How much more than its share a group may get. */
const MOST_LOAD = 1.15;
/** What a file weighs beside its content: headers, and its line in the table of contents. */
const FILE_WEIGHT = 512;
/** Steps to a power of two that weights are rounded to. */
const STEPS = 8;
const BATCH = 1000;

interface Group {
  /** The same for the same files: what a layer is known by. */
  readonly key: string;
  entries(): Generator<PublishedEntry>;
}

export interface Groups {
  readonly groups: readonly Group[];
  readonly files: number;
  readonly bytes: number;
  close(): void;
}

/** @param limit layers at most @param path of a file that is made for it */
export async function groupEntries(
  entries: Iterable<PublishedEntry>,
  limit: number,
  path: string,
  signal: AbortSignal,
): Promise<Groups> {
  const db = new DatabaseSync(path);
  try {
    db.exec(`PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;
      CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER, mode INTEGER, sha256 TEXT, target TEXT, layer TEXT) WITHOUT ROWID;
      CREATE TABLE directories (path TEXT PRIMARY KEY, files INTEGER NOT NULL) WITHOUT ROWID;
      CREATE TABLE units (number INTEGER, name TEXT, weight INTEGER, layer TEXT, PRIMARY KEY (number, name)) WITHOUT ROWID; BEGIN`);
    const { files, bytes } = await take(db, entries, signal);
    const large = limit === 1 ? new Set<string>() : largeFiles(db, Math.min(MOST_LARGE, limit - 1));
    const most = Math.min(MOST_GROUPS, Math.max(1, limit - large.size));
    await weigh(db, large, signal);
    await assign(db, groupCount(bytes, most), signal);
    db.exec("COMMIT; CREATE INDEX by_layer ON files (layer, path)");
    const names = db.prepare("SELECT DISTINCT layer FROM files ORDER BY layer").all();
    const groups: Group[] = [];
    for (const row of names.length === 0 ? [{ layer: "" }] : names) {
      groups.push(await groupOf(db, row["layer"] as string, signal));
    }
    return { groups, files, bytes, close: () => db.close() };
  } catch (error) {
    db.close();
    throw error;
  }
}

async function take(db: DatabaseSync, entries: Iterable<PublishedEntry>, signal: AbortSignal) {
  const insert = db.prepare("INSERT INTO files VALUES (?, ?, ?, ?, ?, NULL)");
  const count = db.prepare(
    "INSERT INTO directories VALUES (?, 1) ON CONFLICT DO UPDATE SET files = files + 1",
  );
  let files = 0;
  let bytes = 0;
  for (const entry of entries) {
    const { path } = entry;
    // Such a name means to those who unpack it that something is taken away.
    if (/(?:^|\/)\.wh\./.test(path)) {
      throw new RefusedError(`${JSON.stringify(path)} cannot be in an image`, {
        hint: "names that begin with .wh. have a meaning of their own there: leave it out with --exclude",
      });
    }
    if (entry.kind === "file") {
      insert.run(path, entry.size, entry.mode, entry.sha256, null);
      bytes += entry.size;
    } else insert.run(path, 0, 0o777, null, entry.target);
    count.run(directoryOf(path));
    if (++files % BATCH === 0) await pause(signal);
  }
  return { files, bytes };
}

function largeFiles(db: DatabaseSync, most: number): Set<string> {
  const rows = db
    .prepare("SELECT path FROM files WHERE size >= ? ORDER BY size DESC, path LIMIT ?")
    .all(LARGE, most);
  return new Set(rows.map((row) => row["path"] as string));
}

/** Notes what goes to one group as a whole: a directory, or a part of a large one. */
async function weigh(db: DatabaseSync, large: ReadonlySet<string>, signal: AbortSignal) {
  const page = db.prepare(
    `SELECT path, size FROM files WHERE path > ? ORDER BY path LIMIT ${BATCH}`,
  );
  const filesIn = db.prepare("SELECT files FROM directories WHERE path = ?");
  const set = db.prepare("UPDATE files SET layer = ? WHERE path = ?");
  const add = db.prepare(
    "INSERT INTO units VALUES (?, ?, ?, NULL) ON CONFLICT DO UPDATE SET weight = weight + excluded.weight",
  );
  for (let after = ""; ;) {
    const rows = page.all(after) as unknown as { path: string; size: number }[];
    for (const { path, size } of rows) {
      if (large.has(path)) {
        set.run(`large ${path}`, path);
        continue;
      }
      const directory = directoryOf(path);
      const parts = powerOfTwo(Number(filesIn.get(directory)?.["files"]) / DIRECTORY_FILES);
      const name = `${parts === 1 ? 0 : number(path) % parts} ${directory}`;
      add.run(number(name), name, size + FILE_WEIGHT);
      set.run(name, path);
    }
    const last = rows.at(-1);
    if (last === undefined) return;
    after = last.path;
    await pause(signal);
  }
}

async function assign(db: DatabaseSync, groups: number, signal: AbortSignal): Promise<void> {
  const page = db.prepare(
    `SELECT number, name, weight FROM units WHERE (number, name) > (?, ?) ORDER BY number, name LIMIT ${BATCH}`,
  );
  const set = db.prepare("UPDATE units SET layer = ? WHERE number = ? AND name = ?");
  const total = Number(db.prepare("SELECT SUM(weight) AS total FROM units").get()?.["total"] ?? 0);
  const most = (rounded(total) / groups) * MOST_LOAD;
  const loads = Array.from({ length: groups }, () => 0);
  const load = (group: number) => loads[group] as number;
  const width = String(MOST_GROUPS).length;
  for (let at = -1, after = ""; ;) {
    const rows = page.all(at, after) as unknown as Unit[];
    for (const unit of rows) {
      const weight = rounded(unit.weight);
      const wanted = unit.number % groups;
      let group = wanted;
      for (let step = 0; step < groups; step++) {
        const next = (wanted + step) % groups;
        if (load(next) + weight <= most) {
          group = next;
          break;
        }
        // None may have room: then the emptiest.
        if (load(next) < load(group)) group = next;
      }
      loads[group] = load(group) + weight;
      set.run(String(group).padStart(width, "0"), unit.number, unit.name);
    }
    const last = rows.at(-1);
    if (last === undefined) break;
    [at, after] = [last.number, last.name];
    await pause(signal);
  }
  db.exec(`CREATE INDEX by_name ON units (name);
    UPDATE files SET layer = coalesce((SELECT units.layer FROM units WHERE units.name = files.layer), layer)`);
}

interface Unit {
  readonly number: number;
  readonly name: string;
  readonly weight: number;
}

/** Up to the next of some steps to a power of two: what changes a little weighs the same. */
function rounded(weight: number): number {
  return weight <= 1 ? 1 : 2 ** (Math.ceil(Math.log2(weight) * STEPS) / STEPS);
}

async function groupOf(db: DatabaseSync, layer: string, signal: AbortSignal): Promise<Group> {
  const select = db.prepare(
    `SELECT * FROM files WHERE layer = ? AND path > ? ORDER BY path LIMIT ${BATCH}`,
  );
  function* entries(): Generator<PublishedEntry> {
    for (let after = ""; ;) {
      const rows = select.all(layer, after);
      for (const row of rows) yield toEntry(row);
      const last = rows.at(-1);
      if (last === undefined) return;
      after = last["path"] as string;
    }
  }
  let key = "";
  let count = 0;
  for (const entry of entries()) {
    key = hash("sha256", `${key}${JSON.stringify(entry)}`);
    if (++count % BATCH === 0) await pause(signal);
  }
  return { key: key.slice(0, 32), entries };
}

function toEntry(row: Record<string, unknown>): PublishedEntry {
  const path = row["path"] as string;
  const target = row["target"] as string | null;
  if (target !== null) return { kind: "symlink", path, target };
  return {
    kind: "file",
    path,
    size: row["size"] as number,
    mode: row["mode"] as number,
    sha256: row["sha256"] as string,
  };
}

/** The number of groups for so many bytes. */
function groupCount(bytes: number, most: number): number {
  return Math.min(most, powerOfTwo(bytes / GROUP_BYTES));
}

/** The lowest power of two that is no less. */
function powerOfTwo(value: number): number {
  return value <= 1 ? 1 : 2 ** Math.ceil(Math.log2(value));
}

function number(text: string): number {
  return Number.parseInt(hash("sha256", text).slice(0, 12), 16);
}

function directoryOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

async function pause(signal: AbortSignal): Promise<void> {
  await setImmediate();
  signal.throwIfAborted();
}
