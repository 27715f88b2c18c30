/** What a listing brought of the objects' content, for the reads that follow: they come in another order. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "@pannier/core/adapter";
import { idOf, type KubeObject } from "./objects.ts";

/**
 * KiB that are kept in memory. What is beyond goes to a file, which loses its name at once: nothing of a Secret is left
 * wherever the process ends. One transaction, so that nothing is written before that.
 */
const IN_MEMORY = 8192;
const SCHEMA = `
PRAGMA journal_mode = MEMORY;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -${IN_MEMORY};
BEGIN EXCLUSIVE;
CREATE TABLE contents (id TEXT, key TEXT, uid TEXT, version TEXT, content BLOB);
CREATE UNIQUE INDEX by_key ON contents (id, key);`;

export interface HeldContent extends Pick<KubeObject, "uid" | "resourceVersion"> {
  readonly content: Buffer;
}

export interface Held {
  put(object: KubeObject): Promise<void>;
  get(id: string, key: string): HeldContent | undefined;
  clear(): void;
}

type Statement = ReturnType<DatabaseSync["prepare"]>;

interface Table {
  readonly database: DatabaseSync;
  readonly insert: Statement;
  readonly select: Statement;
}

/**
 * @param folder asked for when something is held
 * @param most bytes beyond which nothing more is held
 */
export function holdObjects(folder: () => Promise<string>, most: number): Held {
  let opening: Promise<Table> | undefined;
  let table: Table | undefined;
  let bytes = 0;

  async function open(): Promise<Table> {
    const path = join(await folder(), "objects");
    await rm(path, { force: true });
    const database = new DatabaseSync(path);
    database.exec(SCHEMA);
    await rm(path);
    return {
      database,
      insert: database.prepare("INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?, ?)"),
      select: database.prepare(
        "SELECT uid, version, content FROM contents WHERE id = ? AND key = ?",
      ),
    };
  }

  return {
    async put(object) {
      const { uid, resourceVersion, content } = object;
      table = await (opening ??= open());
      for (const [key, value] of content) {
        bytes += value.length;
        if (bytes > most) return;
        table.insert.run(idOf(object), key, uid, resourceVersion, value);
      }
    },
    get(id, key) {
      const row = table?.select.get(id, key);
      if (row === undefined) return undefined;
      const { buffer, byteOffset, byteLength } = row["content"] as Uint8Array;
      return {
        uid: row["uid"] as string,
        resourceVersion: row["version"] as string,
        content: Buffer.from(buffer, byteOffset, byteLength),
      };
    },
    clear() {
      table?.database.close();
      opening = undefined;
      table = undefined;
      bytes = 0;
    },
  };
}
