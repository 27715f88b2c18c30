import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describeAdapter, type Harness, type StoreFiles } from "@pannier/adapter-kit";
import * as vitest from "vitest";
import { adapter } from "./adapter.ts";

const folder = mkdtempSync(join(tmpdir(), "pannier-sqlite-"));
vitest.afterAll(() => rmSync(folder, { recursive: true }));
let stores = 0;
let versions = 0;

const harness: Harness = {
  adapter,
  traits: { symlinks: false, modes: "none", mtimes: false, directories: false },
  failures: { "not-found": () => ({ url: `sqlite://${folder}/missing.db` }) },
  async create(files) {
    const path = join(folder, `store-${++stores}.db`);
    const db = new DatabaseSync(path);
    db.exec("CREATE TABLE files (path TEXT PRIMARY KEY, content BLOB, version INTEGER)");
    const change = async (changes: StoreFiles) => {
      db.exec("BEGIN");
      for (const [name, file] of changes) {
        if (file?.kind !== "file") db.prepare("DELETE FROM files WHERE path = ?").run(name);
        else db.prepare("REPLACE INTO files VALUES (?, ?, ?)").run(name, file.content, ++versions);
      }
      db.exec("COMMIT");
    };
    await change(files);
    return { source: () => ({ url: `sqlite://${path}` }), change, close: async () => db.close() };
  },
};

// SQLite walks to a place in a blob from its start: a table is for pages, not for films.
describeAdapter(vitest, harness, { largeFile: 4 << 20 });
