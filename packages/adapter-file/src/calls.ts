/**
 * How files are asked for their content: in place while they answer from memory, through the thread pool while not.
 *
 * Opening, checking and reading a small file takes some 20 µs in place and 100 µs through the pool. But a call in place to
 * a network mount holds up the whole process, for ever if the server is gone. So calls start in the pool, where they have a
 * timeout; after some answers they are made in place; and the first slow one there sends the next ones back to the pool.
 */
import { SourceError } from "@pannier/core/adapter";

/** Calls through the pool before one is tried in place, and again after a slow one. */
const WARY = 16;
/** Milliseconds above which an answer did not come from memory. */
const SLOW_CALL_MS = 0.25;

export interface Calls {
  /** Whether to use `now` (else `later`). */
  readonly fast: boolean;
  /** Makes a call in place, and notes how long it takes. */
  now<Result>(call: () => Result): Result;
  /**
   * Makes a call through the thread pool.
   *
   * @param late frees what the call may still open after it was given up
   * @throws SourceError `unavailable` after the idle timeout; the reason of the abort
   */
  later<Result>(
    call: () => Promise<Result>,
    signal: AbortSignal,
    late?: (result: Result) => void,
  ): Promise<Result>;
}

export function makeCalls(idleTimeout: number): Calls {
  let wary = WARY;
  // Calls given up that still hold a thread of the pool: no more are added to them.
  let stuck = 0;

  return {
    get fast() {
      return wary === 0;
    },

    now(call) {
      const began = performance.now();
      try {
        return call();
      } finally {
        if (performance.now() - began > SLOW_CALL_MS) wary = WARY;
      }
    },

    later<Result>(
      call: () => Promise<Result>,
      signal: AbortSignal,
      late?: (result: Result) => void,
    ): Promise<Result> {
      return new Promise((resolve, reject) => {
        signal.throwIfAborted();
        if (stuck > 0) throw noAnswer(idleTimeout);
        let state: "waiting" | "given up" | "stuck" = "waiting";
        const timer = setTimeout(() => {
          state = "stuck";
          stuck++;
          signal.removeEventListener("abort", onAbort);
          reject(noAnswer(idleTimeout));
        }, idleTimeout);
        const onAbort = () => {
          state = "given up";
          clearTimeout(timer);
          reject(signal.reason);
        };
        signal.addEventListener("abort", onAbort, { once: true });
        const finish = () => {
          clearTimeout(timer);
          signal.removeEventListener("abort", onAbort);
          if (state === "stuck") stuck--;
        };
        const succeed = (result: Result) => {
          finish();
          if (state !== "waiting") return late?.(result);
          if (wary > 0) wary--;
          resolve(result);
        };
        const fail = (error: unknown) => {
          finish();
          reject(error);
        };
        call().then(succeed, fail);
      });
    },
  };
}

/** What a file system that hangs is called. */
export function noAnswer(idleTimeout: number): SourceError {
  return new SourceError(
    "unavailable",
    `the file system has not answered for ${idleTimeout / 1000} s`,
    { hint: "if this is a network mount, see whether its server is there" },
  );
}
