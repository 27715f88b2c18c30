/** What the file system and SQLite say of a target, in words. */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { STATE_SUFFIXES } from "../state/state.ts";
import { TargetError } from "../errors.ts";
import { layoutOf, randomName } from "./layout.ts";
import { DIRECTORY, PROC } from "./remove.ts";
import { asNoRoom } from "./room.ts";
import { removeFile } from "./files.ts";

/** Not those of sockets, which have system calls as well. */
const FILE_SYSTEM_CODES = new Set(
  "EACCES EPERM EROFS EIO ESTALE ENOENT ENOTDIR EISDIR ELOOP ENOTEMPTY EEXIST EXDEV EMLINK EBUSY EMFILE ENFILE ENOMEM ENXIO ENODEV".split(
    " ",
  ),
);

function isNotAllowed(error: unknown): boolean {
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  return ["EACCES", "EPERM", "EROFS"].includes(code ?? "");
}

/** What the file system said while we were at work on the target, in words. Everything else is passed on. */
export function toTargetError(error: unknown, target: string): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === "ERR_SQLITE_ERROR") return sqliteToTargetError(error as Error, target);
  if (code === undefined || syscall === undefined || !FILE_SYSTEM_CODES.has(code)) return error;
  const permission = isNotAllowed(error);
  return new TargetError(`the target ${target} cannot be worked on: ${syscall} failed (${code})`, {
    cause: error,
    permission,
    hint: permission
      ? "let Pannier's user write to it and to all that is in it"
      : "another process may be changing it; what was published before stays, and the next sync tries again",
  });
}

/** SQLite tells that the file system said no, and not what: the state is asked about. A fault in what SQLite was asked is passed on. */
function sqliteToTargetError(error: Error, target: string): Error {
  const { errcode = 0 } = error as { errcode?: number };
  // SQLITE_PERM, _BUSY, _LOCKED, _NOMEM, _READONLY, _IOERR, _CANTOPEN.
  if (![3, 5, 6, 7, 8, 10, 14].includes(errcode & 0xff)) return error;
  const why = findWriteError(layoutOf(target).home);
  const full = why === undefined ? undefined : asNoRoom(why);
  if (full !== undefined) return full;
  const permission = (errcode & 0xff) === 8 || (errcode & 0xff) === 3 || isNotAllowed(why);
  return new TargetError(
    `the state in the target ${target} cannot be read or written: ${error.message}${why === undefined ? "" : ` (${why.code ?? why.message})`}`,
    {
      cause: error,
      permission,
      hint: permission
        ? "let Pannier's user write to the target and to all that is in it"
        : "check the volume; what was published before stays, and the next sync tries again",
    },
  );
}

/**
 * What keeps us from writing where SQLite does. Tried with a file of our own: to open and close one of SQLite's would end the locks that it
 * holds on it (https://www.sqlite.org/howtocorrupt.html).
 */
function findWriteError(home: string): NodeJS.ErrnoException | undefined {
  try {
    const held = openSync(home, DIRECTORY);
    try {
      tryToWrite(PROC ? `/proc/self/fd/${held}` : home);
    } finally {
      closeSync(held);
    }
    return undefined;
  } catch (error) {
    return error as NodeJS.ErrnoException;
  }
}

function tryToWrite(home: string): void {
  const files = ["lock", ...STATE_SUFFIXES.map((suffix) => `state.db${suffix}`)];
  for (const path of [home, ...files.map((name) => join(home, name))])
    if (existsSync(path)) accessSync(path, constants.R_OK | constants.W_OK);
  const probe = join(home, randomName("probe"));
  const fd = openSync(probe, "wx", 0o600);
  try {
    writeSync(fd, Buffer.alloc(4096));
    ftruncateSync(fd, 0);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
    removeFile(probe);
  }
}

/** File system errors on the target, in words. */
export function openingError(error: unknown, target: string): Error {
  const { code } = error as NodeJS.ErrnoException;
  if (error instanceof TargetError) return error;
  if (code === "EEXIST" || code === "ENOTDIR")
    return new TargetError(`the target ${target} is a file, or runs through one`, {
      cause: error,
      hint: "choose a directory, or move the file away",
    });
  if (code === "EROFS")
    return new TargetError(`the target ${target} is on a read-only file system`, {
      cause: error,
      permission: true,
      hint: "mount it writable, or choose another target",
    });
  if (code === "EACCES" || code === "EPERM")
    return new TargetError(`no permission to write to the target ${target}`, {
      cause: error,
      permission: true,
      hint: "change its owner or mode (in Kubernetes: fsGroup), or choose another target",
    });
  return asNoRoom(error) ?? (toTargetError(error, target) as Error);
}
