/** Numbers, revisions, paths, and what else is shown in several places, as people like to read them. */
import { isAbsolute, relative } from "node:path";
import type { CheckedSignature } from "@pannier/core";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** `1 file`, `1,204 files`. */
export function count(number: number, noun: string): string {
  const plural = noun.endsWith("y") ? `${noun.slice(0, -1)}ies` : `${noun}s`;
  return `${grouped(number)} ${number === 1 ? noun : plural}`;
}

/** `1,204`. `toLocaleString` loads tables for 20 ms, of the 300 that a sync of nothing takes. */
export function grouped(number: number): string {
  return String(number).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `512 B`, `1.2 MiB`: at most four digits. */
export function formatBytes(bytes: number): string {
  let power = 0;
  // 1023.95 would be printed as 1024.0.
  while (power < UNITS.length - 1 && bytes / 1024 ** power >= 1023.95) power++;
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${UNITS[power]}`;
}

/** A digest or commit by its first 12 digits, which `rollback` takes too; other names of revisions whole. */
export function shortRevision(revision: string): string {
  return /^[0-9a-f]{13,}$/.test(revision) ? revision.slice(0, 12) : revision;
}

/** Relative to the working directory where it is below that. */
export function shortPath(path: string, cwd: string): string {
  const below = relative(cwd, path);
  return below === "" || below.startsWith("..") || isAbsolute(below) ? path : below;
}

const two = (number: number) => String(number).padStart(2, "0");

/** `40ms`, `1.4s`, `12s`, `3m05s`, `2h10m`, `3d04h`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)}ms`;
  if (milliseconds < 9950) return `${(milliseconds / 1000).toFixed(1)}s`;
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)}h${two(minutes % 60)}m`;
  const hours = Math.floor(minutes / 60);
  return `${Math.floor(hours / 24)}d${two(hours % 24)}h`;
}

/** `commit, by ada@example.com (ssh SHA256:…)`. */
export function describeSignature({ of, by, kind, key }: CheckedSignature): string {
  return `${of}, ${by === undefined ? "" : `by ${by} `}(${kind} ${key})`;
}
