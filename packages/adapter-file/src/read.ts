/** The content of a file, as long as it is the version that was listed. */
import {
  close,
  closeSync,
  fstat,
  fstatSync,
  open,
  openSync,
  read,
  readlink,
  readlinkSync,
  readSync,
  type Stats,
} from "node:fs";
import { lstat, realpath } from "node:fs/promises";
import { promisify } from "node:util";
import {
  type Body,
  type ByteRange,
  type FileEntry,
  quotePath,
  SourceError,
} from "@pannier/core/adapter";
import type { Calls } from "./calls.ts";
import { translate } from "./errors.ts";
import { matches } from "./fingerprint.ts";
import { FLAGS, fullPath, type SourceRoot } from "./local-path.ts";

/** Up to this size a file comes in one piece. */
const WHOLE = 256 * 1024;
const CHUNK = 512 * 1024;

const later = {
  open: promisify(open),
  close: promisify(close),
  fstat: promisify(fstat),
  read: promisify(read),
  readlink: promisify(readlink),
};

export interface Reading extends SourceRoot {
  readonly calls: Calls;
  /** What is open, for {@link closeFiles}. */
  readonly open: Set<OpenFile>;
}

interface OpenFile {
  readonly entry: FileEntry;
  readonly path: string;
  readonly signal: AbortSignal;
  readonly reading: Reading;
  fd: number;
  /** A call is under way that must not lose its descriptor to another file. */
  busy: boolean;
}

/** Opens an entry and delivers it, or a part. */
export async function readEntry(
  reading: Reading,
  entry: FileEntry,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Body> {
  const { calls } = reading;
  const path = fullPath(reading, entry.path);
  const file: OpenFile = { entry, path, signal, reading, fd: -1, busy: true };
  try {
    signal.throwIfAborted();
    file.fd = calls.fast
      ? calls.now(() => openSync(path, FLAGS))
      : await calls.later(() => later.open(path, FLAGS), signal, closeSync);
    reading.open.add(file);
    const stats = await checkVersion(file);
    await checkPlace(file, stats);
    const from = Math.min(range?.offset ?? 0, stats.size);
    const to = Math.min(from + (range?.length ?? Infinity), stats.size);
    if (to - from > WHOLE) {
      file.busy = false;
      return stream(file, from, to);
    }
    const whole = await readPart(file, from, to - from);
    await release(file);
    return whole;
  } catch (error) {
    await release(file);
    throw failure(error, entry);
  }
}

/** Closes what nobody is reading from at this moment; the rest closes itself when that is done. */
export async function closeFiles(files: Set<OpenFile>): Promise<void> {
  const idle = [...files].filter(({ busy }) => !busy);
  files.clear();
  await Promise.all(idle.map(release));
}

/** Not a generator: one that was never started does not run its `finally`, and the descriptor would stay open. */
function stream(file: OpenFile, from: number, to: number): AsyncIterable<Uint8Array> {
  let at = from;
  const iterator: AsyncIterator<Uint8Array> = {
    async next() {
      file.busy = true;
      try {
        file.signal.throwIfAborted();
        if (at < to && file.reading.open.has(file)) {
          const value = await readPart(file, at, Math.min(CHUNK, to - at));
          at += value.length;
          if (file.reading.open.has(file)) return { done: false, value };
        }
        if (at < to) throw new SourceError("unavailable", "the source was closed");
        await release(file);
        return { done: true, value: undefined };
      } catch (error) {
        await release(file);
        throw failure(error, file.entry);
      } finally {
        file.busy = false;
      }
    },
    async return() {
      await release(file);
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

/** Reads some bytes and sees that they still are the version's. */
async function readPart(file: OpenFile, from: number, length: number): Promise<Buffer> {
  const { calls } = file.reading;
  const buffer = Buffer.allocUnsafe(length);
  for (let got = 0; got < length;) {
    const rest: [Buffer, number, number, number] = [buffer, got, length - got, from + got];
    // A large piece would hold up others even from memory.
    const count =
      calls.fast && length <= WHOLE
        ? calls.now(() => readSync(file.fd, ...rest))
        : (await calls.later(() => later.read(file.fd, ...rest), file.signal)).bytesRead;
    if (count === 0) throw changed(file.entry);
    got += count;
  }
  await checkVersion(file);
  return buffer;
}

async function checkVersion({ reading: { calls }, fd, entry, signal }: OpenFile): Promise<Stats> {
  const stats = calls.fast
    ? calls.now(() => fstatSync(fd))
    : await calls.later(() => later.fstat(fd), signal);
  checkStats(stats, entry);
  return stats;
}

function checkStats(stats: Stats, entry: FileEntry): void {
  if (!stats.isFile() || !matches(entry.fingerprint, stats)) throw changed(entry);
}

/** O_NOFOLLOW is about the last name only: a directory on the way may have become a link that leads elsewhere. */
async function checkPlace(file: OpenFile, { dev, ino }: Stats): Promise<void> {
  const { path, fd, signal, reading } = file;
  const { calls } = reading;
  const self = `/proc/self/fd/${fd}`;
  const place = calls.fast
    ? calls.now(() => placeNow(self))
    : await calls.later(() => later.readlink(self), signal).catch(() => undefined);
  if (place === path) return;
  // Elsewhere than on Linux, or where its /proc is incomplete.
  const real = await calls.later(() => realpath(path), signal);
  const now = await calls.later(() => lstat(path), signal);
  if (real !== path || now.dev !== dev || now.ino !== ino) throw changed(file.entry);
}

function placeNow(self: string): string | undefined {
  try {
    return readlinkSync(self);
  } catch {
    return undefined;
  }
}

/** As {@link readEntry} checks, for a copy that was made by path. */
export async function checkCopied(reading: Reading, entry: FileEntry): Promise<void> {
  const signal = new AbortController().signal;
  const path = fullPath(reading, entry.path);
  try {
    const stats = await reading.calls.later(() => lstat(path), signal);
    checkStats(stats, entry);
    const place = await reading.calls.later(() => realpath(path), signal);
    if (place !== path) throw changed(entry);
  } catch (error) {
    throw failure(error, entry);
  }
}

async function release(file: OpenFile): Promise<void> {
  const { fd, reading } = file;
  if (fd === -1) return;
  file.fd = -1;
  reading.open.delete(file);
  if (reading.calls.fast) closeSync(fd);
  else await later.close(fd).catch(() => {});
}

function changed(entry: FileEntry): SourceError {
  return new SourceError("changed", `${quotePath(entry.path)} is not the version that was listed`);
}

function failure(error: unknown, entry: FileEntry): unknown {
  // O_NOFOLLOW met a link, or O_NONBLOCK a socket or a FIFO's like.
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (code === "ELOOP" || code === "ENXIO" || code === "EISDIR") return changed(entry);
  return translate(error, entry.path);
}
