import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createBandwidth } from "./bandwidth.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const never = new AbortController().signal;

test("holds the rate over all that take from it, in their order", async () => {
  const bandwidth = createBandwidth(1_000_000);
  const start = performance.now();
  const ends: [string, number][] = [];
  const reader = async (name: string) => {
    for (let i = 0; i < 3; i++) {
      await bandwidth.take(100_000, never);
      ends.push([name, performance.now() - start]);
    }
  };
  const done = Promise.all([reader("a"), reader("b")]);
  await vi.runAllTimersAsync();
  await done;
  expect(ends.map(([name]) => name).join("")).toBe("ababab");
  // 600 kB at 1 MB/s, less the credit of 100 ms.
  expect(ends.at(-1)?.[1]).toBeGreaterThanOrEqual(499);
  expect(ends.at(-1)?.[1]).toBeLessThan(520);
});

test("time in which nothing was read is made up for only shortly", async () => {
  const bandwidth = createBandwidth(1000);
  await vi.advanceTimersByTimeAsync(60_000);
  const start = performance.now();
  const done = bandwidth.take(1000, never);
  await vi.runAllTimersAsync();
  await done;
  expect(performance.now() - start).toBeGreaterThanOrEqual(899);
});

test("an abort ends the wait with its reason and leaves no timer", async () => {
  const controller = new AbortController();
  const waiting = createBandwidth(1).take(1000, controller.signal);
  controller.abort(new Error("stop"));
  await expect(waiting).rejects.toThrow("stop");
  expect(vi.getTimerCount()).toBe(0);
});
