/** What tells two versions of a file apart where a server tells no more than its size and its modification time. */

export interface Version {
  readonly size: number;
  /** Of the modification time, since the epoch. */
  readonly seconds: number;
  /** The rest of it; 0 where the protocol tells seconds only. */
  readonly nanoseconds: number;
}

/**
 * Milliseconds. Ticks are up to 10 ms on Linux, a second in protocols and file systems that keep no more, and two on a stick; some
 * servers hold an update of the time back while a file is written.
 */
const TICK = 2000;

/**
 * Marks the name of a version that may change again without showing. A file that changes twice within one tick of the clock behind
 * its modification time looks the same after the second time (git calls it racy). A later listing does not give that mark, and so
 * the file is read once more.
 *
 * @param mtime milliseconds
 * @param now milliseconds, no later than the moment the file was looked at
 * @param tick milliseconds; a second more than a server's for clocks that differ a little. Default 2,000.
 */
export function markRacy(name: string, mtime: number, now: number, tick = TICK): string {
  return mtime > now - tick ? `${name}~` : name;
}

/** A fingerprint without the mark of {@link markRacy}. */
export function withoutMark(fingerprint: string): string {
  return fingerprint.replace(/~$/, "");
}

/** @param now milliseconds, no later than the moment the file was looked at */
export function fingerprintOf(version: Version, now: number): string {
  return markRacy(nameOf(version), timeOf(version), now);
}

/** Whether a file still is the version that a fingerprint was made of, as far as can be told. */
export function matches(fingerprint: string, version: Version): boolean {
  return withoutMark(fingerprint) === nameOf(version);
}

/** The modification time in milliseconds. */
export function timeOf({ seconds, nanoseconds }: Version): number {
  return seconds * 1000 + nanoseconds / 1e6;
}

function nameOf({ size, seconds, nanoseconds }: Version): string {
  return `${size}-${seconds}.${String(nanoseconds).padStart(9, "0")}`;
}
