/**
 * What the layers of images hold, in a table of the source's scratch directory: a layer is looked at once, by its table of contents
 * or by unpacking it, and known from then on. Which of its rows an image shows is worked out when it is listed: the topmost one at
 * a path, unless a layer above took it away.
 */
import { rmSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import {
  type Change,
  DatabaseSync,
  type Entry,
  type Scope,
  SourceError,
} from "@pannier/core/adapter";
import type { Layer } from "../image.ts";

/** One path of a layer. */
export interface Row {
  readonly path: string;
  /** A file, a symlink, a directory; a whiteout of what lies below; a directory that hides all that lies below ("opaque"); what cannot be published. */
  readonly kind: "file" | "link" | "dir" | "whiteout" | "opaque" | "refused";
  readonly size: number | null;
  readonly mode: number | null;
  readonly mtime: number | null;
  /** Of a link; of what is refused, why, in JSON. */
  readonly target: string | null;
  readonly sha256: string | null;
  /** Where its frames begin in the layer and where the last one ends; `null` where it cannot be read by itself. */
  readonly start: number | null;
  readonly end: number | null;
  /** JSON of further frames, as pairs of their place in the layer and in the file. */
  readonly frames: string | null;
}

interface StoredRow extends Row {
  readonly layer: number;
}

export interface LayerTable {
  /** Whether all of a layer is known. */
  has(layer: Layer): boolean;
  /** Whether any layer is known. */
  readonly isEmpty: boolean;
  /** Replaces what is known of a layer. Rows count once `finish` was called. */
  write(layer: Layer): RowWriter;
  /** The row of a file in a layer, or in another that has the same content there. */
  find(
    path: string,
    sha256: string,
    layer: string,
  ): { readonly row: Row; readonly layer: string } | undefined;
  /**
   * What an image shows, in the order of paths.
   *
   * @throws SourceError where it shows something that is wanted and cannot be published
   */
  entries(layers: readonly Layer[], root: Root, scope?: Scope): AsyncGenerator<readonly Entry[]>;
  /** What an image shows at one path of the source, if that can be published. */
  entry(path: string, layers: readonly Layer[], root: Root): Entry | undefined;
  /** What differs between two images; `undefined` where only their listings tell. */
  compare(
    from: readonly Layer[],
    to: readonly Layer[],
    root: Root,
    scope?: Scope,
  ): Promise<AsyncGenerator<readonly Change[]> | undefined>;
  image(digest: string): readonly Layer[] | undefined;
  images(): readonly (readonly Layer[])[];
  remember(digest: string, layers: readonly Layer[]): void;
  /** Forgets all other images, and the layers that only they have. */
  keepOnly(digest: string): Promise<void>;
  close(): void;
}

interface RowWriter {
  add(row: Row): void;
  finish(): void;
}

/** The directory of an image that becomes the root of the source; empty for all of it. */
type Root = string;

const VERSION = 2;
const BATCH = 500;

const SCHEMA = `
CREATE TABLE layers (id INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, complete INTEGER NOT NULL);
CREATE TABLE rows (
  path TEXT NOT NULL, layer INTEGER NOT NULL, kind TEXT NOT NULL, size INTEGER, mode INTEGER, mtime REAL, target TEXT,
  sha256 TEXT, "start" INTEGER, "end" INTEGER, frames TEXT, PRIMARY KEY (path, layer)
) WITHOUT ROWID;
CREATE INDEX rows_of_layers ON rows (layer, path);
CREATE TABLE images (digest TEXT PRIMARY KEY, layers TEXT NOT NULL);
CREATE TABLE touched (run INTEGER NOT NULL, path TEXT NOT NULL, PRIMARY KEY (run, path)) WITHOUT ROWID;
PRAGMA user_version = ${VERSION};`;

/**
 * Opens the table, or makes it.
 *
 * @param view what of the layers is in it, and how it was read: another view begins anew
 */
export function openLayerTable(path: string, view: string): LayerTable {
  let db = openDatabase(path, view);
  if (db === undefined) {
    for (const suffix of ["", "-wal", "-shm"]) rmSync(path + suffix, { force: true });
    db = openDatabase(path, view);
  }
  if (db === undefined) throw new Error("the table of layers cannot be made");
  return tableOf(db);
}

/** @returns `undefined` where what is there is damaged or of another kind */
function openDatabase(path: string, view: string): DatabaseSync | undefined {
  const db = new DatabaseSync(path);
  try {
    // A killed process leaves it whole; so does a power cut.
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
    const version = db.prepare("PRAGMA user_version").get()?.["user_version"];
    if (version === 0) {
      db.exec(`BEGIN; ${SCHEMA} CREATE TABLE view (text TEXT); COMMIT`);
      db.prepare("INSERT INTO view VALUES (?)").run(view);
    }
    const known = db.prepare("SELECT text FROM view").get()?.["text"];
    if ((version === 0 || version === VERSION) && known === view) {
      db.exec("DELETE FROM touched");
      return db;
    }
  } catch {
    // Damaged: made anew.
  }
  db.close();
  return undefined;
}

function tableOf(db: DatabaseSync): LayerTable {
  const idOf = db.prepare("SELECT id, complete FROM layers WHERE key = ?");
  const keyOf = db.prepare("SELECT key FROM layers WHERE id = ?");
  const rowAt = db.prepare("SELECT * FROM rows WHERE path = ? AND layer = ?");
  const rowsAt = db.prepare("SELECT * FROM rows WHERE path = ?");
  const insert = db.prepare("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  // Within one layer, whatever their order: a directory and a whiteout of the same name are a directory that hides what lay there.
  const insertDir = db.prepare(
    `INSERT INTO rows (path, layer, kind) VALUES (?, ?, 'dir')
     ON CONFLICT DO UPDATE SET kind = 'opaque' WHERE kind = 'whiteout'`,
  );
  const insertHiding = db.prepare(
    `INSERT INTO rows (path, layer, kind) VALUES (?, ?, ?)
     ON CONFLICT DO UPDATE SET kind = 'opaque' WHERE kind IN ('dir', 'whiteout')`,
  );
  let closed = false;
  let runs = 0;

  const known = (layer: Layer) =>
    idOf.get(layer.key) as { id: number; complete: number } | undefined;

  /** The places of an image's layers: of one that is there twice, the upper one counts. */
  const positionsOf = (layers: readonly Layer[]): Map<number, number> => {
    const positions = new Map<number, number>();
    for (const [position, layer] of layers.entries()) {
      const found = known(layer);
      if (found === undefined) throw new Error(`layer ${layer.key} was not looked at`);
      positions.set(found.id, position);
    }
    return positions;
  };

  /** Waits between two batches, so that others have their turn, and notices that the source was closed. */
  const pause = async () => {
    await setImmediate();
    if (closed) throw new SourceError("unavailable", "the source was closed");
  };

  const allAt = (path: string) => rowsAt.all(path) as unknown as StoredRow[];
  const rowsOf = (path: string, positions: ReadonlyMap<number, number>) =>
    allAt(path).filter(({ layer }) => positions.has(layer));

  /** Rows of directories, of which those above one path are mostly those above the next. */
  const makeDirectories = () => {
    const seen = new Map<string, StoredRow[]>();
    return (path: string): StoredRow[] => {
      let rows = seen.get(path);
      if (rows === undefined) {
        rows = allAt(path);
        if (seen.size >= BATCH) seen.clear();
        seen.set(path, rows);
      }
      return rows;
    };
  };

  const toEntry = (row: StoredRow, root: Root): Entry => {
    const path = pathBelow(row.path, root);
    const mtime = row.mtime ?? undefined;
    if (row.kind === "link") return { kind: "symlink", path, target: row.target as string, mtime };
    const value = row.sha256 as string;
    return {
      kind: "file",
      path,
      size: row.size as number,
      mode: row.mode ?? undefined,
      mtime,
      fingerprint: `sha256:${value}`,
      digest: { algorithm: "sha256", value },
      ref: keyOf.get(row.layer)?.["key"] as string,
    };
  };

  async function* entries(layers: readonly Layer[], root: Root, scope?: Scope) {
    const positions = positionsOf(layers);
    const cover = makeCover(positions);
    let found = root === "";
    for (const path of root === "" ? [] : [...ancestorsOf(root), root]) {
      const kind = cover.enter(path, rowsOf(path, positions))?.kind;
      // An empty directory is there, too.
      found = kind === "dir" || kind === "opaque";
    }
    if (!found) {
      throw new SourceError("not-found", `the image has no directory ${JSON.stringify(root)}`, {
        hint: "look at what it holds, and mend path=",
      });
    }
    const list = [...positions.keys()].join(", ");
    const page = db.prepare(
      `SELECT * FROM rows WHERE (path, layer) > (?, ?) AND path >= ? AND path < ? AND layer IN (${list})
       ORDER BY path, layer LIMIT ${BATCH}`,
    );
    const [from, to] = below(root);
    let group: StoredRow[] = [];
    let batch: Entry[] = [];
    const close = () => {
      const path = group[0]?.path;
      if (path === undefined) return;
      const top = cover.enter(path, group);
      if (top?.kind === "refused") judge(top, root, scope);
      else if (top !== undefined && isEntry(top)) batch.push(toEntry(top, root));
      group = [];
    };
    for (let path = "", layer = -1; ;) {
      const rows = page.all(path, layer, from, to) as unknown as StoredRow[];
      for (const row of rows) {
        if (row.path !== group[0]?.path) close();
        group.push(row);
      }
      const last = rows.at(-1);
      if (last === undefined || rows.length < BATCH) break;
      ({ path, layer } = last);
      if (batch.length > 0) yield batch;
      batch = [];
      await pause();
    }
    close();
    if (batch.length > 0) yield batch;
  }

  async function compare(from: readonly Layer[], to: readonly Layer[], root: Root, scope?: Scope) {
    const [before, after] = [positionsOf(from), positionsOf(to)];
    const common = [...before.keys()].filter((id) => after.has(id));
    const inOrder = (positions: ReadonlyMap<number, number>) =>
      common.toSorted((a, b) => (positions.get(a) as number) - (positions.get(b) as number));
    if (inOrder(before).join() !== inOrder(after).join()) return undefined;
    const differing = [...new Set([...before.keys(), ...after.keys()])].filter(
      (id) => before.has(id) !== after.has(id),
    );
    const run = ++runs;
    await touch(run, differing, [...new Set([...before.keys(), ...after.keys()])], root);
    return changes(run, before, after, root, scope);
  }

  /** Notes each path at which two images may differ: those of the layers that only one has, and what lies below where they hide it. */
  async function touch(run: number, differing: number[], all: number[], root: Root) {
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
    run: number,
    before: ReadonlyMap<number, number>,
    after: ReadonlyMap<number, number>,
    root: Root,
    scope: Scope | undefined,
  ): AsyncGenerator<readonly Change[]> {
    const next = db.prepare(
      `SELECT path FROM touched WHERE run = ? AND path > ? ORDER BY path LIMIT ${BATCH}`,
    );
    const directory = makeDirectories();
    try {
      for (let path = ""; ;) {
        const batch: Change[] = [];
        const rows = next.all(run, path) as unknown as { path: string }[];
        for (const row of rows) {
          const all = allAt(row.path);
          const was = published(resolve(row.path, all, before, directory));
          const top = resolve(row.path, all, after, directory);
          if (top?.kind === "refused") judge(top, root, scope);
          const is = published(top);
          if (is === undefined) {
            if (was !== undefined) batch.push({ kind: "delete", path: pathBelow(row.path, root) });
          } else if (was === undefined || differs(was, is)) {
            batch.push({ kind: "put", entry: toEntry(is, root) });
          }
        }
        if (batch.length > 0) yield batch;
        const last = rows.at(-1);
        if (last === undefined) return;
        ({ path } = last);
        await pause();
      }
    } finally {
      if (!closed) db.prepare("DELETE FROM touched WHERE run = ?").run(run);
    }
  }

  return {
    has: (layer) => known(layer)?.complete === 1,
    get isEmpty() {
      return db.prepare("SELECT 1 FROM layers WHERE complete = 1 LIMIT 1").get() === undefined;
    },
    write(layer) {
      db.prepare("INSERT OR IGNORE INTO layers (key, complete) VALUES (?, 0)").run(layer.key);
      const { id } = known(layer) as { id: number };
      db.prepare("UPDATE layers SET complete = 0 WHERE id = ?").run(id);
      db.prepare("DELETE FROM rows WHERE layer = ?").run(id);
      let held: Row[] = [];
      let directory: string | undefined;
      const flush = (complete: boolean) => {
        if (closed) throw new SourceError("unavailable", "the source was closed");
        db.exec("BEGIN");
        for (const row of held) {
          // Those of a directory mostly come one after another.
          const parent = row.path.slice(0, Math.max(0, row.path.lastIndexOf("/")));
          if (parent !== directory) {
            for (const path of ancestorsOf(row.path)) insertDir.run(path, id);
            directory = parent;
          }
          const { path, kind, size, mode, mtime, target, sha256, start, end, frames } = row;
          if (kind === "dir") insertDir.run(path, id);
          else if (kind === "whiteout" || kind === "opaque") insertHiding.run(path, id, kind);
          else insert.run(path, id, kind, size, mode, mtime, target, sha256, start, end, frames);
        }
        if (complete) db.prepare("UPDATE layers SET complete = 1 WHERE id = ?").run(id);
        db.exec("COMMIT");
        held = [];
      };
      return {
        add(row) {
          held.push(row);
          if (held.length >= BATCH) flush(false);
        },
        finish: () => flush(true),
      };
    },
    find(path, sha256, key) {
      const rows = (rowsAt.all(path) as unknown as StoredRow[])
        .filter((row) => row.kind === "file" && row.sha256 === sha256)
        .map((row) => ({ row, layer: keyOf.get(row.layer)?.["key"] as string }));
      return rows.find(({ layer }) => layer === key) ?? rows[0];
    },
    entries,
    entry(path, layers, root) {
      const at = root === "" ? path : `${root}/${path}`;
      const row = resolve(at, allAt(at), positionsOf(layers), makeDirectories());
      return row === undefined || row.kind === "refused" ? undefined : toEntry(row, root);
    },
    compare,
    image(digest) {
      const text = db.prepare("SELECT layers FROM images WHERE digest = ?").get(digest)?.["layers"];
      return text === undefined ? undefined : (JSON.parse(text as string) as Layer[]);
    },
    images() {
      const rows = db.prepare("SELECT layers FROM images").all();
      return rows.map((row) => JSON.parse(row["layers"] as string) as Layer[]);
    },
    remember(digest, layers) {
      db.prepare("INSERT OR REPLACE INTO images VALUES (?, ?)").run(digest, JSON.stringify(layers));
    },
    async keepOnly(digest) {
      const kept = this.image(digest);
      if (kept === undefined) return;
      db.prepare("DELETE FROM images WHERE digest <> ?").run(digest);
      const keys = new Set(kept.map(({ key }) => key));
      const all = db.prepare("SELECT id, key FROM layers").all() as unknown as {
        id: number;
        key: string;
      }[];
      const some = db.prepare(
        `DELETE FROM rows WHERE layer = ? AND path IN (SELECT path FROM rows WHERE layer = ? LIMIT ${BATCH})`,
      );
      for (const { id, key } of all) {
        if (keys.has(key)) continue;
        db.prepare("UPDATE layers SET complete = 0 WHERE id = ?").run(id);
        while (some.run(id, id).changes > 0) await pause();
        db.prepare("DELETE FROM layers WHERE id = ?").run(id);
      }
    },
    close() {
      if (!closed) db.close();
      closed = true;
    },
  };
}

/** Whether it is something that an image shows as content. */
function isEntry({ kind }: Row): boolean {
  return kind === "file" || kind === "link" || kind === "refused";
}

function published(row: StoredRow | undefined): StoredRow | undefined {
  return row?.kind === "refused" ? undefined : row;
}

/** @throws SourceError why a row cannot be published, where it is wanted */
function judge({ path, target }: Row, root: Root, scope: Scope | undefined): void {
  if (scope?.wants(pathBelow(path, root)) === false) return;
  const { code, message, hint } = JSON.parse(target as string) as SourceError;
  throw new SourceError(code, message, {
    hint: `${hint ?? "mend the image"}; --exclude leaves it out`,
  });
}

function pathBelow(path: string, root: Root): string {
  return root === "" ? path : path.slice(root.length + 1);
}

function differs(a: Row, b: Row): boolean {
  return a.kind !== b.kind || a.sha256 !== b.sha256 || a.mode !== b.mode || a.target !== b.target;
}

/** The paths from the root's, which is empty, to the parent of a path. */
function ancestorsOf(path: string): string[] {
  const ancestors = path === "" ? [] : [""];
  for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) {
    ancestors.push(path.slice(0, at));
  }
  return ancestors;
}

/** The bounds of what lies below a directory: from the first, up to but without the second. */
function below(directory: string): [string, string | Uint8Array] {
  // Any text comes before any bytes.
  return directory === "" ? ["", new Uint8Array(0)] : [`${directory}/`, `${directory}0`];
}

/** The row of the uppermost layer of an image. */
function topOf(
  rows: readonly StoredRow[],
  positions: ReadonlyMap<number, number>,
): StoredRow | undefined {
  let top: StoredRow | undefined;
  let highest = -1;
  for (const row of rows) {
    const position = positions.get(row.layer) ?? -1;
    if (position > highest) [top, highest] = [row, position];
  }
  return top;
}

/** The uppermost layer of an image that hides what lies below a path in the layers under it; -1 where none does. */
function coverOf(rows: readonly StoredRow[], positions: ReadonlyMap<number, number>): number {
  let cover = -1;
  for (const { kind, layer } of rows) {
    if (kind !== "dir") cover = Math.max(cover, positions.get(layer) ?? -1);
  }
  return cover;
}

/** What an image shows at a path, by looking at its rows and at those of all above it. */
function resolve(
  path: string,
  rows: readonly StoredRow[],
  positions: ReadonlyMap<number, number>,
  directory: (path: string) => readonly StoredRow[],
): StoredRow | undefined {
  const top = topOf(rows, positions);
  if (top === undefined || !isEntry(top)) return undefined;
  const place = positions.get(top.layer) as number;
  const hidden = ancestorsOf(path).some(
    (ancestor) => coverOf(directory(ancestor), positions) > place,
  );
  return hidden ? undefined : top;
}

/** Remembers, while paths come in order, what hides those that are below others. */
function makeCover(positions: ReadonlyMap<number, number>) {
  const above: { readonly path: string; readonly cover: number }[] = [];
  return {
    /** @returns the row that shows at a path, if one does */
    enter(path: string, rows: readonly StoredRow[]): StoredRow | undefined {
      while (above.length > 0 && !path.startsWith(above.at(-1)?.path as string)) above.pop();
      let hidden = -1;
      for (const { path: ancestor, cover } of above) {
        if (ancestor === "" || path.startsWith(`${ancestor}/`)) hidden = Math.max(hidden, cover);
      }
      const cover = coverOf(rows, positions);
      if (cover > -1) above.push({ path, cover });
      const top = topOf(rows, positions);
      return top !== undefined && (positions.get(top.layer) as number) < hidden ? undefined : top;
    },
  };
}
