/** What a listing brought of the objects' content, for the reads that follow: they come in another order. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "@pannier/core/adapter";
import { idOf, type KubeObject } from "./objects.ts";

/** Bytes that are held in memory. What is beyond goes to a table in a file. */
export const IN_MEMORY = 8 << 20;
/** For the names of a content, and its version. */
const OVERHEAD = 512;
const SCHEMA = `
PRAGMA journal_mode = MEMORY;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA temp_store = MEMORY;
BEGIN EXCLUSIVE;
CREATE TABLE contents (name TEXT UNIQUE, uid TEXT, version TEXT, content BLOB);`;

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
 * @param folder asked for when something goes to the file
 * @param most bytes beyond which nothing more is held
 */
export function holdObjects(folder: () => Promise<string>, most: number): Held {
  const small = new Map<string, HeldContent>();
  let opening: Promise<Table> | undefined;
  let table: Table | undefined;
  let bytes = 0;

  async function open(): Promise<Table> {
    const path = join(await folder(), "objects");
    await rm(path, { force: true });
    const database = new DatabaseSync(path);
    database.exec(SCHEMA);
    // Nothing is left, wherever the process ends.
    await rm(path);
    return {
      database,
      insert: database.prepare("INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?)"),
      select: database.prepare("SELECT uid, version, content FROM contents WHERE name = ?"),
    };
  }

  return {
    async put(object) {
      const { uid, resourceVersion } = object;
      for (const [key, content] of object.content) {
        const name = nameOf(idOf(object), key);
        bytes += content.length + OVERHEAD;
        if (bytes > most) return;
        if (bytes <= IN_MEMORY || small.has(name)) {
          small.set(name, { uid, resourceVersion, content });
          continue;
        }
        table ??= await (opening ??= open());
        table.insert.run(name, uid, resourceVersion, content);
      }
    },
    get(id, key) {
      const name = nameOf(id, key);
      const row = small.has(name) ? undefined : table?.select.get(name);
      if (row === undefined) return small.get(name);
      const { buffer, byteOffset, byteLength } = row["content"] as Uint8Array;
      return {
        uid: row["uid"] as string,
        resourceVersion: row["version"] as string,
        content: Buffer.from(buffer, byteOffset, byteLength),
      };
    },
    clear() {
      small.clear();
      table?.database.close();
      opening = undefined;
      table = undefined;
      bytes = 0;
    },
  };
}

function nameOf(id: string, key: string): string {
  return `${id}/${key}`;
}
