/** What `fs` has as well, with the system's own errors. */
import { mkdirSync, statSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Removes a file or link, if it is there. Not by `rmSync`, whose errors have no code but where it knows them (EACCES; not EIO, EMFILE or
 * ESTALE; Node 26).
 */
export function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

/**
 * Makes a directory and those above it. Not by `recursive` of `mkdirSync`, which says ENOENT where it was EROFS, EDQUOT or EIO
 * (Node 26).
 */
export function makeDirectories(path: string, mode = 0o777): void {
  if (isDirectory(path)) return;
  const above = dirname(path);
  if (above !== path) makeDirectories(above, mode);
  try {
    mkdirSync(path, mode);
  } catch (error) {
    // Somebody else may just have made it.
    if (!isDirectory(path)) throw error;
  }
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
