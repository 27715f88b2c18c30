/**
 * What tells two versions apart, where a listing and the answer to a GET may tell different things: servers list no ETag, an empty one,
 * one without quotes, or one that is not that of GET, and what stands between makes them weak or adds the coding.
 */
import type { HttpResponse } from "./response.ts";

/** A version as a listing tells of it. */
interface ListedVersion {
  /** As it stands there. */
  readonly etag?: string | undefined;
  /** Milliseconds since the epoch. */
  readonly mtime?: number | undefined;
}

/**
 * Milliseconds. HTTP tells times in seconds, so that a file that changes twice within one looks the same after the second time; the
 * other second is for clocks that differ a little.
 */
const TICK = 2000;

/** An entity tag that may be compared strongly (RFC 9110, 8.8.3). Empty ones are valid, too, and tell nothing. */
const STRONG = /^"[\x21\x23-\x7e\x80-\uffff]+"$/;

/** What is left of a tag in whatever form it came; `undefined` where it tells nothing. */
export function tagIn(etag: string | undefined): string | undefined {
  const tag = (etag ?? "")
    .trim()
    .replace(/^W\//, "")
    .replace(/^"(.*)"$/s, "$1")
    .replace(/[-;](?:gzip|br|deflate|zstd)$/, "");
  return tag === "" ? undefined : tag;
}

/** The condition "only if it is still that version"; none where the tag is not one that a server could compare. */
export function ifMatch(etag: string | undefined): Record<string, string> {
  return etag !== undefined && STRONG.test(etag) ? { "if-match": etag } : {};
}

/**
 * A fingerprint of size and time, for what has no ETag. Ends in `~` where the file was modified so shortly before `now` that it may
 * change again without showing: the next listing then has another one, and the file is read once more.
 *
 * @param now milliseconds, by the server's clock where that is known, no later than the moment the file was looked at
 */
export function timeFingerprint(size: number | undefined, mtime: number, now: number): string {
  return `time ${size ?? ""}-${mtime}${isFresh(mtime, now) ? "~" : ""}`;
}

/** Whether a file may change again without its date showing it. */
export function isFresh(mtime: number, now: number): boolean {
  return mtime > now - TICK;
}

/** Whether a fingerprint is one of {@link timeFingerprint}. */
export function isTimeFingerprint(fingerprint: string): boolean {
  return fingerprint.startsWith("time ");
}

/** The server's time when it answered; ours where it does not tell. */
export function serverTime({ headers }: Pick<HttpResponse, "headers">): number {
  const told = Date.parse(headers["date"] ?? "");
  return Number.isNaN(told) ? Date.now() : told;
}

/**
 * What names the version of an answer: its ETag, else its size and date. `undefined` where it tells neither: a constant would mean that
 * nothing ever changes.
 */
export function versionOf(response: Pick<HttpResponse, "headers">): string | undefined {
  const { headers } = response;
  const tag = tagIn(headers["etag"]);
  if (tag !== undefined) return tag;
  const modified = Date.parse(headers["last-modified"] ?? "");
  const size = Number(headers["content-length"] ?? 0);
  return Number.isNaN(modified) ? undefined : timeFingerprint(size, modified, serverTime(response));
}

/**
 * Why an answer is of another version than the one listed; `undefined` if it is that one. Equal tags say so. Where they differ, or one
 * is missing, the date decides, and the size, which the caller compares: a server whose tags are of two makers would otherwise never
 * send what it lists.
 *
 * @param listedAt when it was listed, as {@link serverTime} tells
 */
export function versionMismatch(
  { headers }: Pick<HttpResponse, "headers">,
  { etag, mtime }: ListedVersion,
  listedAt: number,
): string | undefined {
  // As almost all are, and as nothing has to be made of them.
  if (etag !== undefined && etag !== "" && headers["etag"] === `"${etag}"`) return undefined;
  const wanted = tagIn(etag);
  const served = tagIn(headers["etag"]);
  if (wanted !== undefined && wanted === served) return undefined;
  const modified = Date.parse(headers["last-modified"] ?? "");
  const dated = !Number.isNaN(modified) && mtime !== undefined;
  if (!dated) {
    const unknown = wanted === undefined && mtime === undefined;
    return unknown ? undefined : "its version is unknown: there is no ETag and no date to compare";
  }
  if (Math.floor(modified / 1000) !== Math.floor(mtime / 1000)) return CHANGED;
  // Another content within the same second would look the same.
  return wanted !== undefined && mtime > listedAt - TICK ? CHANGED : undefined;
}

const CHANGED = "it changed since it was listed";
