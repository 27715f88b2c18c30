/** What tells two versions of a file apart. */
import { SourceError, quotePath } from "@pannier/core/adapter";
import { tagIn, timeFingerprint } from "@pannier/http-client";

export interface Facts {
  readonly size: number | undefined;
  /** Milliseconds, of whole seconds. */
  readonly mtime: number | undefined;
  /** As it is listed. */
  readonly etag: string | undefined;
}

/**
 * @param now milliseconds, by the server's clock, no later than the moment the file was looked at
 * @throws SourceError `unsupported` where nothing but the size tells two versions apart
 */
export function fingerprintOf({ size, mtime, etag }: Facts, path: string, now: number): string {
  if (tagIn(etag) !== undefined) return `etag ${etag}`;
  if (mtime !== undefined) return timeFingerprint(size, mtime, now);
  throw new SourceError(
    "unsupported",
    `the server sends neither an ETag nor a date of ${quotePath(path)}`,
    {
      hint: "a change of it would go unnoticed; leave it out with --exclude, or let the server tell one of them",
    },
  );
}
