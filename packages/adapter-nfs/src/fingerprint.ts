/** What tells two versions of a file apart: size and modification time, which NFS tells in nanoseconds. */

export interface Version {
  readonly size: number;
  /** Of the modification time, since the epoch. */
  readonly seconds: number;
  readonly nanoseconds: number;
}

/**
 * A file that changes twice within one tick of the server's clock looks the same after the second time: that is up to
 * 10 ms on Linux, and a second on file systems that keep no more. One that was modified so shortly before it was looked
 * at gets a mark that the next listing does not give it, and is then read once more. The second more is for clocks that
 * differ a little.
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
