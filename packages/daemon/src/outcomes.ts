/** Callers that wait for how the next attempt ends. */
import type { SyncResult } from "@pannier/core";

/** How an attempt ended. */
export type Outcome =
  | { readonly result: SyncResult }
  | { readonly error: Error }
  /** The mount was taken away, or the process is to end. */
  | { readonly stopped: true };

export interface Outcomes {
  /** How the next attempt ends that begins from now on. */
  next(): Promise<Outcome>;
  /** An attempt begins: those that wait by now wait for it. */
  begun(): void;
  /** The attempt under way ended. */
  ended(outcome: Outcome): void;
  /** No other attempt will begin. */
  stop(): void;
}

export function createOutcomes(): Outcomes {
  let waiting: ((outcome: Outcome) => void)[] = [];
  /** Those that wait for the attempt under way. */
  let underway: ((outcome: Outcome) => void)[] = [];
  let isStopped = false;
  return {
    next: () =>
      new Promise((resolve) => {
        if (isStopped) resolve({ stopped: true });
        else waiting.push(resolve);
      }),
    begun() {
      underway.push(...waiting);
      waiting = [];
    },
    ended(outcome) {
      for (const resolve of underway) resolve(outcome);
      underway = [];
    },
    stop() {
      isStopped = true;
      for (const resolve of [...underway, ...waiting]) resolve({ stopped: true });
      underway = [];
      waiting = [];
    },
  };
}
