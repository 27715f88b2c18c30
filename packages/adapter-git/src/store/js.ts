/**
 * `engine=js`: isomorphic-git as the reader of packs, for machines without git. Our own protocol client fetches.
 *
 * It holds whole packs in memory, while indexing them several times over: 1.6 GB for a pack of 300 MB. So it takes no large ones.
 */
import { createHash, randomUUID } from "node:crypto";
import fs from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { NoRoomError, saysFull, SourceError } from "@pannier/core/adapter";
import { walkTree } from "../tree.ts";
import { checkExpansion } from "./expansion.ts";
import { CacheDamaged, type GitObject, type ObjectStore } from "./store.ts";

/** Bytes of a pack that is taken in. */
const MOST_PACKED = 64 * 1024 * 1024;

/** Bytes of a large blob that are handed over at a time. */
const PIECE = 256 * 1024;

/** Packs are let go from memory when nothing was read for this long. */
const IDLE_MS = 30_000;

/** @param maxExpansion how many times its own size a pack may hold */
export function jsStore(gitDir: string, maxExpansion: number): ObjectStore {
  const packs = join(gitDir, "objects/pack");
  let cache: object = {};
  let files = readerFs(gitDir);
  let idle: NodeJS.Timeout | undefined;

  const forget = () => {
    clearTimeout(idle);
    cache = {};
    files = readerFs(gitDir);
  };

  const armIdleTimer = () => {
    clearTimeout(idle);
    idle = setTimeout(forget, IDLE_MS);
    idle.unref();
  };

  const store: ObjectStore = {
    formats: ["sha1"],

    async read(oid) {
      const git = await import("isomorphic-git");
      armIdleTimer();
      try {
        const { type, object } = await git.readObject({
          fs: files,
          gitdir: gitDir,
          oid,
          format: "content",
          cache,
        });
        return { type: type as GitObject["type"], data: object as Uint8Array };
      } catch (error) {
        if (error instanceof git.Errors.NotFoundError) return undefined;
        throw new CacheDamaged(`object ${oid} cannot be read`, { cause: error });
      }
    },

    async *stream(oid, signal) {
      const object = await store.read(oid);
      if (object === undefined) throw new CacheDamaged(`blob ${oid} is missing`);
      for (let at = 0; at < object.data.length; at += PIECE) {
        signal.throwIfAborted();
        yield object.data.subarray(at, at + PIECE);
      }
    },

    sizes: async (oids) => oids.map(() => undefined),

    walk: (tree) => walkTree(store, tree),

    async addPack(pack, signal) {
      const git = await import("isomorphic-git");
      const name = `tmp_${randomUUID()}`;
      try {
        const id = await writePack(upTo(MOST_PACKED, pack), join(packs, `${name}.pack`), signal);
        await inspect(join(packs, `${name}.pack`), maxExpansion, signal);
        const { oids } = await git.indexPack({
          fs,
          dir: packs,
          gitdir: gitDir,
          filepath: `${name}.pack`,
          cache,
        });
        signal.throwIfAborted();
        // An object that could not be resolved is left out without a word.
        const expected = await countObjects(join(packs, `${name}.pack`));
        if (oids.length !== expected)
          throw new CacheDamaged("the pack holds what cannot be resolved");
        await rename(join(packs, `${name}.pack`), join(packs, `pack-${id}.pack`));
        await rename(join(packs, `${name}.idx`), join(packs, `pack-${id}.idx`));
        files = readerFs(gitDir);
        armIdleTimer();
      } catch (error) {
        await rm(join(packs, `${name}.pack`), { force: true });
        await rm(join(packs, `${name}.idx`), { force: true });
        throw noRoom(error) ?? error;
      }
    },

    async close() {
      forget();
    },
  };
  return store;
}

/**
 * The files as isomorphic-git gets to see them while it reads. It asks the same questions again for every object, which took
 * more than half the time of reading small ones: here they are answered from memory.
 */
function readerFs(gitDir: string) {
  const objects = join(gitDir, "objects");
  const packs = join(objects, "pack");
  let listed: Promise<string[]> | undefined;
  const { promises } = fs;
  const readFile = (path?: string, options?: object) => {
    // Its way of finding out whether these are promises.
    if (path === undefined) return Promise.resolve();
    // Whatever we take in comes as a pack: there are no loose objects.
    if (path.startsWith(objects) && !path.startsWith(packs)) return Promise.reject(NO_FILE);
    return promises.readFile(path, options);
  };
  const readdir = (path: string) => {
    if (path !== packs) return promises.readdir(path);
    listed ??= promises.readdir(path);
    listed.catch(() => (listed = undefined));
    return listed;
  };
  const stat = (path: string) =>
    path === gitDir ? Promise.resolve(DIRECTORY) : promises.stat(path);
  return { promises: { ...promises, readFile, readdir, stat } };
}

const NO_FILE = Object.assign(new Error("no such file"), { code: "ENOENT" });
const DIRECTORY = { isDirectory: () => true, isFile: () => false };

async function* upTo(most: number, pack: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of pack) {
    size += chunk.length;
    if (size > most) {
      const what = `the repository sends more than ${most} bytes at once, which engine=js would hold in memory several times over`;
      throw new SourceError("unsupported", what, {
        hint: "install git, and leave engine at auto or set engine=cli; with depth=1 less is sent",
      });
    }
    yield chunk;
  }
}

/** Writes a pack to a file and returns its id, the digest at its end: https://git-scm.com/docs/gitformat-pack */
async function writePack(
  pack: AsyncIterable<Uint8Array>,
  path: string,
  signal: AbortSignal,
): Promise<string> {
  const digest = createHash("sha1");
  let tail: Buffer = Buffer.alloc(0);
  const file: FileHandle = await open(path, "wx");
  try {
    for await (const chunk of pack) {
      signal.throwIfAborted();
      const bytes = Buffer.concat([tail, chunk]);
      const body = bytes.subarray(0, Math.max(0, bytes.length - 20));
      digest.update(body);
      tail = bytes.subarray(body.length);
      await file.writeFile(chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  const id = digest.digest("hex");
  if (id !== tail.toString("hex"))
    throw new SourceError("unavailable", "the pack was damaged on its way");
  return id;
}

async function inspect(path: string, maxExpansion: number, signal: AbortSignal): Promise<void> {
  try {
    await checkExpansion(await fs.promises.readFile(path), maxExpansion, signal);
  } catch (error) {
    // Its digest is right: this is what the server made.
    if (error instanceof RangeError || isZlibError(error))
      throw new SourceError("invalid", "the server's pack is broken", { cause: error });
    throw error;
  }
}

function isZlibError(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ERR_BUFFER_TOO_LARGE" || code?.startsWith("Z_") === true;
}

async function countObjects(path: string): Promise<number> {
  const file = await open(path);
  try {
    const head = Buffer.alloc(12);
    await file.read(head, 0, 12, 0);
    return head.readUInt32BE(8);
  } finally {
    await file.close();
  }
}

function noRoom(error: unknown): NoRoomError | undefined {
  if (saysFull(error) === undefined) return undefined;
  return new NoRoomError("no room for the git object cache", {
    hint: "free space on the volume",
    cause: error,
  });
}
