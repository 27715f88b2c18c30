/** Room on the volume: looked at before it is needed, and given back when it runs out all the same. */
import { statfsSync } from "node:fs";
import { NoRoomError, saysFull } from "../errors.ts";
import { planSize } from "../state/plan.ts";
import type { Pause } from "../timing/slices.ts";
import type { State } from "../state/state.ts";

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

/**
 * What a row of a plan takes on the volume at worst, beside its path: as a row of the plan and as an entry, each of them in the journal
 * and in the state itself.
 */
const ROW = 600;

/** @throws NoRoomError before a plan is kept whose state the volume cannot hold: once there, it could not be removed from a full volume */
export async function checkStateRoom(state: State, directory: string, pause: Pause): Promise<void> {
  const { rows, bytes } = await planSize(state, pause);
  const needed = rows * ROW + bytes;
  const { bavail, bsize } = statfsSync(directory);
  if (needed < RESERVE || needed < bavail * bsize) return;
  throw new NoRoomError(
    `keeping the state of ${rows} changes takes up to ${needed} bytes and the volume has ${bavail * bsize} free`,
    { hint: "make the volume larger, or exclude files" },
  );
}

/** Recognises a full volume in what the file system or SQLite threw. */
export function asNoRoom(error: unknown): NoRoomError | undefined {
  if (error instanceof NoRoomError) return error;
  const { code, errcode } = error as { code?: string; errcode?: number };
  // SQLITE_FULL, and the I/O errors it becomes when a journal or its index cannot grow (https://www.sqlite.org/rescode.html).
  const full =
    saysFull(error) !== undefined ||
    (code === "ERR_SQLITE_ERROR" && (errcode === 13 || errcode === 778 || errcode === 4874));
  return full
    ? new NoRoomError("the volume is full", {
        cause: error,
        hint: "make it larger, keep fewer trees (--keep), or exclude files",
      })
    : undefined;
}
