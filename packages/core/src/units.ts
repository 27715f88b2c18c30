/** Durations and sizes as people write them. */
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
  const [, count, unit, binary] = /^(\d+(?:\.\d+)?)([kmgt]?)(i?)b?$/i.exec(String(value)) ?? [];
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
