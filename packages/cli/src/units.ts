/** Durations, sizes and the like, as people write them on a command line and as they like to read them. */
import { UsageError } from "@pannier/core";

const MILLISECONDS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/**
 * Reads `500ms`, `60s`, `5m`, `1h30m`, `1.5h` as milliseconds. A bare number is refused: `60` could mean anything.
 *
 * @throws UsageError
 */
export function parseDuration(text: string): number {
  const wrong = () =>
    new UsageError(`"${text}" is not a duration`, "write 500ms, 60s, 5m or 1h30m");
  if (!/^(\d+(\.\d+)?(ms|[smhd]))+$/.test(text)) throw wrong();
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhd])/g))
    total += Number(number) * (MILLISECONDS[unit as string] as number);
  if (!Number.isSafeInteger(Math.round(total))) throw wrong();
  return Math.round(total);
}

const DECIMAL = ["", "K", "M", "G", "T", "P"];

/**
 * Reads `500k`, `1G` (powers of 1000), `10Mi`, `1Gi` (powers of 1024), with or without a final `B`, as bytes:
 * the suffixes of Kubernetes.
 *
 * @throws UsageError
 */
export function parseSize(text: string): number {
  const parts = /^(\d+(?:\.\d+)?)([kmgtp]?)(i?)b?$/i.exec(text);
  const power = DECIMAL.indexOf(parts?.[2]?.toUpperCase() ?? "");
  const binary = parts?.[3] !== "";
  const size = Math.round(Number(parts?.[1]) * (binary ? 1024 : 1000) ** power);
  if (parts === null || (binary && power === 0) || !Number.isSafeInteger(size))
    throw new UsageError(`"${text}" is not a size`, "write a number of bytes, 500k, 10Mi or 1G");
  return size;
}

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
  while (power < DECIMAL.length - 1 && bytes / 1024 ** power >= 1023.95) power++;
  if (power === 0) return `${bytes} B`;
  return `${(bytes / 1024 ** power).toFixed(1)} ${DECIMAL[power]}iB`;
}

const two = (number: number) => String(number).padStart(2, "0");

/** `0.4s`, `12s`, `3m05s`, `2h10m`, `3d04h`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 9950) return `${(milliseconds / 1000).toFixed(1)}s`;
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)}h${two(minutes % 60)}m`;
  const hours = Math.floor(minutes / 60);
  return `${Math.floor(hours / 24)}d${two(hours % 24)}h`;
}
