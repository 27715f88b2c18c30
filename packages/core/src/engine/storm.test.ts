import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { gatherHints } from "./storm.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("hints in a row are one, a tenth of a second after the last", async () => {
  const pass = vi.fn<() => void>();
  const storm = gatherHints(pass);
  for (let i = 0; i < 40; i++) {
    storm.hint();
    await vi.advanceTimersByTimeAsync(99);
  }
  expect(pass).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(10);
  expect(pass).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(pass).toHaveBeenCalledTimes(1);
  storm.hint();
  await vi.advanceTimersByTimeAsync(110);
  expect(pass).toHaveBeenCalledTimes(2);
});

test("a storm without an end is answered every five seconds", async () => {
  const pass = vi.fn<() => void>();
  const storm = gatherHints(pass);
  for (let i = 0; i < 200; i++) {
    storm.hint();
    await vi.advanceTimersByTimeAsync(50);
  }
  storm.stop();
  expect(pass).toHaveBeenCalledTimes(1);
});

test("hints that were waiting while the thread was busy belong to the storm", async () => {
  vi.useRealTimers();
  const passed = Promise.withResolvers<void>();
  const came: string[] = [];
  const storm = gatherHints(() => {
    came.push("passed");
    passed.resolve();
  });
  storm.hint();
  const end = performance.now() + 150;
  while (performance.now() < end);
  // As a socket that was readable all the time: after the timers of this turn.
  setImmediate(() => {
    came.push("hint");
    storm.hint();
  });
  await passed.promise;
  expect(came).toEqual(["hint", "passed"]);
});

test("what was stopped passes nothing on", async () => {
  const pass = vi.fn<() => void>();
  const storm = gatherHints(pass);
  storm.hint();
  await vi.advanceTimersByTimeAsync(99);
  storm.stop();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(pass).not.toHaveBeenCalled();
});
