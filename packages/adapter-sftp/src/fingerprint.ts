/** What tells two versions of a file apart: size and modification time, which SFTP tells to the second. */
import { markRacy } from "@pannier/file-server/fingerprint";

export interface Facts {
  readonly size: number;
  /** Seconds; `undefined` where the server tells none. */
  readonly mtime: number | undefined;
}

/** @param now milliseconds, no later than the moment the file was looked at */
export function fingerprintOf({ size, mtime }: Facts, now: number): string {
  // Without any time a change of equal size would not show: each listing has another fingerprint, and it is read again.
  if (mtime === undefined) return `${size}-at ${now}`;
  return markRacy(`${size}-${mtime}`, mtime * 1000, now);
}

/** Whether a file still is the version that a fingerprint was made of, as far as can be told. */
export function matches(fingerprint: string, { size, mtime }: Partial<Facts>): boolean {
  const [, oldSize, oldTime] = /^(\d+)-(.*?)~?$/.exec(fingerprint) ?? [];
  if (size !== undefined && oldSize !== String(size)) return false;
  return mtime === undefined || oldTime?.startsWith("at ") === true || oldTime === String(mtime);
}
