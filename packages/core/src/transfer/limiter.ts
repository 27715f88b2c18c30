/** How much is done at once: few enough for the source, and for this machine. */
import { SourceError } from "../source/errors.ts";

/** Bounds the requests under way at a source, and gives way when it asks for fewer. */
export interface Limiter {
  /** The most that ever run at once. */
  readonly max: number;
  /** How many may run at once now: between 1 and {@link Limiter.max}. */
  readonly limit: number;
  /** How many more may begin now. */
  readonly free: number;
  /** The source asked for fewer without one of our turns: halves the limit, but not several times for what was under way at once. */
  throttled(): void;
  /** Counts requests that were answered well without having asked for a turn here. */
  succeeded(count: number): void;
  /** Tells of each change of {@link Limiter.free}. One listener at most. */
  onChange: (() => void) | undefined;
  /**
   * Runs `work` when its turn comes, first come first served. Rejects with the signal's reason if that is aborted while
   * waiting; work that runs is its own to abort.
   */
  run<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result>;
}

/** Milliseconds in which the answers come that were under way when the limit was lowered. */
const SETTLED = 500;

/**
 * Additive increase, multiplicative decrease: a `throttled` failure halves the limit, and as many successes as the limit
 * allows at once raise it by one. Failures of requests that began before the limit was last lowered do not lower it
 * again, nor do their successes raise it: they tell of the time before.
 *
 * @param most requests at once; asked again each time where it may change
 */
export function createLimiter(most: number | (() => number)): Limiter {
  const waiting = new Set<() => void>();
  let max = typeof most === "number" ? most : most();
  let limit = max;
  let running = 0;
  let successes = 0;
  let lowered = 0;
  let loweredAt = -Infinity;

  /** A source may learn only from its first answer what suits it. */
  function look(): number {
    const now = typeof most === "number" ? most : most();
    if (now !== max) limit = limit === max ? now : Math.min(limit, now);
    max = now;
    return max;
  }

  function startWaiting(): void {
    for (const start of waiting) {
      if (running >= limit) break;
      waiting.delete(start);
      running++;
      start();
    }
    limiter.onChange?.();
  }

  function lower(): void {
    limit = Math.max(1, Math.floor(limit / 2));
    successes = 0;
    lowered++;
    loweredAt = performance.now();
  }

  function succeeded(count: number): void {
    successes += count;
    for (; limit < max && successes >= limit; limit++) successes -= limit;
    if (limit === max) successes = 0;
  }

  const limiter: Limiter = {
    get max() {
      return look();
    },
    onChange: undefined,
    succeeded(count) {
      succeeded(count);
      startWaiting();
    },
    throttled() {
      const now = performance.now();
      if (now - loweredAt < SETTLED) return;
      lower();
      limiter.onChange?.();
    },
    get limit() {
      look();
      return limit;
    },
    get free() {
      look();
      return Math.max(0, limit - running);
    },
    async run(work, signal) {
      signal.throwIfAborted();
      look();
      if (running < limit) {
        running++;
        limiter.onChange?.();
      } else await turnOf(waiting, signal);
      const began = lowered;
      try {
        const result = await work();
        if (began === lowered) succeeded(1);
        return result;
      } catch (error) {
        if (error instanceof SourceError && error.code === "throttled" && began === lowered) {
          lower();
        }
        throw error;
      } finally {
        running--;
        startWaiting();
      }
    },
  };
  return limiter;
}

/** Waits for a turn, behind those who wait already. */
function turnOf(waiting: Set<() => void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      waiting.delete(start);
      reject(signal.reason);
    };
    const start = () => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    waiting.add(start);
  });
}

/** Work done side by side; the first failure aborts the others. */
export interface Crew {
  /** Aborted by the caller's signal, or by the first failure, with its reason. */
  readonly signal: AbortSignal;
  /** How many are at work. */
  readonly working: number;
  /** Starts work at once. */
  start(work: (signal: AbortSignal) => Promise<void>): void;
  /** Waits until fewer than so many are at work. */
  fewerThan(count: number): Promise<void>;
  /** Counts as a failure of the work. */
  fail(error: unknown): void;
  /** Lets work come to its end, with a failure if there is one to tell. @throws the first failure, or the signal's reason */
  end(): Promise<void>;
}

export function openCrew(signal: AbortSignal): Crew {
  signal.throwIfAborted();
  // Not AbortSignal.any: a signal that lives as long as the process keeps what was derived from it (nodejs/node#64476).
  const inner = new AbortController();
  const onAbort = () => inner.abort(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });

  let running = 0;
  let onEnd: (() => void) | undefined;
  const fewerThan = (limit: number) =>
    new Promise<void>((resolve) => {
      onEnd = () => {
        if (running < limit) resolve();
      };
      onEnd();
    });
  const run = async (work: (signal: AbortSignal) => Promise<void>) => {
    running++;
    try {
      await work(inner.signal);
    } catch (error) {
      inner.abort(error);
    } finally {
      running--;
      onEnd?.();
    }
  };
  return {
    signal: inner.signal,
    get working() {
      return running;
    },
    start: (work) => void run(work),
    fewerThan,
    fail: (error) => inner.abort(error),
    async end() {
      await fewerThan(1);
      signal.removeEventListener("abort", onAbort);
      // The first abort's reason stays: it is the first failure.
      inner.signal.throwIfAborted();
    },
  };
}

/**
 * Calls `worker` for each item, at most `max` at once, and never takes more items than that ahead of the work. The first
 * failure aborts the other workers' signal and is thrown once all have ended: nothing runs on behind the caller's back.
 *
 * Items that wait for a {@link Limiter} inside the worker must not hold one of its turns already.
 *
 * @throws the first failure, or the signal's reason
 */
export async function forEachConcurrent<Item>(
  items: AsyncIterable<Item> | Iterable<Item>,
  max: number,
  worker: (item: Item, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const crew = openCrew(signal);
  try {
    for await (const item of items) {
      if (crew.signal.aborted) break;
      crew.start((inner) => worker(item, inner));
      if (crew.working >= max) await crew.fewerThan(max);
      if (crew.signal.aborted) break;
    }
  } catch (error) {
    crew.fail(error);
  }
  await crew.end();
}
