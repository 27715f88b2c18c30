/** Whether what is on the volume is what was written there. */
import { readlinkSync, type Stats } from "node:fs";
import { FILE, type PublishedRow, SYMLINK } from "../state/row.ts";
import type { Tree } from "./tree.ts";

type RecordedFile = Pick<PublishedRow, "size" | "ino" | "disk_mtime">;

export type RecordedRow = RecordedFile &
  Pick<PublishedRow, "path" | "kind" | "mode" | "fingerprint">;

/**
 * Whether the file on the volume is the very one that was written, or the symlink one like it: links are recreated from tree to tree.
 *
 * @param modes whether the file system keeps them
 */
export function isAsRecorded(tree: Tree, row: RecordedRow, modes: boolean): boolean {
  const stats = tree.stat(row.path);
  return stats !== undefined && isEntryRecorded(tree, stats, row, modes);
}

export function isEntryRecorded(
  tree: Tree,
  stats: Stats,
  row: RecordedRow,
  modes: boolean,
): boolean {
  if (row.kind === FILE)
    return isRecorded(stats, row) && (!modes || (stats.mode & 0o7777) === row.mode);
  return (
    row.kind === SYMLINK && stats.isSymbolicLink() && linkText(tree, row.path) === row.fingerprint
  );
}

function linkText(tree: Tree, path: string): string {
  const place = tree.at(path, false);
  try {
    return readlinkSync(place.path);
  } finally {
    place.release();
  }
}

/** Whether this is the very file that was written, whatever its permissions are. */
export function isRecorded(stats: Stats, row: RecordedFile): boolean {
  return (
    stats.isFile() &&
    stats.ino === row.ino &&
    stats.size === row.size &&
    stats.mtimeMs === row.disk_mtime
  );
}
