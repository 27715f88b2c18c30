import { describe, expect, test } from "vitest";
import { fingerprintOf, matches } from "./fingerprint.ts";

describe("a fingerprint", () => {
  const version = { size: 10, seconds: 1_700_000_000, nanoseconds: 5 };
  const then = 1_700_000_000_000;

  test("tells versions apart that a nanosecond lies between", () => {
    const name = fingerprintOf(version, then + 10_000);
    expect(name).toBe("10-1700000000.000000005");
    expect(matches(name, version)).toBe(true);
    expect(matches(name, { ...version, nanoseconds: 6 })).toBe(false);
    expect(matches(name, { ...version, seconds: version.seconds + 1 })).toBe(false);
    expect(matches(name, { ...version, size: 11 })).toBe(false);
  });

  test("has a mark where the file may change again within a tick of the clock", () => {
    const marked = fingerprintOf(version, then + 1000);
    expect(marked).toBe("10-1700000000.000000005~");
    expect(matches(marked, version)).toBe(true);
  });
});
