/**
 * What an archive holds, unpacked: a table of its entries, one file for all of the small contents, and a file for each of the others. No
 * name of an archive becomes a name on the disk: a file's place is the digest of its path. So nothing in an archive can choose
 * where it is written; hard links find their target without a table in memory, and a later member replaces an earlier one.
 */
import { createHash, hash } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync, type SourceError } from "@pannier/core/adapter";
import { PACKED_FILE } from "./place.ts";
import { fileOf, openUnpacked, type Row, rowReader, type Unpacked } from "./unpacked.ts";

/**
 * Files up to this size lie in one file together, from where lanes copy them. A file of its own takes four calls of the system here and
 * five more to move it into place: 20,000 files of 5 KiB took twice the processor time.
 */
const SMALL = 256 * 1024;
/** What is gathered before it is written. */
const HELD = 1024 * 1024;

export interface Content {
  readonly size: number;
  readonly sha256: string;
}

/** What every entry of an archive has; modes are those of files. */
interface Facts {
  readonly mode?: number | undefined;
  readonly mtime: number | undefined;
}

/** An archive being unpacked. */
export interface Scratch {
  /** Writes a file; resolves perhaps before it is on the disk. An error then comes from a later call. */
  put(
    path: string,
    size: number,
    content: AsyncIterable<Uint8Array> | Uint8Array,
    facts: Facts,
  ): Promise<Content>;
  symlink(path: string, target: string, facts: Facts): Promise<void>;
  /** Notes that a path cannot be published, and why. */
  refuse(path: string, why: SourceError): Promise<void>;
  /** The size of a file that was put, if there is one. */
  sizeOf(path: string): number | undefined;
  /** Makes a file a copy of another that {@link sizeOf} found. */
  copy(from: string, to: string, facts: Facts): Promise<Content>;
  /** Waits until everything is written. */
  finish(): Promise<Unpacked>;
  /** Frees what is open, but for what {@link finish} gave. Never throws. */
  close(): Promise<void>;
}

/** Nothing of it outlives the process, so nothing is done to keep it whole. */
const SCHEMA = `
PRAGMA journal_mode = MEMORY;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
CREATE TABLE entries (
  path TEXT PRIMARY KEY, target TEXT, size INTEGER, sha256 TEXT, mode INTEGER, mtime REAL, start INTEGER,
  failure TEXT
) WITHOUT ROWID;
BEGIN`;

/** @param folder an empty directory */
export async function createScratch(folder: string): Promise<Scratch> {
  const packed = await open(join(folder, PACKED_FILE), "wx");
  const table = new DatabaseSync(join(folder, "entries"));
  table.exec(SCHEMA);
  const insert = table.prepare("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  const insertNew = table.prepare("INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  const rowOf = rowReader(table);
  const pack = packInto(packed);
  let finished = false;

  /** Removes what an earlier member of that name left. */
  const clear = async (path: string) => {
    const before = rowOf(path);
    if (before === undefined || before.target !== null || before.start !== null) return;
    if (before.failure !== null) return;
    await rm(fileOf(folder, path), { force: true });
  };
  /** Most members are the first of their name: none is looked up for that. */
  const addPacked = async (path: string, content: Content, facts: Facts, start: number) => {
    const row = rowFor(path, content, facts, start);
    if (insertNew.run(...row).changes === 1) return;
    await clear(path);
    insert.run(...row);
  };

  return {
    async put(path, size, content, facts) {
      const isWhole = content instanceof Uint8Array;
      if (size > SMALL) {
        await clear(path);
        const written = await writeStream(fileOf(folder, path), isWhole ? [content] : content);
        insert.run(...rowFor(path, written, facts, null));
        return written;
      }
      const whole = isWhole ? content : await allOf(content);
      const written = { size: whole.byteLength, sha256: hash("sha256", whole) };
      await addPacked(path, written, facts, await pack.add(whole));
      return written;
    },
    async symlink(path, target, { mtime }) {
      await clear(path);
      insert.run(path, target, null, null, null, mtime ?? null, null, null);
    },
    async refuse(path, { code, message, hint }) {
      await clear(path);
      const why = JSON.stringify({ code, message, hint });
      insert.run(path, null, null, null, null, null, null, why);
    },
    sizeOf(path) {
      return rowOf(path)?.size ?? undefined;
    },
    async copy(from, to, facts) {
      const { size, sha256, start } = rowOf(from) as Row & Content;
      if (from !== to) {
        await clear(to);
        if (start === null) {
          await copyFile(fileOf(folder, from), fileOf(folder, to), constants.COPYFILE_FICLONE);
        }
      }
      insert.run(...rowFor(to, { size, sha256 }, facts, start));
      return { size, sha256 };
    },
    async finish() {
      await pack.end();
      table.exec("COMMIT");
      finished = true;
      return openUnpacked(folder, table);
    },
    async close() {
      await pack.settle();
      await packed.close().catch(() => {});
      if (!finished) table.close();
    },
  };
}

/** Writes small contents one after the other into a file, while the next ones are read. An error comes from a later call. */
function packInto(file: FileHandle) {
  /** Those that are not yet written. Copied: they may be parts of something large. */
  let held = Buffer.allocUnsafeSlow(HELD);
  let heldBytes = 0;
  /** Memory of those that are written, to be filled again: for every few MiB of new memory V8 would look through its heap. */
  const spare: Buffer<ArrayBuffer>[] = [];
  /** Where the next one begins. */
  let end = 0;
  let writing: Promise<void> = Promise.resolve();

  async function write(before: Promise<void>, full: Buffer<ArrayBuffer>, bytes: number) {
    const at = end - bytes;
    await before;
    await writeAll(file, full.subarray(0, bytes), at);
    spare.push(full);
  }

  /** Waits only for what was written before. */
  async function flush(): Promise<void> {
    const before = writing;
    writing = write(before, held, heldBytes);
    writing.catch(() => {});
    held = spare.pop() ?? Buffer.allocUnsafeSlow(HELD);
    heldBytes = 0;
    await before;
  }

  return {
    /** @returns where in the file it begins */
    async add(content: Uint8Array): Promise<number> {
      // Meanwhile others may have put theirs.
      while (heldBytes + content.byteLength > HELD) await flush();
      const start = end;
      held.set(content, heldBytes);
      heldBytes += content.byteLength;
      end += content.byteLength;
      return start;
    },
    /** Waits until everything is written. */
    async end(): Promise<void> {
      await flush();
      await writing;
    },
    /** Waits until nothing is being written any more. Never throws. */
    settle: () => writing.catch(() => {}),
  };
}

function rowFor(path: string, { size, sha256 }: Content, facts: Facts, start: number | null) {
  return [path, null, size, sha256, facts.mode ?? null, facts.mtime ?? null, start, null] as const;
}

async function allOf(content: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of content) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Writes bytes to a new file. */
export async function writeStream(
  path: string,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<Content> {
  const digest = createHash("sha256");
  let size = 0;
  const handle = await open(path, "wx");
  try {
    for await (const chunk of content) {
      digest.update(chunk);
      size += chunk.byteLength;
      await writeAll(handle, chunk);
    }
  } finally {
    await handle.close();
  }
  return { size, sha256: digest.digest("hex") };
}

/** @param position where in the file; default: after what was written last */
export async function writeAll(
  handle: FileHandle,
  chunk: Uint8Array,
  position?: number,
): Promise<void> {
  for (let offset = 0; offset < chunk.byteLength;) {
    const at = position === undefined ? null : position + offset;
    offset += (await handle.write(chunk, offset, chunk.byteLength - offset, at)).bytesWritten;
  }
}
