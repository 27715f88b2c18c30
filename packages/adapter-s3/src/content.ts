/** Whether an answer is the version of an object that was listed. */
import type { ByteRange, FileEntry } from "@pannier/core/adapter";
import type { HttpResponse } from "@pannier/http-client";
import { isTimeFingerprint, rangeMismatch, versionMismatch } from "@pannier/http-client/lane";

export interface Version extends Pick<FileEntry, "size" | "mtime" | "fingerprint"> {
  readonly key: string;
  /** To read by, instead of the ETag. */
  readonly versionId: string | undefined;
}

/**
 * Why an answer is not what was asked for; `undefined` if it is. Servers and proxies ignore what they do not know.
 *
 * @param listedAt by the server's clock
 */
export function whyNot(
  response: Pick<HttpResponse, "status" | "headers">,
  { size, mtime, fingerprint, versionId }: Version,
  range: ByteRange | undefined,
  listedAt: number,
): string | undefined {
  const served = versionId === undefined ? undefined : response.headers["x-amz-version-id"];
  if (served !== undefined && served !== versionId) return "the object changed since it was listed";
  // What a version id names cannot be another.
  const pinned = served !== undefined && served !== "null";
  const listed = { etag: isTimeFingerprint(fingerprint) ? undefined : fingerprint, mtime };
  const other = pinned ? undefined : versionMismatch(response, listed, listedAt);
  return other ?? rangeMismatch(response, size, range);
}
