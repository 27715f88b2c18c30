/** When lanes pay, and how many of them. */
import { availableParallelism } from "node:os";

/** Below both, the main thread is done before a thread has started: files, and bytes. */
const FILES = 100;
const BYTES = 16 * 2 ** 20;

/** Files for which another lane is started; starting one costs what some hundred files cost. */
const FILES_EACH = 500;

/** The same of bytes, in parts of large files. */
const BYTES_EACH = 256 * 2 ** 20;

/** Each takes some MiB of memory. */
const MAX_LANES = 4;

/**
 * Lanes for a sync of so many files: cores less one, which is the main thread's, but one at least; 0 where they do not pay.
 *
 * @param forced for tests: `always` or `never`
 */
export function howManyLanes(
  { files, bytes }: { readonly files: number; readonly bytes: number },
  forced: string | undefined = process.env["PANNIER_TEST_LANES"],
): number {
  if (forced === "always") return 2;
  if (forced === "never" || (files < FILES && bytes < BYTES)) return 0;
  return Math.max(
    1,
    Math.min(
      MAX_LANES,
      availableParallelism() - 1,
      Math.ceil(Math.max(files / FILES_EACH, bytes / BYTES_EACH)),
    ),
  );
}
