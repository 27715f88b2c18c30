import type { IndexItem } from "./item.ts";

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

/** Date and size as nginx (`01-Feb-2025 10:20  123`), Apache (`2025-02-01 10:20  1.2K`) and lighttpd (`2025-Feb-01 10:20:30  1.2K`) have them. */
export function columns(text: string): Pick<IndexItem, "size" | "stamp" | "modified"> {
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
