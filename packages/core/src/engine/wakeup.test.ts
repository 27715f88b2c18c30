import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createWakeup } from "./wakeup.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Milliseconds until a wait is over that is woken at once in these ways. */
async function waitAfter(...ways: readonly (boolean | undefined)[]): Promise<number> {
  const wakeup = createWakeup();
  for (const gathered of ways) wakeup.wake(gathered);
  const began = Date.now();
  const waiting = wakeup.wait(10_000, new AbortController().signal);
  await vi.runAllTimersAsync();
  await waiting;
  return Date.now() - began;
}

test("waits a moment for what comes together, unless that was waited for already", async () => {
  expect(await waitAfter(undefined)).toBe(50);
  expect(await waitAfter(true)).toBe(0);
  expect(await waitAfter(true, false, true)).toBe(50);
});

test("a wait that was woken leaves nothing to the next", async () => {
  const wakeup = createWakeup();
  const { signal } = new AbortController();
  wakeup.wake();
  const first = wakeup.wait(10_000, signal);
  await vi.advanceTimersByTimeAsync(50);
  await first;
  const began = Date.now();
  const second = wakeup.wait(10_000, signal);
  await vi.advanceTimersByTimeAsync(10_000);
  await second;
  expect(Date.now() - began).toBe(10_000);
});
