/** The table of layers, open: its file, and what its readers and writers share. */
import { rmSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { DatabaseSync, SourceError } from "@pannier/core/adapter";
import type { Layer } from "../image.ts";
import type { StoredRow } from "./rows.ts";

/** Rows that are read or written at a time. */
export const BATCH = 500;

const VERSION = 2;

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

export interface Database {
  readonly db: DatabaseSync;
  /** What is known of a layer: its number, and whether all of it is there. */
  layer(layer: Layer): { readonly id: number; readonly complete: number } | undefined;
  /** The key of a layer by its number. */
  keyOf(id: number): string;
  /** All rows at a path, of whatever layer. */
  rowsAt(path: string): StoredRow[];
  /** The places of an image's layers by their numbers: of one that is there twice, the upper one counts. */
  positionsOf(layers: readonly Layer[]): Map<number, number>;
  /** Waits between two batches, so that others have their turn, and notices that the source was closed. */
  pause(): Promise<void>;
  /** @throws SourceError `unavailable` once it was closed */
  checkOpen(): void;
  readonly isClosed: boolean;
  close(): void;
}

/**
 * Opens the file, or makes it.
 *
 * @param view what of the layers is in it, and how it was read: another view starts over
 */
export function openDatabase(path: string, view: string): Database {
  let db = openFile(path, view);
  if (db === undefined) {
    for (const suffix of ["", "-wal", "-shm"]) rmSync(path + suffix, { force: true });
    db = openFile(path, view);
  }
  if (db === undefined) throw new Error("the table of layers cannot be made");
  return databaseOf(db);
}

/** @returns `undefined` where what is there is damaged or of another kind */
function openFile(path: string, view: string): DatabaseSync | undefined {
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
    // Damaged: recreated.
  }
  db.close();
  return undefined;
}

function databaseOf(db: DatabaseSync): Database {
  const layers = db.prepare("SELECT id, complete FROM layers WHERE key = ?");
  const keys = db.prepare("SELECT key FROM layers WHERE id = ?");
  const rows = db.prepare("SELECT * FROM rows WHERE path = ?");
  let isClosed = false;
  const database: Database = {
    db,
    layer: ({ key }) => layers.get(key) as { id: number; complete: number } | undefined,
    keyOf: (id) => keys.get(id)?.["key"] as string,
    rowsAt: (path) => rows.all(path) as unknown as StoredRow[],
    positionsOf(image) {
      const positions = new Map<number, number>();
      for (const [position, layer] of image.entries()) {
        const found = database.layer(layer);
        if (found === undefined) throw new Error(`layer ${layer.key} was not looked at`);
        positions.set(found.id, position);
      }
      return positions;
    },
    async pause() {
      await setImmediate();
      database.checkOpen();
    },
    checkOpen() {
      if (isClosed) throw new SourceError("unavailable", "the source was closed");
    },
    get isClosed() {
      return isClosed;
    },
    close() {
      if (!isClosed) db.close();
      isClosed = true;
    },
  };
  return database;
}
