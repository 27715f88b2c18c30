/** Whether an answer is the version of an object that was listed. */
import type { FileEntry } from "@pannier/core/adapter";
import type { HttpResponse } from "@pannier/http-client";
import { isTimeFingerprint, versionMismatch } from "@pannier/http-client/lane";

/**
 * Why an answer is of another version; `undefined` if it is not. Servers and proxies ignore what they do not know.
 *
 * @param versionId to read by, instead of the ETag
 * @param listedAt by the server's clock
 */
export function whyOtherVersion(
  response: Pick<HttpResponse, "headers">,
  { mtime, fingerprint }: FileEntry,
  versionId: string | undefined,
  listedAt: number,
): string | undefined {
  const served = versionId === undefined ? undefined : response.headers["x-amz-version-id"];
  if (served !== undefined && served !== versionId) return "the object changed since it was listed";
  // What a version id names cannot be another.
  if (served !== undefined && served !== "null") return undefined;
  const etag = isTimeFingerprint(fingerprint) ? undefined : fingerprint;
  return versionMismatch(response, { etag, mtime }, listedAt);
}
