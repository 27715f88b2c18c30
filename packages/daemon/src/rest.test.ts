import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { SyncResult } from "@pannier/core";
import type { MountEvent } from "./events.ts";
import { applyEvent, newState } from "./mount-state.ts";
import { createRest } from "./rest.ts";

const read = () => ({ history: [], held: false });
const waiting: MountEvent = { type: "waiting", delay: 60_000 };
const started: MountEvent = { type: "started" };
const done = (result: SyncResult["result"]) =>
  ({ type: "done", result: { result } as SyncResult }) satisfies MountEvent;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Two mounts, and how often garbage was collected. */
function resting() {
  const mounts = [1, 2].map(() => ({ state: newState(read()) }));
  const collect = vi.fn<() => void>();
  const rest = createRest(() => mounts, collect);
  return {
    tell(mount: 0 | 1, ...events: readonly MountEvent[]) {
      for (const event of events) {
        applyEvent(mounts[mount]!.state, event, read);
        rest.onEvent(event);
      }
      vi.advanceTimersByTime(1500);
      return collect.mock.calls.length;
    },
  };
}

it("collects garbage once after a start, when every mount waits", () => {
  const { tell } = resting();
  expect(tell(0, started, done("unchanged"), waiting)).toBe(0);
  expect(tell(1, started, done("unchanged"), waiting)).toBe(1);
  expect(tell(1, started, done("unchanged"), waiting)).toBe(1);
});

it("collects again after something was published, and not before a short wait", () => {
  const { tell } = resting();
  tell(0, started, waiting);
  expect(tell(1, started, waiting)).toBe(1);
  expect(tell(0, started, done("published"), { type: "waiting", delay: 1000 })).toBe(1);
  expect(tell(0, started, done("unchanged"), waiting)).toBe(2);
});

it("collects what V8 has no use for", async () => {
  vi.useRealTimers();
  const garbage = makeGarbage();
  const state = newState(read());
  applyEvent(state, waiting, read);
  const rest = createRest(() => [{ state }]);
  rest.onEvent(waiting);
  // A failed assertion would keep what it was about.
  const isGone = () => garbage.deref() === undefined;
  await expect.poll(isGone).toBe(true);
  rest.stop();
});

/** In a function of its own, whose variables are gone with it. */
function makeGarbage(): WeakRef<object> {
  return new WeakRef({ garbage: Array.from({ length: 1000 }, () => ({})) });
}
