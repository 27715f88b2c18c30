/** Ends a listing that has no end. */
import type { Entry } from "../source/contract.ts";
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
  const most = Math.max(maxFiles, MAX_FILES);
  let count = 0;
  for await (const batch of batches) {
    count += batch.length;
    if (count > most) {
      throw new SourceError("invalid", `the source lists more than ${most} files, wanted or not`, {
        hint: "name a directory of it in the URL, or raise --max-files",
      });
    }
    yield batch;
  }
}
