/** A ceiling on received bytes per second, shared by all reads that are given it. */
import { sleep } from "../timing/sleep.ts";

/** Unused time that may be made up for, in milliseconds: smooths what comes in chunks, without letting a burst be seen. */
const CREDIT = 100;

export interface Bandwidth {
  /** Waits until `bytes`, which were just received, fit the rate. Reading on only then makes the sender slow down. */
  take(bytes: number, signal: AbortSignal): Promise<void>;
}

/**
 * A token bucket, kept as the instant at which all that was taken is paid for: what comes later queues behind it, so the
 * order is fair, and an aborted wait gives nothing back, since its bytes did arrive.
 */
export function createBandwidth(bytesPerSecond: number): Bandwidth {
  let paidAt = -Infinity;
  return {
    async take(bytes, signal) {
      const now = performance.now();
      paidAt = Math.max(paidAt, now - CREDIT) + (bytes / bytesPerSecond) * 1000;
      const wait = paidAt - now;
      // A timer takes a millisecond at least; less is left to the next chunk to pay.
      if (wait >= 1) await sleep(wait, signal);
    },
  };
}
