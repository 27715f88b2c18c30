import { afterEach, expect, test, vi } from "vitest";
import { backoff, doubling } from "./backoff.ts";

afterEach(() => void vi.restoreAllMocks());

test("waits double up to the longest, however many failures there were", () => {
  expect([1, 2, 3, 4, 5].map((failures) => doubling(failures, 1000, 10_000))).toEqual([
    1000, 2000, 4000, 8000, 10_000,
  ]);
  expect(doubling(5000, 1000, 60_000)).toBe(60_000);
});

test("they are spread, and never longer", () => {
  const random = vi.spyOn(Math, "random");
  random.mockReturnValue(0);
  expect(backoff(3, 1000, 60_000)).toBe(3200);
  random.mockReturnValue(0.999_999);
  expect(backoff(3, 1000, 60_000)).toBeCloseTo(4000, 1);
});
