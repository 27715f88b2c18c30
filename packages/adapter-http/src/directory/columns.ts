import type { IndexItem } from "./item.ts";

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

type Columns = Pick<IndexItem, "size" | "stamp" | "modified">;

/**
 * Date and size as nginx (`01-Feb-2025 10:20  123`), Apache (`2025-02-01 10:20  1.2K`), lighttpd (`2025-Feb-01 10:20:30  1.2K`) and rclone
 * (`123  2025-02-01 10:20:30.123456789 +0000 UTC`) have them.
 */
export function columns(text: string): Columns {
  return goColumns(text) ?? dateAndSize(text);
}

/** As Go prints a time. One before 1970 stands for none. */
function goColumns(text: string): Columns | undefined {
  const [, size, stamp, date, clock] =
    /^\s*(\d+)\s+((\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.\d{1,9})? \+0000 UTC)(?:\s|$)/.exec(
      text,
    ) ?? [];
  const time = Date.parse(`${date}T${clock}Z`);
  if (!(time >= 0)) return undefined;
  return {
    size: Number(size),
    stamp: `${size} ${stamp}`,
    modified: { time, unit: "second", utc: true },
  };
}

function dateAndSize(text: string): Columns {
  const [, date, clock = "", size = ""] =
    /^\s*(\d{4}-\d\d-\d\d|\d\d-[A-Z][a-z]{2}-\d{4}|\d{4}-[A-Z][a-z]{2}-\d\d)\s+(\d\d:\d\d)(?::\d\d)?\s+(-|[\d.]+(?:\s?[kKMGTP]i?B?)?)(?:\s|$)/.exec(
      text,
    ) ?? [];
  if (date === undefined || size === "-") return {};
  const parts = date.split("-");
  const nginx = parts[0]?.length === 2;
  const [year, month = "", day] = nginx ? parts.toReversed() : parts;
  const number = /^\d+$/.test(month) ? Number(month) : MONTHS.indexOf(month) + 1;
  const time = Date.parse(`${year}-${String(number).padStart(2, "0")}-${day}T${clock}:00Z`);
  if (Number.isNaN(time)) return {};
  return {
    size: /^\d+$/.test(size) ? Number(size) : undefined,
    stamp: text.trim().replaceAll(/\s+/g, " "),
    modified: { time, unit: "minute", utc: nginx },
  };
}
