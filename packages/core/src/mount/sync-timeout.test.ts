import { getEventListeners } from "node:events";
import { expect, it, vi } from "vitest";
import { withTimeout } from "./sync-timeout.ts";

it.each([undefined, 60_000])(
  "leaves nothing at the caller's signal once it has ended (%s)",
  (timeout) => {
    const { signal } = new AbortController();
    const { signal: own, end } = withTimeout(signal, timeout);
    // What is derived from it would be kept with it.
    expect(own).not.toBe(signal);
    expect(getEventListeners(signal, "abort")).toHaveLength(1);
    end();
    expect(getEventListeners(signal, "abort")).toEqual([]);
  },
);

it.each([undefined, 60_000])("is aborted with the caller's, for its reason (%s)", (timeout) => {
  const caller = new AbortController();
  const before = withTimeout(caller.signal, timeout);
  expect(before.signal.aborted).toBe(false);
  caller.abort("stop");
  expect(before.signal.reason).toBe("stop");
  const after = withTimeout(caller.signal, timeout);
  expect(after.signal.reason).toBe("stop");
  before.end();
  after.end();
});

it("is aborted when the time is over", () => {
  vi.useFakeTimers();
  const { signal, end } = withTimeout(undefined, 1000);
  vi.advanceTimersByTime(999);
  expect(signal.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(signal.reason).toMatchObject({ code: "unavailable" });
  end();
  vi.useRealTimers();
});
