/** A copy of a published file where only its permissions or owner are to differ. */
import { chmodSync, constants, copyFileSync, lchownSync, lstatSync, utimesSync } from "node:fs";
import type { PublishedRow } from "../snapshot/row.ts";
import { toNodeTime } from "../transfer/output.ts";
import type { TreeSettings } from "./tree.ts";

export function copyPublished(
  published: PublishedRow,
  from: string,
  to: string,
  mode: number | null,
  owner: TreeSettings["owner"],
): {
  readonly size: number;
  readonly sha256: string | null;
  readonly ino: number;
  readonly disk_mtime: number;
} {
  copyFileSync(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  if (owner !== undefined) lchownSync(to, owner.uid, owner.gid);
  chmodSync(to, mode ?? 0o644);
  utimesSync(to, new Date(), toNodeTime(published.disk_mtime ?? Date.now()));
  const { size, ino, mtimeMs } = lstatSync(to);
  return { size, sha256: published.sha256, ino, disk_mtime: mtimeMs };
}
