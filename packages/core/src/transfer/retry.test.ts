import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { SourceError } from "../source/errors.ts";
import { retry } from "./retry.ts";

const never = new AbortController().signal;

/** Runs work that always fails with `error`, to the end, and tells the delays. */
async function delaysOf(error: SourceError, attempts: number): Promise<number[]> {
  const delays: number[] = [];
  const onRetry = (_: SourceError, __: number, delay: number) => delays.push(delay);
  const done = outcomeOf(retry(failWith(error), { attempts, signal: never, onRetry }));
  await vi.runAllTimersAsync();
  await done;
  return delays;
}

function failWith(error: Error): () => Promise<never> {
  return async () => {
    throw error;
  };
}

function throttled(retryAfter: number): SourceError {
  return new SourceError("throttled", "slow down", { retryAfter });
}

/** What a promise rejects with, listened to from now on. */
async function outcomeOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    return await promise;
  } catch (error) {
    return error;
  }
}

describe("retry", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  test("tries again what is transient, and gives the result", async () => {
    const seen: number[] = [];
    const done = retry(
      async (attempt) => {
        seen.push(attempt);
        if (attempt < 3) throw new SourceError("unavailable", "reset");
        return "content";
      },
      { attempts: 5, signal: never },
    );
    await vi.runAllTimersAsync();
    expect(await done).toBe("content");
    expect(seen).toEqual([1, 2, 3]);
  });

  test("doubles the ceiling of the delay from 200 ms to 20 s, all of it jitter", async () => {
    const error = new SourceError("unavailable", "down");
    vi.spyOn(Math, "random").mockReturnValue(1);
    expect(await delaysOf(error, 10)).toEqual([
      200, 400, 800, 1600, 3200, 6400, 12_800, 20_000, 20_000,
    ]);
    vi.spyOn(Math, "random").mockReturnValue(0);
    expect(await delaysOf(error, 3)).toEqual([0, 0]);
  });

  test("waits at least as long as the server asks, but not for ever", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.5);
    expect(await delaysOf(throttled(7000), 2)).toEqual([7100]);
    expect(await delaysOf(throttled(3_600_000), 2)).toEqual([300_100]);
  });

  test("says so when the server asked for longer than is waited", async () => {
    const work = failWith(throttled(3_600_000));
    await expect(retry(work, { attempts: 1, signal: never })).rejects.toMatchObject({
      hint: "the server asks to wait 60 minutes",
    });
  });

  test("ends with the last error, its attempts noted and its facts kept", async () => {
    const cause = new Error("ECONNRESET");
    const error = new SourceError("unavailable", "reset", { hint: "check it", cause });
    const outcome = outcomeOf(retry(failWith(error), { attempts: 3, signal: never }));
    await vi.runAllTimersAsync();
    expect(await outcome).toMatchObject({
      name: "SourceError",
      code: "unavailable",
      message: "reset (after 3 attempts)",
      hint: "check it",
      transient: true,
      cause,
    });
    expect(error.message).toBe("reset");
  });

  test.each([
    ["a permanent SourceError", new SourceError("auth", "no")],
    ["unavailable for good", new SourceError("unavailable", "gone", { transient: false })],
    ["an unknown error", new TypeError("x is not a function")],
  ])("does not repeat %s", async (_, error) => {
    const work = vi.fn<() => Promise<never>>(failWith(error));
    await expect(retry(work, { attempts: 5, signal: never })).rejects.toBe(error);
    expect(work).toHaveBeenCalledTimes(1);
  });

  test("an abort while waiting rejects at once with its reason and leaves no timer", async () => {
    const controller = new AbortController();
    const work = failWith(throttled(60_000));
    const outcome = outcomeOf(retry(work, { attempts: 5, signal: controller.signal }));
    const reason = new Error("stop");
    await vi.advanceTimersByTimeAsync(1000);
    expect(vi.getTimerCount()).toBe(1);
    controller.abort(reason);
    expect(await outcome).toBe(reason);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("an abort counts for more than what the interrupted work says", async () => {
    const controller = new AbortController();
    const work = async () => {
      controller.abort(new Error("stop"));
      throw new SourceError("unavailable", "aborted");
    };
    await expect(retry(work, { attempts: 5, signal: controller.signal })).rejects.toThrow("stop");
  });

  test("does not start when aborted already", async () => {
    const work = vi.fn<() => Promise<void>>();
    await expect(
      retry(work, { attempts: 5, signal: AbortSignal.abort(new Error("stop")) }),
    ).rejects.toThrow("stop");
    expect(work).not.toHaveBeenCalled();
  });
});
