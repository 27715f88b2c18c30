/** Removing whole trees, in which others may be at work. */
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fstatSync,
  lstatSync,
  opendirSync,
  openSync,
  renameSync,
  rmdirSync,
  unlinkSync,
} from "node:fs";
import type { Pause } from "../timing/slices.ts";
import { trySetMode } from "./modes.ts";

/** Without procfs (macOS) paths are checked segment by segment when a directory is opened, which leaves a moment to race for. */
export const PROC = existsSync("/proc/self/fd");

export const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** Linux's O_PATH, which Node does not name: it takes no permission to read the directory. */
export const HOLD = PROC ? 0o10000000 | constants.O_DIRECTORY : constants.O_DIRECTORY;

/** Names read, and files removed, in one go. */
const BATCH = 1000;

/**
 * Removes whatever is at a path; nothing there is as good. Each directory is opened without following symlinks and emptied through
 * the open directory: who replaces a directory by a symlink meanwhile does not lead us out of the tree, as they would
 * lead `rm -r` by path (CVE-2022-21658). Names are bytes, since those of others need not be Unicode.
 */
export async function removeTree(path: string | Buffer, pause: Pause): Promise<void> {
  for (const _ of removal(Buffer.from(path))) await pause();
}

/** The same in one go: for what others put into a tree of ours. */
export function removeTreeAtOnce(path: string | Buffer): void {
  for (const _ of removal(Buffer.from(path)));
}

/** Yields after each file. */
function* removal(place: Buffer): Generator<void> {
  for (let tries = 0; ; tries++) {
    if (isGone(() => unlinkSync(place))) return;
    try {
      yield* emptyDirectory(place);
      rmdirSync(place);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT") return;
      // Somebody is at work in it, or has replaced it.
      if (!["ENOTEMPTY", "ENOTDIR", "ELOOP"].includes(code ?? "") || tries === 10) throw error;
    }
  }
}

/** @returns false where it is a directory */
function isGone(unlink: () => void): boolean {
  try {
    unlink();
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return true;
    if (code === "EISDIR" || code === "EPERM") return false;
    throw error;
  }
}

function* emptyDirectory(directory: Buffer): Generator<void> {
  const fd = openOwn(directory);
  try {
    const inside = PROC ? Buffer.from(`/proc/self/fd/${fd}`) : directory;
    try {
      yield* removeContent(inside);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EACCES") throw error;
      // A directory that even its owner may not write to.
      fchmodSync(fd, 0o700);
      yield* removeContent(inside);
    }
  } finally {
    closeSync(fd);
  }
}

function* removeContent(directory: Buffer): Generator<void> {
  for (let removed = BATCH; removed >= BATCH;) {
    removed = 0;
    // Latin-1 has one character for each byte.
    const listing = opendirSync(directory, { encoding: "latin1", bufferSize: BATCH });
    try {
      for (let entry = listing.readSync(); entry !== null; entry = listing.readSync()) {
        yield* removal(Buffer.concat([directory, Buffer.from(`/${entry.name}`, "latin1")]));
        removed++;
        yield;
      }
    } finally {
      listing.closeSync();
    }
    // A file system may leave out names while others are removed: until there is little left.
  }
}

/** What an owner needs to change what is in a directory. */
export const WRITABLE = 0o300;

/** Whether even the owner of a directory of this mode may change nothing in it. */
export function isReadOnly(mode: number): boolean {
  return (mode & WRITABLE) !== WRITABLE;
}

/** Moves a tree to another directory, which takes a root that its owner may write to (rename(2)). */
export function moveTree(from: string, to: string): void {
  changeMode(from, (mode) => mode | WRITABLE);
  renameSync(from, to);
}

/** Opens a directory of ours, also one from which somebody has taken our own permissions. */
export function openOwn(directory: string | Buffer): number {
  try {
    return openSync(directory, DIRECTORY);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EACCES") throw error;
    changeMode(directory, (mode) => mode | 0o700);
    return openSync(directory, DIRECTORY);
  }
}

/** Sets the mode of a directory, never of what a link leads to, and whatever it is. @returns whether it was another */
export function changeMode(directory: string | Buffer, change: (mode: number) => number): boolean {
  const fd = openSync(directory, HOLD | constants.O_NOFOLLOW);
  try {
    const before = fstatSync(fd).mode & 0o7777;
    const mode = change(before);
    if (mode === before) return false;
    const place = PROC ? `/proc/self/fd/${fd}` : undefined;
    // A descriptor that takes no permission does not give any either: it is gone through.
    trySetMode(() => (place === undefined ? fchmodSync(fd, mode) : chmodSync(place, mode)));
    return true;
  } finally {
    closeSync(fd);
  }
}

/** Whether a path is a directory itself, not a link to one. */
export function isDirectory(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
