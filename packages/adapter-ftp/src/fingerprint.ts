/** What tells two versions of a file apart: size and modification time, which FTP servers tell in whole seconds. */
import { markRacy, withoutMark } from "@pannier/file-server/fingerprint";

export interface Facts {
  readonly size: number;
  /** Milliseconds; `undefined` where the server tells none. */
  readonly mtime: number | undefined;
  /** The time as the server writes it for people. */
  readonly written: string;
}

/** @param now milliseconds, no later than the moment the file was looked at */
export function fingerprintOf({ size, mtime, written }: Facts, now: number): string {
  // Without any time a change of equal size would not show: each listing has another fingerprint, and it is read again.
  if (mtime === undefined) return `${size}-${written === "" ? `at ${now}` : written}`;
  return markRacy(`${size}-${mtime}`, mtime, now);
}

/** Whether a time for programs is part of it. */
export function hasTime(fingerprint: string): boolean {
  return /^\d+-\d+~?$/.test(fingerprint);
}

/** Whether a file still is the version that a fingerprint was made of, as far as can be told. */
export function matches(fingerprint: string, { size, mtime }: Omit<Facts, "written">): boolean {
  if (mtime === undefined) return fingerprint.startsWith(`${size}-`);
  return withoutMark(fingerprint) === `${size}-${mtime}`;
}
