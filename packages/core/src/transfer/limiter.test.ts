import { describe, expect, test } from "vitest";
import { SourceError } from "../source/errors.ts";
import { createLimiter, forEachConcurrent, type Limiter } from "./limiter.ts";

const never = new AbortController().signal;

/** Work that ends when told to. */
function held(limiter: Limiter, signal = never) {
  const gate = Promise.withResolvers<void>();
  const state = { started: false };
  const done = limiter.run(async () => {
    state.started = true;
    await gate.promise;
  }, signal);
  done.catch(() => {});
  return {
    state,
    done,
    finish: () => gate.resolve(),
    fail: (error: unknown) => gate.reject(error),
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("createLimiter", () => {
  test("goes by what suits the source as soon as that is known", async () => {
    let most = 1;
    const limiter = createLimiter(() => most);
    const works = [held(limiter)];
    expect([limiter.max, limiter.limit, limiter.free]).toEqual([1, 1, 0]);
    most = 3;
    works.push(held(limiter), held(limiter), held(limiter));
    await turn();
    expect(works.map((work) => work.state.started)).toEqual([true, true, true, false]);
    expect([limiter.max, limiter.limit]).toEqual([3, 3]);
    most = 2;
    expect([limiter.max, limiter.limit, limiter.free]).toEqual([2, 2, 0]);
    for (const work of works) work.finish();
    await Promise.all(works.map((work) => work.done));
  });

  test("runs at most max at once, first come first served", async () => {
    const limiter = createLimiter(2);
    const order: number[] = [];
    const works = Array.from({ length: 5 }, (_, index) => {
      const work = held(limiter);
      void work.done.then(() => order.push(index));
      return work;
    });
    await turn();
    expect(works.map((work) => work.state.started)).toEqual([true, true, false, false, false]);
    works[1]?.finish();
    await turn();
    expect(works.map((work) => work.state.started)).toEqual([true, true, true, false, false]);
    for (const work of works) work.finish();
    await Promise.all(works.map((work) => work.done));
    expect(order).toEqual([1, 0, 2, 3, 4]);
  });

  test("one that comes later does not overtake those that wait", async () => {
    const limiter = createLimiter(1);
    const first = held(limiter);
    const second = held(limiter);
    first.finish();
    // Between the end of the first and the start of the second.
    const third = held(limiter);
    await turn();
    expect([second.state.started, third.state.started]).toEqual([true, false]);
    second.finish();
    third.finish();
    await third.done;
  });

  test("an abort takes one out of the queue and leaves the others in theirs", async () => {
    const limiter = createLimiter(1);
    const controller = new AbortController();
    const first = held(limiter);
    const second = held(limiter, controller.signal);
    const third = held(limiter);
    controller.abort(new Error("stop"));
    await expect(second.done).rejects.toThrow("stop");
    first.finish();
    await turn();
    expect([second.state.started, third.state.started]).toEqual([false, true]);
    third.finish();
    await third.done;
  });

  test("halves when throttled, once for requests of the same time, down to 1", async () => {
    const limiter = createLimiter(8);
    const throttled = new SourceError("throttled", "slow down");
    const round = async () => {
      const works = Array.from({ length: limiter.limit }, () => held(limiter));
      await turn();
      for (const work of works) work.fail(throttled);
      await Promise.allSettled(works.map((work) => work.done));
    };
    await round();
    expect(limiter.limit).toBe(4);
    await round();
    expect(limiter.limit).toBe(2);
    await round();
    await round();
    expect(limiter.limit).toBe(1);
  });

  test("holds back while more run than the lowered limit, then recovers one by one", async () => {
    const limiter = createLimiter(4);
    const works = Array.from({ length: 6 }, () => held(limiter));
    await turn();
    works[0]?.fail(new SourceError("throttled", "slow down"));
    await turn();
    expect(limiter.limit).toBe(2);
    expect(works[4]?.state.started).toBe(false);
    for (const work of works) work.finish();
    await Promise.allSettled(works.map((work) => work.done));
    const limits: number[] = [];
    for (let i = 0; i < 12; i++) {
      await limiter.run(async () => {}, never);
      limits.push(limiter.limit);
    }
    expect(limits.at(-1)).toBe(4);
    expect(new Set(limits)).toContain(3);
  });

  test("other failures change nothing", async () => {
    const limiter = createLimiter(4);
    const failing = limiter.run(() => Promise.reject(new SourceError("unavailable", "x")), never);
    await expect(failing).rejects.toThrow("x");
    expect(limiter.limit).toBe(4);
  });
});

async function* brokenItems() {
  yield 1;
  throw new Error("listing broke");
}

describe("forEachConcurrent", () => {
  test("works on every item, never more than max ahead", async () => {
    let taken = 0;
    let done = 0;
    let most = 0;
    async function* items() {
      for (let i = 0; i < 50; i++) {
        taken++;
        most = Math.max(most, taken - done);
        yield i;
      }
    }
    const seen: number[] = [];
    const worker = async (item: number) => {
      await turn();
      seen.push(item);
      done++;
    };
    await forEachConcurrent(items(), 4, worker, never);
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(most).toBe(4);
  });

  test("the first failure aborts the others, waits for them, ends the items, and is thrown", async () => {
    const ended: string[] = [];
    function* items() {
      try {
        for (let i = 0; ; i++) yield i;
      } finally {
        ended.push("items");
      }
    }
    const worker = async (item: number, signal: AbortSignal) => {
      if (item === 2) {
        await turn();
        throw new Error("first");
      }
      await new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => resolve());
      });
      await turn();
      ended.push(`worker ${item}`);
      throw new Error("second");
    };
    await expect(forEachConcurrent(items(), 3, worker, never)).rejects.toThrow("first");
    expect(ended.toSorted()).toEqual(["items", "worker 0", "worker 1"]);
  });

  test("a failure of the items themselves aborts the workers", async () => {
    let aborted = false;
    const worker = (_: number, signal: AbortSignal) =>
      new Promise<void>((resolve) => {
        signal.addEventListener("abort", () => {
          aborted = true;
          resolve();
        });
      });
    await expect(forEachConcurrent(brokenItems(), 3, worker, never)).rejects.toThrow(
      "listing broke",
    );
    expect(aborted).toBe(true);
  });

  test("an abort from outside is passed on and its reason thrown, even where workers end well", async () => {
    const controller = new AbortController();
    const worker = async (item: number) => {
      if (item === 5) controller.abort(new Error("stop"));
    };
    await expect(
      forEachConcurrent(Array(100).keys(), 2, worker, controller.signal),
    ).rejects.toThrow("stop");
  });
});

test("throttles and successes that were met elsewhere count, those of one moment once", async () => {
  const limiter = createLimiter(16);
  let told = 0;
  limiter.onChange = () => told++;
  limiter.throttled();
  limiter.throttled();
  expect(limiter.limit).toBe(8);
  expect(limiter.free).toBe(8);
  expect(told).toBeGreaterThan(0);
  limiter.succeeded(8 + 9);
  expect(limiter.limit).toBe(10);
  const { promise: done, resolve } = Promise.withResolvers<void>();
  const work = limiter.run(() => done, new AbortController().signal);
  expect(limiter.free).toBe(9);
  resolve();
  await work;
  expect(limiter.free).toBe(10);
});
