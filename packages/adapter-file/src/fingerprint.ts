/** What tells two versions of a file apart: size and modification time, with care for clocks that tick slowly. */
import type { Stats } from "node:fs";
import { markRacy, withoutMark } from "@pannier/file-server/fingerprint";

type Version = Pick<Stats, "size" | "mtimeMs">;

/** Milliseconds. Local file systems tick every 1–10 ms, network ones as their servers do. */
const TICK = 50;

/** @param now milliseconds, no later than the moment the file was looked at */
export function fingerprintOf(version: Version, now: number): string {
  return markRacy(nameOf(version), version.mtimeMs, now, TICK);
}

/** Whether a file still is the version that a fingerprint was made of, as far as can be told. */
export function matches(fingerprint: string, version: Version): boolean {
  return withoutMark(fingerprint) === nameOf(version);
}

function nameOf({ size, mtimeMs }: Version): string {
  return `${size}-${mtimeMs}`;
}
