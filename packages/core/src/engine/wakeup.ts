/** Waits between syncs, which a hint or a caller may end. */
import { sleep } from "../timing/sleep.ts";

export interface Wakeup {
  /**
   * Ends the wait that is under way; during a sync, the next one.
   *
   * @param gathered true where others that come together with it were waited for already. Default false.
   */
  wake(gathered?: boolean): void;
  wait(milliseconds: number, signal: AbortSignal): Promise<void>;
  /** Does something useful that ends when it is woken. */
  during(work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void>;
}

/** Hints that come together are answered together. */
const HINT_PAUSE_MS = 50;

export function createWakeup(): Wakeup {
  let woken = false;
  let pause = 0;
  let wakeNow: (() => void) | undefined;
  /** Not AbortSignal.any, see sync-timeout.ts. */
  async function during(
    work: (signal: AbortSignal) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const waking = new AbortController();
    const onAbort = () => waking.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    wakeNow = onAbort;
    if (woken || signal.aborted) waking.abort();
    try {
      await work(waking.signal);
    } finally {
      wakeNow = undefined;
      signal.removeEventListener("abort", onAbort);
    }
  }
  return {
    during,
    wake(gathered = false) {
      woken = true;
      if (!gathered) pause = HINT_PAUSE_MS;
      wakeNow?.();
    },
    async wait(milliseconds, signal) {
      await during((waking) => sleep(milliseconds, waking).catch(() => {}), signal);
      signal.throwIfAborted();
      if (pause > 0) await sleep(pause, signal);
      woken = false;
      pause = 0;
    },
  };
}
