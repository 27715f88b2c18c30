/**
 * Scratch files that no entry names: a file's place is the digest of its path. So nothing in an archive can choose where
 * it is written, hard links find their target without a table in memory, and a later member replaces an earlier one.
 */
import { createHash, hash } from "node:crypto";
import { constants, createReadStream } from "node:fs";
import { copyFile, type FileHandle, open, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Entry } from "@pannier/core";
import { linesOf } from "../lines.ts";

/** Files up to this size are written while the next ones are read. */
const SMALL = 256 * 1024;
const WRITES_AT_ONCE = 8;
const BATCH = 500;

export interface Content {
  readonly size: number;
  readonly sha256: string;
}

/** Files being written, and an index of entries beside them. */
export interface Scratch {
  /** Writes a file; resolves perhaps before it is on the disk. An error then comes from a later call. */
  put(path: string, size: number, content: AsyncIterable<Uint8Array>): Promise<Content>;
  /** The size of a file that was put, if there is one. */
  sizeOf(path: string): Promise<number | undefined>;
  /** Makes a file a copy of another that {@link sizeOf} found. */
  copy(from: string, to: string): Promise<Content>;
  remove(path: string): Promise<void>;
  /** Adds an entry to the index. */
  list(entry: Entry): Promise<void>;
  /** Waits until everything is written. */
  finish(): Promise<void>;
  /** Frees what is open. Never throws. */
  close(): Promise<void>;
}

/** The file that holds an entry's content. */
export function placeOf(folder: string, path: string): string {
  return join(folder, hash("sha256", path).slice(0, 40));
}

/** @param folder an empty directory */
export async function createScratch(folder: string): Promise<Scratch> {
  const index = await open(join(folder, "index"), "wx");
  const writes = new Map<string, Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  let lines = "";

  const settle = async () => {
    await Promise.all(writes.values());
    if (failure !== undefined) throw failure.error;
  };
  /** A place where nothing is, nor is being written. */
  const clear = async (path: string) => {
    const place = placeOf(folder, path);
    await writes.get(place);
    if (failure !== undefined) throw failure.error;
    await rm(place, { force: true });
    return place;
  };
  const flush = async () => {
    await writeAll(index, Buffer.from(lines));
    lines = "";
  };

  return {
    async put(path, size, content) {
      const place = await clear(path);
      if (size > SMALL) return writeStream(place, content);
      const chunks: Uint8Array[] = [];
      for await (const chunk of content) chunks.push(chunk);
      const whole = Buffer.concat(chunks);
      while (writes.size >= WRITES_AT_ONCE) await Promise.race(writes.values());
      const write = writeFile(place, whole, { flag: "wx" })
        .catch((error: unknown) => {
          failure ??= { error };
        })
        .finally(() => writes.delete(place));
      writes.set(place, write);
      return { size: whole.byteLength, sha256: hash("sha256", whole) };
    },
    async sizeOf(path) {
      await settle();
      try {
        return (await stat(placeOf(folder, path))).size;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw error;
      }
    },
    async copy(from, to) {
      const source = placeOf(folder, from);
      if (from !== to) await copyFile(source, await clear(to), constants.COPYFILE_FICLONE);
      const digest = createHash("sha256");
      let size = 0;
      for await (const chunk of createReadStream(source) as AsyncIterable<Buffer>) {
        digest.update(chunk);
        size += chunk.byteLength;
      }
      return { size, sha256: digest.digest("hex") };
    },
    async remove(path) {
      await clear(path);
    },
    async list(entry) {
      lines += `${JSON.stringify(entry)}\n`;
      if (lines.length > SMALL) await flush();
    },
    async finish() {
      await settle();
      await flush();
    },
    async close() {
      await Promise.all(writes.values());
      await index.close().catch(() => {});
    },
  };
}

/** The entries that were listed, in their order. */
export async function* entriesIn(folder: string): AsyncGenerator<Entry[]> {
  let batch: Entry[] = [];
  for await (const line of linesOf(createReadStream(join(folder, "index")))) {
    batch.push(JSON.parse(line) as Entry);
    if (batch.length === BATCH) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

/** Writes bytes to a new file. */
export async function writeStream(
  path: string,
  content: AsyncIterable<Uint8Array>,
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
