import { expect, test } from "vitest";
import { count, formatBytes, formatDuration, grouped } from "./format.ts";

test("numbers are written to be read", () => {
  expect([count(1, "file"), count(1204, "file"), count(0, "entry"), count(1, "entry")]).toEqual([
    "1 file",
    "1,204 files",
    "0 entries",
    "1 entry",
  ]);
  expect([0, 999, 1000, 12_345_678].map(grouped)).toEqual(["0", "999", "1,000", "12,345,678"]);
  expect([0, 1023, 1024, 1_048_570, 12_345_678].map(formatBytes)).toEqual([
    "0 B",
    "1023 B",
    "1.0 KiB",
    "1.0 MiB",
    "11.8 MiB",
  ]);
  expect(
    [40, 1449, 9949, 9950, 59_400, 185_000, 7_800_000, 273_600_000].map(formatDuration),
  ).toEqual(["40ms", "1.4s", "9.9s", "10s", "59s", "3m05s", "2h10m", "3d04h"]);
});
