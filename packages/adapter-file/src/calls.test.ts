import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { type Calls, makeCalls } from "./calls.ts";

const { signal } = new AbortController();
const never = () => new Promise<string>(() => {});

async function becomeFast(calls: Calls): Promise<void> {
  for (let i = 0; i < 100 && !calls.fast; i++) await calls.later(async () => i, signal);
}

describe("where a call is made", () => {
  test("through the pool at first, in place after some answers", async () => {
    const calls = makeCalls(1000);
    expect(calls.fast).toBe(false);
    await becomeFast(calls);
    expect(calls.fast).toBe(true);
    expect(calls.now(() => "x")).toBe("x");
  });

  test("through the pool again after a slow one", async () => {
    const calls = makeCalls(1000);
    await becomeFast(calls);
    const until = performance.now() + 5;
    calls.now(() => {
      while (performance.now() < until);
    });
    expect(calls.fast).toBe(false);
  });
});

describe("a call that hangs", () => {
  test("is given up after the idle timeout, and no more are added to it", async () => {
    const calls = makeCalls(100);
    const answer = Promise.withResolvers<string>();
    const hanging = calls.later(() => answer.promise, signal);
    await expect(hanging).rejects.toMatchObject({ code: "unavailable", transient: true });
    const next = calls.later(() => expect.unreachable("another call is made"), signal);
    await expect(next).rejects.toMatchObject({ code: "unavailable" });
    answer.resolve("at last");
    await sleep(0);
    expect(await calls.later(async () => "well again", signal)).toBe("well again");
  });

  test("is given up at once when aborted, and others go on", async () => {
    const calls = makeCalls(60_000);
    const abort = new AbortController();
    const reason = new Error("enough");
    const hanging = calls.later(never, abort.signal);
    abort.abort(reason);
    await expect(hanging).rejects.toBe(reason);
    expect(await calls.later(async () => "x", signal)).toBe("x");
    await expect(calls.later(never, abort.signal)).rejects.toBe(reason);
  });

  test("has what it still opens closed", async () => {
    const calls = makeCalls(60_000);
    const abort = new AbortController();
    const closed: string[] = [];
    const opening = calls.later(
      () => sleep(20, "descriptor"),
      abort.signal,
      (late) => void closed.push(late),
    );
    abort.abort(new Error("enough"));
    await expect(opening).rejects.toThrow("enough");
    await expect.poll(() => closed).toEqual(["descriptor"]);
  });
});
