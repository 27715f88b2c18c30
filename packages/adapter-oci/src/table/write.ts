/** Taking in what a layer holds. */
import type { Layer } from "../image.ts";
import { BATCH, type Database } from "./database.ts";
import { ancestorsOf, type Row } from "./rows.ts";

export interface RowWriter {
  add(row: Row): void;
  /** Only now do the rows count. */
  finish(): void;
}

/** Replaces what is known of a layer. */
export function writeLayer(database: Database, layer: Layer): RowWriter {
  const { db } = database;
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
  db.prepare("INSERT OR IGNORE INTO layers (key, complete) VALUES (?, 0)").run(layer.key);
  const { id } = database.layer(layer) as { id: number };
  db.prepare("UPDATE layers SET complete = 0 WHERE id = ?").run(id);
  db.prepare("DELETE FROM rows WHERE layer = ?").run(id);
  let held: Row[] = [];
  let directory: string | undefined;
  const flush = (complete: boolean) => {
    database.checkOpen();
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
}
