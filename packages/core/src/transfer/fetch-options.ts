/** What fetching a file takes and gives, and the checks that every way of fetching shares. */
import { quotePath } from "../source/path.ts";
import type { FileEntry, Limits, Source } from "../source/contract.ts";
import { SourceError } from "../source/errors.ts";
import type { Bandwidth } from "./bandwidth.ts";
import type { Limiter } from "./limiter.ts";
import type { Lanes } from "../lane/lanes.ts";
import type { Attributes, DiskFacts } from "./output.ts";
import type { RangeHashes } from "./range-hash.ts";
import type { SmallFiles } from "./small-files.ts";
import type { UnlistedRoom } from "./unlisted-room.ts";

export interface FetchOptions extends Attributes {
  readonly source: Source;
  readonly entry: FileEntry;
  /** Absolute path of the file to create (may lead through `/proc/self/fd`). Must not exist. */
  readonly destination: string;
  readonly limits: Pick<Limits, "maxFileBytes">;
  /** For the bytes of a file whose size is not listed. They stay taken once it is there. */
  readonly unlisted?: Pick<UnlistedRoom, "take" | "giveBack"> | undefined;
  /** Milliseconds without a byte after which a read is given up. */
  readonly idleTimeout: number;
  /** Tries in all of one request. */
  readonly attempts: number;
  /** Gives each request its turn; the caller must not hold one. */
  readonly limiter: Limiter;
  /** Shared by all files of one sync. */
  readonly smallFiles: Pick<SmallFiles, "write">;
  /** Shared as well. */
  readonly rangeHashes: Pick<RangeHashes, "open">;
  /** Threads that fetch parts of large files; what they leave is read here. */
  readonly lanes?: Pick<Lanes, "part"> | undefined;
  readonly bandwidth?: Bandwidth | undefined;
  /** Told of bytes as they come, those of repeated tries included. */
  readonly onBytes?: ((count: number) => void) | undefined;
  /** As in {@link RetryOptions.onRetry}. */
  readonly onRetry?: ((error: SourceError, attempt: number, delay: number) => void) | undefined;
  readonly signal: AbortSignal;
}

/** A file that was fetched. */
export interface FetchedFile extends DiskFacts {
  readonly size: number;
  /** Of the content, in hex. */
  readonly sha256: string;
}

/** Refuses a file of `size` bytes, or one that has come so far. */
export function checkLimit({ entry, limits }: FetchOptions, size: number): void {
  if (size <= limits.maxFileBytes) return;
  throw new SourceError(
    "invalid",
    `${quotePath(entry.path)} has more than the ${limits.maxFileBytes} bytes allowed for one file`,
    { hint: "raise --max-file-bytes, or exclude it" },
  );
}
