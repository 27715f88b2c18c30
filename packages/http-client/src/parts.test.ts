import { expect, test } from "vitest";
import { rangeHeader, rangeMismatch } from "./parts.ts";

test("a range as it is asked for", () => {
  expect(rangeHeader({ offset: 5, length: 10 })).toBe("bytes=5-14");
  expect(rangeHeader({ offset: 5 })).toBe("bytes=5-");
});

const PART = { offset: 5, length: 5 };
const whole = (length?: string) => ({
  status: 200,
  headers: length === undefined ? {} : { "content-length": length },
});
const part = (range?: string) => ({
  status: 206,
  headers: range === undefined ? {} : { "content-range": range },
});

test.each([
  ["the whole", whole("100"), undefined],
  ["the whole, without a length", whole(), undefined],
  ["the part", part("bytes 5-9/100"), PART],
  ["the part, of a size that is not told", part("bytes 5-9/*"), PART],
])("is what was asked for: %s", (_, answer, range) => {
  expect(rangeMismatch(answer, 100, range)).toBeUndefined();
  expect(rangeMismatch(answer, undefined, range)).toBeUndefined();
});

test.each([
  ["a part for the whole", part("bytes 0-9/100"), undefined, /a part instead of the whole/],
  ["the whole for a part", whole("100"), PART, /the whole instead of a part/],
  ["another length", whole("99"), undefined, /it has 99 bytes; 100 were listed/],
  ["another size", part("bytes 5-9/99"), PART, /it has 99 bytes; 100 were listed/],
  ["another offset", part("bytes 0-4/100"), PART, /a different part/],
  ["no word of which part", part(), PART, /a different part/],
  ["the words of two parts", part("bytes 5-9/100, bytes 5-9/100"), PART, /a different part/],
])("is not: %s", (_, answer, range, why) => {
  expect(rangeMismatch(answer, 100, range)).toMatch(why);
});
