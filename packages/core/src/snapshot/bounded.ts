/** Ends a listing that has no end. */
import type { Entry, Scope } from "../source/contract.ts";
import { SourceError } from "../source/errors.ts";

/**
 * Files of a tree unless more are allowed, and entries that a source may list at least, wanted or not. Twice the bucket that is
 * measured with, and far below what would fill a disk with the state.
 */
export const MAX_FILES = 2_000_000;

/**
 * The same entries, as many as are sensible. The tree's own limit counts what is wanted of a source, in order: a listing of which
 * nothing is wanted, or that has to be sorted first, would be followed for ever.
 *
 * @throws SourceError `invalid` behind them
 */
export async function* boundedEntries(
  batches: AsyncIterable<readonly Entry[]> | Iterable<readonly Entry[]>,
  maxFiles: number,
): AsyncGenerator<readonly Entry[]> {
  const count = makeCount(maxFiles);
  for await (const batch of batches) {
    count(batch.length);
    yield batch;
  }
}

/** The same scope, which ends a listing of which the source itself leaves out too much to ever end. */
export function boundedScope(scope: Scope, maxFiles: number): Scope {
  const count = makeCount(maxFiles);
  const counted = (wanted: boolean) => {
    if (!wanted) count(1);
    return wanted;
  };
  return {
    get filters() {
      return scope.filters;
    },
    wants: (path) => counted(scope.wants(path)),
    enters: (directory) => counted(scope.enters(directory)),
    ignoreFile: (entry) => scope.ignoreFile(entry),
  };
}

function makeCount(maxFiles: number): (more: number) => void {
  const most = Math.max(maxFiles, MAX_FILES);
  let count = 0;
  return (more) => {
    count += more;
    if (count <= most) return;
    throw new SourceError("invalid", `the source lists more than ${most} files, wanted or not`, {
      hint: "name a directory of it in the URL, or raise --max-files",
    });
  };
}
