/** What tells two versions of a file apart: size and modification time, which SMB tells in units of 100 ns. */
import type { Facts } from "./protocol.ts";

/**
 * What is behind a share may count in coarser steps than SMB does: of 2 seconds on a stick, or as long as a server holds an
 * update of the time back while a file is written. A file that was modified so shortly before it was looked at gets a mark
 * that the next listing does not give it, and is then read once more.
 */
const TICK = 2000;

/** @param now milliseconds, no later than the moment the file was looked at */
export function fingerprintOf(facts: Facts, now: number): string {
  const plain = versionOf(facts);
  return mtimeOf(facts) > now - TICK ? `${plain}~` : plain;
}

/** Whether a file still is the version that a fingerprint was made of, as far as can be told. */
export function matches(fingerprint: string, facts: Facts): boolean {
  return fingerprint.replace(/~$/, "") === versionOf(facts);
}

/** Milliseconds since the epoch, with a fraction. */
export function mtimeOf({ seconds, nanoseconds }: Facts): number {
  return seconds * 1000 + nanoseconds / 1e6;
}

function versionOf({ size, seconds, nanoseconds }: Facts): string {
  return `${size}-${seconds}.${String(nanoseconds).padStart(9, "0")}`;
}
