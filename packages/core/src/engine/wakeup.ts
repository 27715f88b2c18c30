/** Waits that somebody may end. */
import { sleep } from "../timing/sleep.ts";

export interface Bell {
  /** Ends the wait that is under way; during a sync, the next one. */
  ring(): void;
  wait(milliseconds: number, signal: AbortSignal): Promise<void>;
  /** Does something useful that ends when the bell rings. */
  during(work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void>;
}

/** Hints that come together are answered together. */
const SETTLE = 50;

export function makeBell(): Bell {
  let rung = false;
  let wake: (() => void) | undefined;
  /** A signal that is aborted by the bell as well. Not AbortSignal.any, see run.ts. */
  async function during(
    work: (signal: AbortSignal) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const waking = new AbortController();
    const onAbort = () => waking.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    wake = onAbort;
    if (rung || signal.aborted) waking.abort();
    try {
      await work(waking.signal);
    } finally {
      wake = undefined;
      signal.removeEventListener("abort", onAbort);
    }
  }
  return {
    during,
    ring() {
      rung = true;
      wake?.();
    },
    async wait(milliseconds, signal) {
      await during((waking) => sleep(milliseconds, waking).catch(() => {}), signal);
      signal.throwIfAborted();
      if (rung) await sleep(SETTLE, signal);
      rung = false;
    },
  };
}
