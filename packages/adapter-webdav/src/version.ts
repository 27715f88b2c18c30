/** What tells two versions of a file apart, and how a server is asked for exactly one of them. */
import type { Pin } from "@pannier/http-client";

export interface Facts {
  readonly size: number | undefined;
  /** Milliseconds, of whole seconds. */
  readonly mtime: number | undefined;
  readonly etag: string | undefined;
}

/** A file without an ETag that changes twice within one second looks the same: it is marked, and read once more by the next sync. The second more is for clocks that differ a little. */
const TICK = 2000;

/** @param now milliseconds, no later than the moment the file was looked at */
export function fingerprintOf({ size, mtime, etag }: Facts, now: number): string {
  if (etag !== undefined) return `etag ${etag}`;
  return `${size ?? ""}-${mtime ?? ""}${mtime !== undefined && mtime > now - TICK ? "~" : ""}`;
}

/** For `readPinned`: the ETag, else the date. */
export function pinOf(fingerprint: string): Pin | undefined {
  if (fingerprint.startsWith("etag ")) return fingerprint;
  const mtime = /-(\d+)~?$/.exec(fingerprint)?.[1];
  return mtime === undefined ? undefined : `modified ${new Date(Number(mtime)).toUTCString()}`;
}
