/** What tells two versions of a file apart where a server tells no more than its size and its modification time. */

export interface Version {
  readonly size: number;
  /** Of the modification time, since the epoch. */
  readonly seconds: number;
  /** The rest of it; 0 where the protocol tells seconds only. */
  readonly nanoseconds: number;
}

/**
 * Milliseconds. A file that changes twice within one tick of the server's clock looks the same after the second time. Ticks are
 * up to 10 ms on Linux, a second in protocols and file systems that keep no more, and two on a stick; some servers hold an
 * update of the time back while a file is written. A file that was modified so shortly before it was looked at gets a mark
 * that the next listing does not give it, and is then read once more.
 */
const TICK = 2000;

/** @param now milliseconds, no later than the moment the file was looked at */
export function fingerprintOf(version: Version, now: number): string {
  return timeOf(version) > now - TICK ? `${nameOf(version)}~` : nameOf(version);
}

/** Whether a file still is the version that a fingerprint was made of, as far as can be told. */
export function matches(fingerprint: string, version: Version): boolean {
  return fingerprint.replace(/~$/, "") === nameOf(version);
}

/** The modification time in milliseconds. */
export function timeOf({ seconds, nanoseconds }: Version): number {
  return seconds * 1000 + nanoseconds / 1e6;
}

function nameOf({ size, seconds, nanoseconds }: Version): string {
  return `${size}-${seconds}.${String(nanoseconds).padStart(9, "0")}`;
}
