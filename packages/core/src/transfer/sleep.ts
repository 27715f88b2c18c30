/** Longest delay a Node timer takes; beyond it, a timer fires at once. */
export const LONGEST_TIMER = 2 ** 31 - 1;

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
    const timer = setTimeout(
      () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      },
      Math.min(milliseconds, LONGEST_TIMER),
    );
    signal.addEventListener("abort", onAbort, { once: true });
  });
}
