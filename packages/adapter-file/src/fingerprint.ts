/** What tells two versions of a file apart: size and modification time, with care for clocks that tick slowly. */
import type { Stats } from "node:fs";

type Version = Pick<Stats, "size" | "mtimeMs">;

/**
 * A file that changes twice within one tick of the clock behind modification times looks the same after the second time
 * (git calls it racy). Local file systems tick every 1–10 ms, network ones as their servers do.
 */
const TICK = 50;

/**
 * The fingerprint of a file. Ends in `~` where the file was modified so shortly before `now` that it may change again
 * without showing: the next listing, later than that, then has another one, and the file is read once more.
 *
 * @param now milliseconds, no later than the moment the file was looked at
 */
export function fingerprintOf({ size, mtimeMs }: Version, now: number): string {
  return mtimeMs > now - TICK ? `${size}-${mtimeMs}~` : `${size}-${mtimeMs}`;
}

/** Whether a file still is the version that a fingerprint was made of, as far as can be told. */
export function matches(fingerprint: string, { size, mtimeMs }: Version): boolean {
  const version = fingerprint.endsWith("~") ? fingerprint.slice(0, -1) : fingerprint;
  return version === `${size}-${mtimeMs}`;
}
