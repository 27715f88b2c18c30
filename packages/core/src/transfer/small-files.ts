/**
 * Writing small files, many of them, in threads of their own.
 *
 * A small file costs five or six calls, each of some microseconds where the volume answers at once. Made one by one through the
 * pool of threads they cost twice that in hand-overs; made here they take turns with everything else that this thread does.
 * In another thread, by the batch, they cost this one next to nothing: 20,000 files of 640 bytes on tmpfs kept it busy for 0.06 s,
 * where writing them here took 0.43 s.
 *
 * One thread is best where calls are quick (two on tmpfs were slower than one); on a disk that waits for its journal, or over
 * NFS, more of them wait side by side.
 */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import {
  type Attributes,
  closeFile,
  createFile,
  discardFile,
  type DiskFacts,
  finishFile,
  writeAll,
} from "./output.ts";
import { fromFailure, type ThreadFailure } from "./thread-failure.ts";

/** Files of up to this size are held in memory until they are whole, in bytes. */
export const SMALL = 64 * 1024;

/** Fewer files than this are not worth starting a thread, which takes some 30 ms. */
const WORTH_A_THREAD = 200;

/** What is handed over at once at most: files, and bytes. */
const BATCH_FILES = 64;
const BATCH_BYTES = 512 * 1024;

/**
 * Milliseconds that a file waits for others at most. A hand-over costs this thread some 60 µs, for one file as for twenty, and
 * nobody waits for a single file: others are read meanwhile.
 */
const LINGER = 5;

/** Batches that a thread has before it: one in work, one to go on with. */
const QUEUED_BATCHES = 2;

/** Another thread is started when a file takes longer than this on average, in milliseconds, up to so many threads. */
const SLOW_FILE_MS = 0.5;
const THREADS = 4;

/** Files that may be on their way to the disk at once so that no thread runs dry. */
export const FILES_AHEAD = BATCH_FILES * QUEUED_BATCHES;

export interface SmallFile extends Attributes {
  /** Absolute; must not exist. */
  readonly path: string;
  /** Together the content; not to be changed any more. */
  readonly chunks: readonly Uint8Array[];
}

export interface SmallFiles {
  /** Creates the file. Where that fails nothing is left of it. @throws errors of the file system, with their `code` */
  write(file: SmallFile): Promise<DiskFacts>;
  /** Ends the threads. What is still being written fails. */
  close(): void;
}

/** For one sync. @param expected how many files are to come, large ones included */
export function openSmallFiles(expected: number): SmallFiles {
  return expected < WORTH_A_THREAD ? { write: writeHere, close: () => {} } : openThreads();
}

async function writeHere(file: SmallFile): Promise<DiskFacts> {
  const fd = await createFile(file.path, file.mode);
  try {
    let position = 0;
    for (const chunk of file.chunks) {
      await writeAll(fd, chunk, position);
      position += chunk.length;
    }
    const facts = await finishFile(fd, file);
    // NFS tells only here that there was no room.
    await closeFile(fd);
    return facts;
  } catch (error) {
    await closeFile(fd).catch(() => {});
    await discardFile(file.path);
    throw error;
  }
}

/** One file of a batch; its content is from `start` to `end` of the batch's bytes. */
export interface BatchFile {
  readonly path: string;
  readonly mode: number;
  readonly mtime: number | undefined;
  readonly owner: Attributes["owner"];
  readonly start: number;
  readonly end: number;
}

export interface Batch {
  readonly files: readonly BatchFile[];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** How it stands on the volume, or why it does not. */
export type Written = DiskFacts | ThreadFailure;

export interface BatchDone {
  /** In the order of the batch's files. */
  readonly results: readonly Written[];
  /** Milliseconds. */
  readonly spent: number;
}

interface Pending {
  readonly file: SmallFile;
  readonly size: number;
  readonly resolve: (facts: DiskFacts) => void;
  readonly reject: (error: unknown) => void;
}

interface Thread {
  readonly worker: Worker;
  /** Batches handed over and not answered yet, the oldest first. */
  readonly batches: Pending[][];
}

function openThreads(): SmallFiles {
  const threads: Thread[] = [];
  const waiting: Pending[] = [];
  let waitingBytes = 0;
  /** While it runs, files wait for others. */
  let lingering: NodeJS.Timeout | undefined;
  let failed: unknown;

  const fail = (error: unknown) => {
    failed ??= error;
    const lost = [...threads.flatMap(({ batches }) => batches.splice(0).flat()), ...waiting];
    waiting.length = 0;
    clearTimeout(lingering);
    for (const { reject } of lost) reject(failed);
  };

  /** False where the system has no room for another thread. */
  const start = (): boolean => {
    // Beside this file, whether that is source, built, or bundled with the program.
    const script = new URL(`./small-file-worker${extname(import.meta.url)}`, import.meta.url);
    let worker: Worker;
    try {
      worker = new Worker(script, {
        execArgv: process.execArgv.filter((argument) => argument === "--experimental-strip-types"),
      });
    } catch {
      return false;
    }
    const thread: Thread = { worker, batches: [] };
    worker.on("message", ({ results, spent }: BatchDone) => {
      const batch = thread.batches.shift() ?? [];
      for (const [index, { resolve, reject }] of batch.entries()) {
        const result = results[index] as Written;
        if ("ino" in result) resolve(result);
        else reject(fromFailure(result));
      }
      if (spent > batch.length * SLOW_FILE_MS && threads.length < THREADS && waiting.length > 0)
        start();
      dispatchBatches();
    });
    worker.on("error", fail);
    worker.on("exit", () => fail(new Error("the thread that writes files ended")));
    threads.push(thread);
    return true;
  };

  const isDue = () =>
    lingering === undefined || waiting.length >= BATCH_FILES || waitingBytes >= BATCH_BYTES;

  /** Hands over what has waited long enough, as far as threads are free for it. */
  const dispatchBatches = () => {
    while (waiting.length > 0 && isDue()) {
      if (threads.length === 0 && !start()) return writeWithoutThread();
      const free = threads.reduce((a, b) => (b.batches.length < a.batches.length ? b : a));
      if (free.batches.length >= QUEUED_BATCHES) return;
      const batch = takeBatch(waiting);
      waitingBytes -= sizeOf(batch);
      const message = pack(batch);
      free.batches.push(batch);
      free.worker.postMessage(message, [message.bytes.buffer]);
    }
  };

  const writeWithoutThread = () => {
    waitingBytes = 0;
    for (const { file, resolve, reject } of waiting.splice(0))
      writeHere(file).then(resolve, reject);
  };

  return {
    write(file) {
      return new Promise((resolve, reject) => {
        if (failed !== undefined) return reject(failed);
        const size = file.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
        waiting.push({ file, size, resolve, reject });
        waitingBytes += size;
        lingering ??= setTimeout(() => {
          lingering = undefined;
          dispatchBatches();
        }, LINGER);
        dispatchBatches();
      });
    },
    close() {
      fail(new Error("the sync is over"));
      // Not waited for: a thread that hangs in the kernel ends when the kernel lets it.
      for (const { worker } of threads) void worker.terminate();
    },
  };
}

function takeBatch(waiting: Pending[]): Pending[] {
  let bytes = 0;
  let count = 0;
  for (const { size } of waiting) {
    if (count === BATCH_FILES || (count > 0 && bytes + size > BATCH_BYTES)) break;
    bytes += size;
    count++;
  }
  return waiting.splice(0, count);
}

function sizeOf(batch: readonly Pending[]): number {
  return batch.reduce((sum, { size }) => sum + size, 0);
}

function pack(batch: readonly Pending[]): Batch {
  const bytes = new Uint8Array(sizeOf(batch));
  let at = 0;
  const files = batch.map(({ file: { path, mode, mtime, owner, chunks } }): BatchFile => {
    const start = at;
    for (const chunk of chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return { path, mode, mtime, owner, start, end: at };
  });
  return { files, bytes };
}
