/** Durations, sizes and other numbers as people write them. */
import { UsageError } from "./source/errors.ts";

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/**
 * Milliseconds from `500ms`, `30s`, `1h30m` (Go's form, with `d` for days), or from a number, which is milliseconds already.
 *
 * @throws UsageError
 */
export function parseDuration(value: string | number): number {
  if (typeof value === "number") {
    if (Number.isFinite(value) && value >= 0) return value;
  } else if (/^0$|^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(value)) {
    return Array.from(
      value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g),
      ([, count, unit]) => Number(count) * (DURATION_UNITS[unit as string] as number),
    ).reduce((sum, part) => sum + part, 0);
  }
  throw new UsageError(
    `${JSON.stringify(value)} is not a duration`,
    "write it like 30s, 5m or 1h30m",
  );
}

const SIZE_UNITS = ["", "k", "m", "g", "t"];

/**
 * Bytes from `1500`, `10k`, `10Mi`, `1.5G`, `2GiB`: powers of 1,000, or with an `i` of 1,024, as Kubernetes counts.
 *
 * @throws UsageError
 */
export function parseSize(value: string | number): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  const text = typeof value === "string" ? value : "";
  const [, count, unit, binary] = /^(\d+(?:\.\d+)?)([kmgt]?)(i?)b?$/i.exec(text) ?? [];
  if (count === undefined || (unit === "" && binary !== ""))
    throw new UsageError(
      `${JSON.stringify(value)} is not a size`,
      "write it like 500k, 10Mi or 2G",
    );
  return Math.round(
    Number(count) *
      (binary === "" ? 1000 : 1024) ** SIZE_UNITS.indexOf((unit as string).toLowerCase()),
  );
}

/** A whole number, not below `min`. @throws UsageError */
export function parseCount(text: string, min = 1): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number) || number < min)
    throw new UsageError(`"${text}" is not a whole number from ${min}`);
  return number;
}

/** Permission bits in octal. @throws UsageError */
export function parseMode(text: string): number {
  if (!/^(0o?)?[0-7]{3}$/.test(text))
    throw new UsageError(`"${text}" is not a file mode`, "write three octal digits such as 644");
  return Number.parseInt(text.replace(/^0o?/, ""), 8);
}

/** The same for directories, also with set-group-id and sticky: `2750`. @throws UsageError */
export function parseDirectoryMode(text: string): number {
  if (!/^(0o?)?[0-3]?[0-7]{3}$/.test(text))
    throw new UsageError(
      `"${text}" is not a directory mode`,
      "write three octal digits such as 755, or four such as 2750; set-user-id (4) means nothing there",
    );
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

/** One of some words. @throws UsageError */
export function parseChoice<Value extends string>(text: string, values: readonly Value[]): Value {
  const value = values.find((one) => one === text);
  if (value !== undefined) return value;
  throw new UsageError(`"${text}" is not one of ${values.join(", ")}`);
}

/** `true` or `false`, in one of the usual words. @throws UsageError */
export function parseSwitch(text: string): boolean {
  if (["1", "true", "yes", "on"].includes(text.toLowerCase())) return true;
  if (["0", "false", "no", "off"].includes(text.toLowerCase())) return false;
  throw new UsageError(`"${text}" is neither true nor false`);
}
