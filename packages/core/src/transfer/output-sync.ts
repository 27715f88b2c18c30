/** A new file on the volume by plain calls, for threads of their own; see {@link import("./output.ts")}. */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  futimesSync,
  openSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { type Attributes, type DiskFacts, isWithoutModes, toNodeTime } from "./output.ts";

const { O_CREAT, O_EXCL, O_RDWR, O_NOFOLLOW } = constants;
const CREATE = O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW;

/** Creates the file, never following or replacing what is there. @throws EEXIST */
export function createNow(path: string, mode: number): number {
  return openSync(path, CREATE, mode & 0o777);
}

/** Writes all of `bytes` from `start` to `end` at `position`. */
export function writeNow(
  fd: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  position: number,
): void {
  for (let at = start; at < end;) at += writeSync(fd, bytes, at, end - at, position + at - start);
}

/** Gives a file that is written its owner, time and mode, and closes it. Where that fails nothing is left of it. */
export function finishNow(fd: number, path: string, attributes: Attributes): DiskFacts {
  let open = true;
  try {
    const facts = setAttributes(fd, attributes);
    // Also one that fails frees the number, and another thread may have it by then.
    open = false;
    // NFS tells only here that there was no room.
    closeSync(fd);
    return facts;
  } catch (error) {
    discardNow(path, open ? fd : undefined);
    throw error;
  }
}

function setAttributes(fd: number, { mode, mtime, owner }: Attributes): DiskFacts {
  if (owner !== undefined) fchownSync(fd, owner.uid, owner.gid);
  if (mtime !== undefined) {
    const time = toNodeTime(mtime);
    futimesSync(fd, time, time);
  }
  const stats = fstatSync(fd);
  // After a creation only where the umask took something away.
  if ((stats.mode & 0o7777) !== (mode & 0o777)) changeMode(fd, mode & 0o777);
  return { ino: stats.ino, mtime: stats.mtimeMs };
}

/** Creates a file with all of its content. Where that fails nothing is left of it. @throws EEXIST and others */
export function writeFileNow(
  path: string,
  bytes: Uint8Array,
  start: number,
  end: number,
  attributes: Attributes,
): DiskFacts {
  const fd = createNow(path, attributes.mode);
  try {
    writeNow(fd, bytes, start, end, 0);
  } catch (error) {
    discardNow(path, fd);
    throw error;
  }
  return finishNow(fd, path, attributes);
}

/** Closes and removes a file that did not become whole; that it is not there is as good. */
export function discardNow(path: string, fd: number | undefined): void {
  try {
    if (fd !== undefined) closeSync(fd);
  } catch {
    // Closed is what it was to be.
  }
  try {
    unlinkSync(path);
  } catch {
    // That it is not there is as good.
  }
}

function changeMode(fd: number, mode: number): void {
  try {
    fchmodSync(fd, mode);
  } catch (error) {
    if (!isWithoutModes(error)) throw error;
  }
}
