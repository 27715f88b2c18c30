/** Where the source really is, and whether it still is there: a mount that went away must not look like an empty directory. */
import type { Stats } from "node:fs";
import { lstat, readFile, realpath, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { quotePath, SourceError } from "@pannier/core/adapter";
import type { Calls } from "./calls.ts";
import { isMissing, translate } from "./errors.ts";

export interface Root {
  /** Without symlinks: the directory that is listed, or the one file. */
  readonly path: string;
  readonly isFile: boolean;
  readonly stats: Stats;
  /** True where something is mounted at the source's path itself. */
  readonly mounted: boolean;
}

export interface RootRules {
  readonly mountpoint: boolean;
  readonly required: string | undefined;
}

/**
 * Finds the root again. It may be a symlink; and where it holds a link `..data`, as a Kubernetes ConfigMap, Secret,
 * projected or downward API volume does, the directory behind that is the root: it has the files as they are meant, and
 * its switch makes all of an update visible at once.
 *
 * @param before the root that an earlier call found
 */
export async function findRoot(
  path: string,
  rules: RootRules,
  before: Root | undefined,
  calls: Calls,
  signal: AbortSignal,
): Promise<Root> {
  const ask = <Result>(call: () => Promise<Result>) => calls.later(call, signal);
  try {
    let real = await ask(() => realpath(path));
    const mounted = await ask(() => isMounted(real));
    if (rules.mountpoint && !mounted) throw gone("nothing is mounted at the source's path");
    if (before?.mounted === true && !mounted)
      throw gone("the source was a mount point and is not one now");
    if (rules.required !== undefined)
      await ask(() => checkRequired(real, rules.required as string));

    const data = join(real, "..data");
    const link = await ask(() => lstat(data).catch((error) => ignoreMissing(error)));
    if (link?.isSymbolicLink() === true) {
      const behind = await ask(() => realpath(data));
      if (dirname(behind) === real) real = behind;
    }
    const stats = await ask(() => stat(real));
    if (!stats.isDirectory() && !stats.isFile()) {
      throw new SourceError("unsupported", "the source is neither a directory nor a regular file");
    }
    return { path: real, isFile: stats.isFile(), stats, mounted };
  } catch (error) {
    if (isMissing(error) && before !== undefined) {
      throw new SourceError("unavailable", "the source's path is gone", {
        cause: error,
        hint: "if it was on a mount, see whether that is still there",
      });
    }
    throw translate(error, "");
  }
}

/** Whether two looks at a root found the same one. */
export function sameRoot(a: Root, b: Root): boolean {
  return (
    a.path === b.path &&
    a.stats.ino === b.stats.ino &&
    a.stats.dev === b.stats.dev &&
    a.mounted === b.mounted
  );
}

async function checkRequired(root: string, required: string): Promise<void> {
  const file = join(root, required);
  try {
    await stat(file);
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw gone(`the required file ${quotePath(required)} is not there`);
  }
}

function gone(message: string): SourceError {
  return new SourceError("unavailable", message, {
    hint: "see whether what should be mounted there is",
  });
}

async function isMounted(path: string): Promise<boolean> {
  const table = await readFile("/proc/self/mountinfo", "latin1").catch(() => undefined);
  if (table !== undefined) {
    // The fifth field, with blanks and the like as octal escapes: proc_pid_mountinfo(5).
    const field = Buffer.from(path)
      .toString("latin1")
      .replace(/[\t\n \\]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`);
    return table.split("\n").some((line) => line.split(" ", 5)[4] === field);
  }
  // Elsewhere than on Linux: another device than the directory above, which does not see bind mounts.
  const [here, above] = await Promise.all([stat(path), stat(dirname(path))]);
  return here.dev !== above.dev || path === dirname(path);
}

function ignoreMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}
