/** A directory tree as entries, in the order of their paths' bytes, with memory for one directory per level. */
import { isUtf8 } from "node:buffer";
import { constants, lstatSync, readdirSync, readlinkSync, type Stats } from "node:fs";
import { lstat, readdir, readlink } from "node:fs/promises";
import { setImmediate as turn } from "node:timers/promises";
import { comparePaths, type Entry, quotePath, SourceError } from "@pannier/core";
import type { Calls } from "./calls.ts";
import { isMissing, translate } from "./errors.ts";
import { fingerprintOf } from "./fingerprint.ts";

/** Milliseconds of work in place after which others have their turn. */
const SLICE = 8;
/** Files looked at before the clock is. */
const CHUNK = 64;
/** Calls in the thread pool at once, which has 4 threads: one stays free for the rest of the process if a mount hangs. */
const LANES = 3;
const BATCH = 1000;

/** A directory on the way: its names, sorted, those of directories with a `/` at the end. */
interface Level {
  /** Relative to the root, with a `/` at the end; empty for the root. */
  readonly prefix: string;
  readonly names: readonly string[];
  next: number;
}

export interface Walk {
  /** Without symlinks, and without a `/` at the end. */
  readonly root: string;
  readonly calls: Calls;
  readonly signal: AbortSignal;
  /** Told of each FIFO, socket and device, which are left out. */
  readonly onSpecial: (path: string) => void;
}

/**
 * Lists all regular files and symlinks. Nothing is followed or opened.
 *
 * A tree that changes meanwhile is listed as each part was when it was looked at. What is deleted before that is left
 * out; a directory that becomes something else is `changed`. That the root is the same at the end is the caller's to check.
 */
export async function* walk(init: Walk): AsyncGenerator<readonly Entry[]> {
  const { signal } = init;
  const levels: Level[] = [await readLevel(init, "")];
  let batch: Entry[] = [];
  let began = performance.now();
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const from = level.next;
    while (level.next < from + CHUNK && level.names[level.next]?.endsWith("/") === false) {
      level.next++;
    }
    if (level.next > from) {
      const looking = lookAt(init, level.prefix, level.names.slice(from, level.next), batch);
      if (looking !== undefined) await looking;
    } else if (level.next < level.names.length) {
      const name = level.names[level.next++] as string;
      levels.push(await readLevel(init, level.prefix + name));
    } else levels.pop();

    if (performance.now() - began > SLICE) {
      await turn();
      signal.throwIfAborted();
      began = performance.now();
    }
    if (batch.length >= BATCH) {
      yield batch;
      batch = [];
    }
  }
  yield batch;
}

async function readLevel({ root, calls, signal }: Walk, prefix: string): Promise<Level> {
  const path = `${root}/${prefix}`;
  // Without the `/`, which would lead through a link.
  const self = path.slice(0, -1) || "/";
  const options = { withFileTypes: true } as const;
  try {
    const found = calls.fast
      ? calls.now(() => readdirSync(path, options))
      : await calls.later(() => readdir(path, options), signal);
    const stats = calls.fast
      ? calls.now(() => lstatSync(self))
      : await calls.later(() => lstat(self), signal);
    // A link by now: the names may be those of a directory anywhere.
    if (!stats.isDirectory()) throw replaced(prefix);
    const names = found.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name));
    if (names.some((name) => name.includes("\ufffd"))) {
      checkNames(await calls.later(() => readdir(path, "buffer"), signal), prefix);
    }
    return { prefix, names: sortNames(names), next: 0 };
  } catch (error) {
    // Another look tells a directory that was deleted, as one may be, from one that was replaced.
    if (isMissing(error) && prefix !== "") {
      const now = await calls.later(() => lstat(self).catch(() => undefined), signal);
      if (now === undefined) return { prefix, names: [], next: 0 };
      throw replaced(prefix);
    }
    throw translate(error, prefix);
  }
}

function replaced(path: string): SourceError {
  return new SourceError("changed", `${quotePath(path)} was replaced while it was listed`);
}

/** Names are passed on as text, and a name that is none would come out as another. */
function checkNames(names: readonly Buffer[], prefix: string): void {
  const bad = names.find((name) => !isUtf8(name));
  if (bad === undefined) return;
  throw new SourceError(
    "invalid",
    `the name of ${quotePath(prefix + bad.toString())} is not UTF-8 (its bytes: ${bad.toString("hex")})`,
    { hint: "rename it, for example with convmv" },
  );
}

/** JavaScript's own order is that of bytes unless a surrogate meets a character above U+E000. */
function sortNames(names: string[]): readonly string[] {
  return names.some((name) => /[\ud800-\uffff]/.test(name))
    ? names.toSorted(comparePaths)
    : names.toSorted();
}

/** Adds what the names stand for to the batch: at once where answers come from memory, else in parallel. */
function lookAt(
  init: Walk,
  prefix: string,
  names: readonly string[],
  batch: Entry[],
): Promise<void> | undefined {
  const { root, calls } = init;
  // Before the first look, so that a file that is written just now counts as such.
  const now = Date.now();
  for (const [index, name] of names.entries()) {
    if (!calls.fast) return lookLater(init, prefix, names.slice(index), batch);
    const path = prefix + name;
    const full = `${root}/${path}`;
    try {
      const stats = calls.now(() => lstatSync(full));
      const target = isSymlink(stats) ? readlinkSync(full) : undefined;
      if (target?.includes("\ufffd") === true) checkTarget(readlinkSync(full, "buffer"), path);
      addEntry(init, batch, path, stats, target, now);
    } catch (error) {
      if (!isMissing(error)) throw translate(error, path);
    }
  }
  return undefined;
}

async function lookLater(
  init: Walk,
  prefix: string,
  names: readonly string[],
  batch: Entry[],
): Promise<void> {
  const { root, calls, signal } = init;
  const now = Date.now();
  const found: (readonly [Stats, string | undefined] | undefined)[] = [];
  let next = 0;
  const lane = async () => {
    while (next < names.length) {
      const index = next++;
      const path = prefix + (names[index] as string);
      const full = `${root}/${path}`;
      try {
        const stats = await calls.later(() => lstat(full), signal);
        let target: string | undefined;
        if (isSymlink(stats)) {
          const bytes = await calls.later(() => readlink(full, "buffer"), signal);
          checkTarget(bytes, path);
          target = bytes.toString();
        }
        found[index] = [stats, target];
      } catch (error) {
        if (!isMissing(error)) throw translate(error, path);
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  for (const [index, name] of names.entries()) {
    const looked = found[index];
    if (looked !== undefined) addEntry(init, batch, prefix + name, ...looked, now);
  }
}

function checkTarget(target: Buffer, path: string): void {
  if (isUtf8(target)) return;
  throw new SourceError(
    "invalid",
    `the target of the symlink ${quotePath(path)} is not UTF-8 (its bytes: ${target.toString("hex")})`,
  );
}

function isSymlink({ mode }: Stats): boolean {
  return (mode & constants.S_IFMT) === constants.S_IFLNK;
}

function addEntry(
  { onSpecial }: Walk,
  batch: Entry[],
  path: string,
  stats: Stats,
  target: string | undefined,
  now: number,
): void {
  const { mode, size, mtimeMs: mtime } = stats;
  if (target !== undefined) batch.push({ kind: "symlink", path, target, mtime });
  else if ((mode & constants.S_IFMT) === constants.S_IFREG) {
    const fingerprint = fingerprintOf(stats, now);
    batch.push({ kind: "file", path, size, mode: mode & 0o777, mtime, fingerprint });
  } else if ((mode & constants.S_IFMT) === constants.S_IFDIR) {
    // Not one when its name was read. In its place among the files its content would be out of order.
    throw replaced(path);
  } else onSpecial(path);
}
