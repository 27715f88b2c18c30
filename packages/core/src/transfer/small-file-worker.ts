/** The thread that writes small files, batch by batch, by plain calls; see {@link import("./small-files.ts")}. */
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
import { parentPort } from "node:worker_threads";
import type { Batch, BatchDone, BatchFile, Written } from "./small-files.ts";

const { O_CREAT, O_EXCL, O_RDWR, O_NOFOLLOW } = constants;
const CREATE = O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW;

parentPort?.on("message", ({ files, bytes }: Batch) => {
  const began = performance.now();
  const results = files.map((file) => write(file, bytes));
  const done: BatchDone = { results, spent: performance.now() - began };
  parentPort?.postMessage(done, []);
});

function write(file: BatchFile, bytes: Uint8Array): Written {
  let fd: number | undefined;
  try {
    fd = openSync(file.path, CREATE, file.mode);
    for (let at = file.start; at < file.end;) {
      at += writeSync(fd, bytes, at, file.end - at, at - file.start);
    }
    if (file.owner !== undefined) fchownSync(fd, file.owner.uid, file.owner.gid);
    if (file.time !== undefined) futimesSync(fd, file.time, file.time);
    const stats = fstatSync(fd);
    // After a creation only where the umask took something away.
    if ((stats.mode & 0o7777) !== file.mode) changeMode(fd, file.mode);
    closeSync(fd);
    return { ino: stats.ino, mtime: stats.mtimeMs };
  } catch (error) {
    if (fd !== undefined) {
      try {
        closeSync(fd);
      } catch {
        // Closed is what it was to be.
      }
      try {
        unlinkSync(file.path);
      } catch {
        // That it is not there is as good.
      }
    }
    const { message, code, errno } = error as NodeJS.ErrnoException;
    return { message, code, errno };
  }
}

function changeMode(fd: number, mode: number): void {
  try {
    fchmodSync(fd, mode);
  } catch (error) {
    if (!NO_MODES.has((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

/** The file is ours, so these tell of a file system without permission bits (vfat, a share), not of a lack of permission. */
const NO_MODES = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP"]);
