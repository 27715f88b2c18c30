/** Waits between syncs, which a hint or a caller may end. */
import { sleep } from "../timing/sleep.ts";

export interface Wakeup {
  /** Ends the wait that is under way; during a sync, the next one. */
  wake(): void;
  wait(milliseconds: number, signal: AbortSignal): Promise<void>;
  /** Does something useful that ends when it is woken. */
  during(work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void>;
}

/** Hints that come together are answered together. */
const HINT_PAUSE_MS = 50;

export function createWakeup(): Wakeup {
  let woken = false;
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
    wake() {
      woken = true;
      wakeNow?.();
    },
    async wait(milliseconds, signal) {
      await during((waking) => sleep(milliseconds, waking).catch(() => {}), signal);
      signal.throwIfAborted();
      if (woken) await sleep(HINT_PAUSE_MS, signal);
      woken = false;
    },
  };
}
