/** Numbers as people write them on a command line, and as they like to read them. */
import { UsageError } from "@pannier/core";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** @throws UsageError */
export function parseCount(text: string, min = 1): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number) || number < min)
    throw new UsageError(`"${text}" is not a whole number from ${min}`);
  return number;
}

/** `50%` or `1000`, given on as text for the engine to apply. @throws UsageError */
export function parseMaxDelete(text: string): string {
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(text)?.[1];
  if (percent === undefined ? /^\d{1,15}$/.test(text) : Number(percent) <= 100) return text;
  throw new UsageError(
    `"${text}" is neither a number of files nor a percentage`,
    "write 1000 or 50%",
  );
}

/** Permission bits in octal. @throws UsageError */
export function parseMode(text: string): number {
  if (!/^(0o?)?[0-7]{3}$/.test(text))
    throw new UsageError(`"${text}" is not a file mode`, "write three octal digits such as 644");
  return Number.parseInt(text.replace(/^0o?/, ""), 8);
}

/** `UID` or `UID:GID`. @throws UsageError */
export function parseOwner(text: string): { readonly uid: number; readonly gid: number } {
  const parts = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(text);
  if (parts === null)
    throw new UsageError(
      `"${text}" is not an owner`,
      "write numbers: UID or UID:GID (names differ from one container to the next)",
    );
  const uid = Number(parts[1]);
  return { uid, gid: parts[2] === undefined ? uid : Number(parts[2]) };
}

/** `1 file`, `1,204 files`. */
export function count(number: number, noun: string): string {
  const plural = noun.endsWith("y") ? `${noun.slice(0, -1)}ies` : `${noun}s`;
  return `${number.toLocaleString("en-US")} ${number === 1 ? noun : plural}`;
}

/** `512 B`, `1.2 MiB`: at most four digits. */
export function formatBytes(bytes: number): string {
  let power = 0;
  // 1023.95 would be printed as 1024.0.
  while (power < UNITS.length - 1 && bytes / 1024 ** power >= 1023.95) power++;
  return `${(bytes / 1024 ** power).toFixed(power === 0 ? 0 : 1)} ${UNITS[power]}`;
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
