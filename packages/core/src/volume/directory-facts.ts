import { lstatSync, type Stats } from "node:fs";
import { join } from "node:path";
import { isMissing } from "./open-directories.ts";
import type { Tree } from "./tree.ts";

/**
 * Inode and time of a directory of a tree, by which meddling is noticed. By its plain path, which is quick: where a link was put
 * into that path, the directory it was put into has changed, and is looked at too.
 */
export function directoryFacts(
  tree: Tree,
  directory: string,
): { readonly ino: number; readonly ctime: number } | undefined {
  const stats = lookAt(join(tree.root, directory));
  if (stats?.isDirectory() !== true) return undefined;
  // Renaming a tree changes the root's own ctime, so for the root it is the time of its content.
  return { ino: stats.ino, ctime: directory === "" ? stats.mtimeMs : stats.ctimeMs };
}

function lookAt(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}
