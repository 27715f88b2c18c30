/** A copy of a published file where only its permissions or owner are to differ. */
import {
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  futimesSync,
  openSync,
  readSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { copyFile } from "node:fs/promises";
import { makePause } from "../timing/slices.ts";
import type { PublishedRow } from "../state/row.ts";
import { toNodeTime } from "../transfer/output.ts";
import { isRecorded } from "./recorded.ts";
import { trySetMode } from "./modes.ts";
import { PROC } from "./remove.ts";
import type { Tree } from "./tree.ts";
import type { TreeSettings } from "./tree-settings.ts";

/** How the copy stands on the volume. */
export interface CopiedFile {
  readonly size: number;
  readonly sha256: string | null;
  readonly ino: number;
  readonly disk_mtime: number;
}

/**
 * @param to where nothing is yet
 * @returns `undefined`, and nothing done, where the published file is not what was published any more
 */
export async function copyPublished(
  published: Tree,
  row: PublishedRow,
  to: string,
  mode: number | null,
  owner: TreeSettings["owner"],
): Promise<CopiedFile | undefined> {
  const from = openRecorded(published, row);
  if (from === undefined) return undefined;
  try {
    return await copyOpened(from, row, to, mode ?? 0o644, owner);
  } finally {
    closeSync(from);
  }
}

/** The published file open, so that what was looked at is what is copied: never what a link leads to. */
function openRecorded(published: Tree, row: PublishedRow): number | undefined {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  let fd: number;
  try {
    const place = published.at(row.path, false);
    try {
      fd = openSync(place.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    } finally {
      place.release();
    }
  } catch {
    return undefined;
  }
  if (isRecorded(fstatSync(fd), row)) return fd;
  closeSync(fd);
  return undefined;
}

async function copyOpened(
  from: number,
  row: PublishedRow,
  to: string,
  mode: number,
  owner: TreeSettings["owner"],
): Promise<CopiedFile> {
  const { O_CREAT, O_EXCL, O_RDWR, O_NOFOLLOW } = constants;
  const copy = openSync(to, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW, 0o600);
  try {
    // First: copying hands on the mode, and whatever bits somebody set on the old file must not be set on one of ours.
    if (owner !== undefined) fchownSync(copy, owner.uid, owner.gid);
    await copyContent(from, copy, row.size ?? 0);
    futimesSync(copy, new Date(), toNodeTime(row.disk_mtime ?? Date.now()));
    trySetMode(() => fchmodSync(copy, mode));
    const { size, ino, mtimeMs } = fstatSync(copy);
    return { size, sha256: row.sha256, ino, disk_mtime: mtimeMs };
  } catch (error) {
    unlinkSync(to);
    throw error;
  } finally {
    closeSync(copy);
  }
}

/** Bytes that are copied in some milliseconds: a thread of its own costs more. */
const SMALL = 4 * 2 ** 20;

async function copyContent(from: number, to: number, size: number): Promise<void> {
  if (PROC) {
    const paths = [`/proc/self/fd/${from}`, `/proc/self/fd/${to}`] as const;
    if (size <= SMALL) return copyFileSync(...paths, constants.COPYFILE_FICLONE);
    return copyFile(...paths, constants.COPYFILE_FICLONE);
  }
  const pause = makePause();
  const buffer = Buffer.allocUnsafe(1 << 20);
  for (let count = readSync(from, buffer); count > 0; count = readSync(from, buffer)) {
    writeFileSync(to, buffer.subarray(0, count));
    await pause();
  }
}
