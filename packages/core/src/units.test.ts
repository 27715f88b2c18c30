import { describe, expect, test } from "vitest";
import { UsageError } from "./source/errors.ts";
import {
  parseCount,
  parseDirectoryMode,
  parseDuration,
  parseMode,
  parseOwner,
  parseSize,
} from "./units.ts";

describe("a duration", () => {
  test.each([
    ["500ms", 500],
    ["30s", 30_000],
    ["1.5s", 1500],
    ["1h30m", 5_400_000],
    ["2d", 172_800_000],
    ["0", 0],
    [250, 250],
  ])("%j is %d milliseconds", (text, expected) => {
    expect(parseDuration(text)).toBe(expected);
  });

  test.each(["", "5", "-1s", "1s ", "s", "1h30", "forever", -1, Number.NaN, Infinity])(
    "%j is none",
    (text) => {
      expect(() => parseDuration(text)).toThrow(UsageError);
    },
  );
});

describe("a size", () => {
  test.each([
    ["1500", 1500],
    ["10k", 10_000],
    ["10Ki", 10_240],
    ["10Mi", 10_485_760],
    ["1.5G", 1_500_000_000],
    ["2GiB", 2_147_483_648],
    ["1t", 1_000_000_000_000],
    [4096, 4096],
  ])("%j is %d bytes", (text, expected) => {
    expect(parseSize(text)).toBe(expected);
  });

  test.each(["", "i", "5i", "-1", "1.", "10 Mi", "10X", -1, 1.5, Number.NaN])(
    "%j is none",
    (text) => {
      expect(() => parseSize(text)).toThrow(UsageError);
    },
  );
});

test("counts, modes and owners are checked", () => {
  expect(parseCount("16")).toBe(16);
  expect(() => parseCount("0")).toThrow(UsageError);
  expect(() => parseCount("1.5")).toThrow(UsageError);
  expect(parseMode("0644")).toBe(0o644);
  expect(parseMode("755")).toBe(0o755);
  expect(() => parseMode("rw")).toThrow(UsageError);
  expect(() => parseMode("4755")).toThrow(UsageError);
  expect(parseDirectoryMode("755")).toBe(0o755);
  expect(parseDirectoryMode("0750")).toBe(0o750);
  expect(parseDirectoryMode("2750")).toBe(0o2750);
  expect(() => parseDirectoryMode("4755")).toThrow(UsageError);
  expect(parseOwner("1000")).toEqual({ uid: 1000, gid: 1000 });
  expect(parseOwner("0:33")).toEqual({ uid: 0, gid: 33 });
  expect(() => parseOwner("www-data")).toThrow(UsageError);
});
