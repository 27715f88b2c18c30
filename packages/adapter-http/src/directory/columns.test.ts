import { expect, test } from "vitest";
import { columns } from "./columns.ts";

const TIME = Date.UTC(2026, 10, 29, 23, 6, 58);

test("rclone's time is read to the second, and tells versions apart to the nanosecond", () => {
  const text = "\n\t 6492 \n\t 2026-11-29 23:06:58.014963981 +0000 UTC \n\t";
  expect(columns(text)).toEqual({
    size: 6492,
    stamp: "6492 2026-11-29 23:06:58.014963981 +0000 UTC",
    modified: { time: TIME, unit: "second", utc: true },
  });
  expect(columns("0 2026-11-29 23:06:58 +0000 UTC").modified?.time).toBe(TIME);
});

test.each([
  ["no time", "6492 0001-01-01 00:00:00 +0000 UTC"],
  ["an unknown size", "-1 2026-11-29 23:06:58 +0000 UTC"],
  ["another zone", "6492 2026-11-29 23:06:58 +0100 CET"],
  ["no date", "6492 2026-13-29 23:06:58 +0000 UTC"],
])("%s of rclone's is none: the server is asked", (_, text) => {
  expect(columns(text)).toEqual({});
});

test("of nginx and Apache, a date to the minute", () => {
  const minute = TIME - 58_000;
  expect(columns(" 29-Nov-2026 23:06  6492\n")).toEqual({
    size: 6492,
    stamp: "29-Nov-2026 23:06 6492",
    modified: { time: minute, unit: "minute", utc: true },
  });
  expect(columns(" 2026-11-29 23:06  6.3K ")).toEqual({
    size: undefined,
    stamp: "2026-11-29 23:06 6.3K",
    modified: { time: minute, unit: "minute", utc: false },
  });
});
