/** What to ask for a file. Loaded by lanes, too: it imports nothing heavy. */
import type { FileEntry } from "@pannier/core/adapter";
import { ifMatch, isTimeFingerprint } from "@pannier/http-client/lane";

/** Bytes up to which content is taken for sent at once. */
export const AT_ONCE = 64 * 1024;

export function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

/** The condition "only if it is still the listed version". */
export function conditionsOf({ fingerprint, mtime }: FileEntry): Record<string, string> {
  const etag = etagOf(fingerprint);
  if (etag !== undefined) return ifMatch(etag);
  return mtime === undefined ? {} : { "if-unmodified-since": new Date(mtime).toUTCString() };
}

/** The ETag in a fingerprint. */
export function etagOf(fingerprint: string): string | undefined {
  return isTimeFingerprint(fingerprint) ? undefined : fingerprint.replace(/^etag /, "");
}
