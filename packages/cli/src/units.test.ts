import { UsageError } from "@pannier/core";
import { expect, test } from "vitest";
import {
  count,
  formatBytes,
  formatDuration,
  parseCount,
  parseMaxDelete,
  parseMode,
  parseOwner,
} from "./units.ts";

test("counts, modes, owners and deletion guards are checked", () => {
  expect(parseCount("16")).toBe(16);
  expect(() => parseCount("0")).toThrow(UsageError);
  expect(() => parseCount("1.5")).toThrow(UsageError);
  expect(parseMode("0644")).toBe(0o644);
  expect(parseMode("755")).toBe(0o755);
  expect(() => parseMode("rw")).toThrow(UsageError);
  expect(() => parseMode("4755")).toThrow(UsageError);
  expect(parseOwner("1000")).toEqual({ uid: 1000, gid: 1000 });
  expect(parseOwner("0:33")).toEqual({ uid: 0, gid: 33 });
  expect(() => parseOwner("www-data")).toThrow(UsageError);
  expect(parseMaxDelete("50%")).toBe("50%");
  expect(parseMaxDelete("1000")).toBe("1000");
  expect(() => parseMaxDelete("101%")).toThrow(UsageError);
  expect(() => parseMaxDelete("half")).toThrow(UsageError);
});

test("numbers are written to be read", () => {
  expect([count(1, "file"), count(1204, "file"), count(0, "entry"), count(1, "entry")]).toEqual([
    "1 file",
    "1,204 files",
    "0 entries",
    "1 entry",
  ]);
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
