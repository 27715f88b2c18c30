/** Room on the volume: looked at before it is needed, and given back when it runs out all the same. */
import { statfsSync } from "node:fs";
import { NoRoomError } from "../errors.ts";

/** Left alone on every volume: what the state and directories need beside the content. */
const RESERVE = 1 << 20;

/** @throws NoRoomError when the volume cannot hold what is about to be fetched */
export function checkRoom(directory: string, bytes: number, files: number): void {
  const stats = statfsSync(directory);
  const free = stats.bavail * stats.bsize;
  // Each file takes whole blocks: half a block more than its size, on average.
  const needed = bytes + (files * stats.bsize) / 2;
  if (needed + RESERVE > free && bytes > 0) {
    throw new NoRoomError(
      `${Math.ceil(needed)} bytes are to be fetched and the volume has ${free} free`,
      { hint: "make the volume larger, keep fewer trees (--keep), or exclude files" },
    );
  }
  if (stats.files > 0 && files > stats.ffree) {
    throw new NoRoomError(
      `${files} files are to be fetched and the volume has ${stats.ffree} inodes free`,
      { hint: "make the volume larger, or exclude files" },
    );
  }
}

/** Recognises a full volume in what the file system or SQLite threw. */
export function asNoRoom(error: unknown): NoRoomError | undefined {
  if (error instanceof NoRoomError) return error;
  const { code, errcode } = error as { code?: string; errcode?: number };
  // SQLITE_FULL, and the I/O errors it becomes when a journal or its index cannot grow (https://www.sqlite.org/rescode.html).
  const full =
    code === "ENOSPC" ||
    code === "EDQUOT" ||
    (code === "ERR_SQLITE_ERROR" && (errcode === 13 || errcode === 778 || errcode === 4874));
  return full
    ? new NoRoomError("the volume is full", {
        cause: error,
        hint: "make it larger, keep fewer trees (--keep), or exclude files",
      })
    : undefined;
}
