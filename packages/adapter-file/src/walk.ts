/**
 * A directory tree as entries, in the order of their paths' bytes, with memory for one directory per level.
 *
 * In a thread of its own, by measurement. 300,000 files (ext4, cached, 2 cores) are looked at in 0.9–1.4 s by plain calls,
 * in 4.2–5.1 s by asynchronous ones; most of it is the kernel's. Plain calls in the main thread hold up everything else,
 * for ever if they meet a network mount whose server is gone. And beside the engine's comparison instead of before it,
 * a sync with nothing to do takes 2.1–2.3 s instead of 3.3 s (`rsync -a`: 1.6–2.3 s).
 */
import { constants } from "node:fs";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { type Entry, quotePath, SourceError } from "@pannier/core/adapter";
import { noAnswer } from "./calls.ts";
import { translate } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";
import type { WalkBatch, WalkFailure, WalkInit } from "./walk-worker.ts";

export interface Walk {
  /** Without symlinks, and without a `/` at the end. */
  readonly root: string;
  /** Milliseconds of silence after which the file system is given up. */
  readonly idleTimeout: number;
  readonly signal: AbortSignal;
  /** Told of each FIFO, socket and device, which are left out. */
  readonly onSpecial: (path: string) => void;
  /** Whether something of this path may be wanted, be it a file or a directory. */
  readonly mayBeWanted: (path: string) => boolean;
}

/**
 * Lists all regular files and symlinks. Nothing is followed or opened.
 *
 * A tree that changes meanwhile is listed as each part was when it was looked at. What is deleted before that is left
 * out; a directory that becomes something else is `changed`. That the root is the same at the end is the caller's to check.
 */
export async function* walk({
  root,
  idleTimeout,
  signal,
  onSpecial,
  mayBeWanted,
}: Walk): AsyncGenerator<readonly Entry[]> {
  signal.throwIfAborted();
  const taken = new Int32Array(new SharedArrayBuffer(4));
  const worker = startWorker({ root, taken });
  const batches = receive(worker, idleTimeout, signal);
  try {
    for (let last = false; !last;) {
      const batch = await batches.next();
      batch.specials.forEach(onSpecial);
      const failure = batch.failures.find(({ path }) => mayBeWanted(path));
      if (failure !== undefined) throw toError(failure);
      yield toEntries(batch);
      signal.throwIfAborted();
      Atomics.add(taken, 0, 1);
      Atomics.notify(taken, 0);
      last = batch.last;
    }
  } finally {
    batches.stop();
    // Not waited for: a thread that hangs in the kernel ends when the kernel lets it.
    void worker.terminate();
  }
}

/** @throws SourceError where the system has no room for another thread */
function startWorker(workerData: WalkInit): Worker {
  // Beside this file, whether that is source, built, or bundled with the program.
  const script = new URL(`./walk-worker${extname(import.meta.url)}`, import.meta.url);
  try {
    return new Worker(script, {
      workerData,
      // None of the process's own, of which some are not for threads, except for what makes Node before 22.18 take sources.
      execArgv: process.execArgv.filter((argument) => argument === "--experimental-strip-types"),
    });
  } catch (error) {
    throw new SourceError(
      "unavailable",
      `the directory cannot be listed, as no thread can be started: ${(error as Error).message}`,
      { hint: "raise the limit of processes", cause: error },
    );
  }
}

/** What the worker sends, one by one. */
function receive(worker: Worker, idleTimeout: number, signal: AbortSignal) {
  const queue: (WalkBatch | WalkFailure | { readonly thrown: unknown })[] = [];
  let bell = Promise.withResolvers<void>();
  const ring = () => bell.resolve();
  const push = (message: (typeof queue)[number]) => {
    queue.push(message);
    ring();
  };
  worker.on("message", push);
  worker.on("error", (thrown) => push({ thrown }));
  signal.addEventListener("abort", ring);

  return {
    async next(): Promise<WalkBatch> {
      const timer = setTimeout(() => push({ thrown: noAnswer(idleTimeout) }), idleTimeout);
      for (; queue.length === 0 && !signal.aborted; bell = Promise.withResolvers()) {
        await bell.promise;
      }
      clearTimeout(timer);
      signal.throwIfAborted();
      const message = queue.shift() as (typeof queue)[number];
      if ("thrown" in message) throw message.thrown;
      if ("code" in message) throw toError(message);
      return message;
    },
    stop() {
      signal.removeEventListener("abort", ring);
    },
  };
}

function toEntries({ now, paths, facts, targets }: WalkBatch): readonly Entry[] {
  const entries: Entry[] = [];
  let links = 0;
  let from = 0;
  for (let at = 0; at < facts.length; at += 3) {
    const end = paths.indexOf("\0", from);
    const path = paths.slice(from, end);
    from = end + 1;
    const [size, mode, mtime] = [
      facts[at] as number,
      facts[at + 1] as number,
      facts[at + 2] as number,
    ];
    if ((mode & constants.S_IFMT) === constants.S_IFLNK) {
      entries.push({ kind: "symlink", path, target: targets[links++] as string, mtime });
    } else {
      const fingerprint = fingerprintOf({ size, mtimeMs: mtime }, now);
      entries.push({ kind: "file", path, size, mode: mode & 0o777, mtime, fingerprint });
    }
  }
  return entries;
}

function toError({ path, code, message }: WalkFailure): unknown {
  const name = quotePath(path);
  switch (code) {
    case "changed":
      return new SourceError("changed", `${name} ${message}`);
    case "kind":
      return new SourceError("invalid", `the file system does not tell what ${name} is`);
    case "name":
      return new SourceError(
        "invalid",
        `the name of ${name} is not UTF-8 (its bytes: ${message})`,
        {
          hint: "rename it, for example with convmv",
        },
      );
    case "target":
      return new SourceError(
        "invalid",
        `the target of the symlink ${name} is not UTF-8 (its bytes: ${message})`,
      );
    default:
      return translate(Object.assign(new Error(message), { code }), path);
  }
}
