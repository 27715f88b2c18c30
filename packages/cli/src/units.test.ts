import { UsageError } from "@pannier/core";
import { expect, test } from "vitest";
import {
  count,
  formatBytes,
  formatDuration,
  parseCount,
  parseDuration,
  parseMaxDelete,
  parseMode,
  parseOwner,
  parseSize,
} from "./units.ts";

test.each([
  ["500ms", 500],
  ["60s", 60_000],
  ["5m", 300_000],
  ["1h30m", 5_400_000],
  ["1.5h", 5_400_000],
  ["2d", 172_800_000],
  ["0s", 0],
])("%s is a duration", (text, milliseconds) => {
  expect(parseDuration(text)).toBe(milliseconds);
});

test.each(["", "60", "s", "1x", "-1s", "1s ", "1h 30m", "1e3s", "9".repeat(30) + "d"])(
  "%j is no duration",
  (text) => {
    expect(() => parseDuration(text)).toThrow(UsageError);
  },
);

test.each([
  ["0", 0],
  ["1024", 1024],
  ["500k", 500_000],
  ["1G", 1_000_000_000],
  ["10Mi", 10_485_760],
  ["10MiB", 10_485_760],
  ["1.5Ki", 1536],
  ["20MB", 20_000_000],
  ["7B", 7],
])("%s is a size", (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test.each(["", "k", "1i", "1iB", "10X", "-1", "1 G", "9".repeat(30)])("%j is no size", (text) => {
  expect(() => parseSize(text)).toThrow(UsageError);
});

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
  expect([40, 9949, 9950, 59_400, 185_000, 7_800_000, 273_600_000].map(formatDuration)).toEqual([
    "0.0s",
    "9.9s",
    "10s",
    "59s",
    "3m05s",
    "2h10m",
    "3d04h",
  ]);
});
