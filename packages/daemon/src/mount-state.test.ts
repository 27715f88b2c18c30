import type { SyncResult } from "@pannier/core";
import { expect, it } from "vitest";
import { applyEvent, isStuck, newState } from "./mount-state.ts";
import type { MountEvent } from "./events.ts";

const MINUTE = 60_000;
const read = () => ({ history: [], held: false });

function after(...events: readonly MountEvent[]) {
  const state = newState({ history: [], held: false });
  for (const event of events) applyEvent(state, event, read);
  const now = performance.now();
  return (milliseconds: number) => isStuck(state, 10 * MINUTE, now + milliseconds);
}

const failed: MountEvent = {
  type: "failed",
  error: new Error("off"),
  received: 0,
  failures: 9,
  repeated: false,
  delay: 5 * MINUTE,
};

it("is not stuck while an attempt is within its deadline, and is beyond it", () => {
  const stuck = after({ type: "queued" }, { type: "started" });
  expect([stuck(10 * MINUTE), stuck(12 * MINUTE)]).toEqual([false, true]);
});

it("is not stuck while it waits, however often it failed, and is when the next attempt does not begin", () => {
  const stuck = after({ type: "started" }, failed, { type: "waiting", delay: 5 * MINUTE });
  expect([stuck(5 * MINUTE), stuck(7 * MINUTE)]).toEqual([false, true]);
});

it("is stuck when the first attempt does not even begin, or the wait after one that ended well", () => {
  const result = { result: "unchanged", immutable: false } as SyncResult;
  for (const stuck of [after(), after({ type: "started" }, { type: "done", result })])
    expect([stuck(10 * MINUTE), stuck(12 * MINUTE)]).toEqual([false, true]);
});

it("is not stuck while others have their turn, nor where there is nothing to wait for", () => {
  expect(after({ type: "queued" })(1000 * MINUTE)).toBe(false);
  expect(after({ type: "waiting", delay: Infinity })(1000 * MINUTE)).toBe(false);
});
