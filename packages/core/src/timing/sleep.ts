/** Timers and waits: for a time, at most for a time, and until an abort. */

/** Longest delay a Node timer takes; beyond it, a timer fires at once. */
export const LONGEST_TIMER = 2 ** 31 - 1;

/** `setTimeout` for delays that somebody else chose: what is too long for it becomes the longest there is. */
export function startTimer(callback: () => void, milliseconds: number): NodeJS.Timeout {
  return setTimeout(callback, Math.min(milliseconds, LONGEST_TIMER));
}

/** Waits, or rejects at once with the signal's reason. Nothing keeps running after either. */
export function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = startTimer(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", onAbort, { once: true });
  });
}

/** @throws Error when the work has not ended within so many milliseconds; what becomes of it then is of no interest here */
export async function within<Result>(milliseconds: number, work: Promise<Result>): Promise<Result> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const expire = () => reject(new Error(`it did not end within ${milliseconds} ms`));
  const timer = startTimer(expire, milliseconds);
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Waits for work that does not heed a signal, or is done for others as well: rejects with the signal's reason as soon as that
 * is aborted. What becomes of the work then is of no interest here.
 *
 * @param onAborted called once, where it was given up
 */
export async function untilAborted<Result>(
  work: Promise<Result>,
  signal: AbortSignal,
  onAborted: () => void = () => {},
): Promise<Result> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => {
    reject(signal.reason);
    onAborted();
  };
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([aborted, work]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
