/** How many mounts are at work at once. Not the engine's limiter, which gives way where a source asks for it; and this limit can be changed. */
export interface Semaphore {
  limit: number;
  /** Runs `work` when its turn comes, first come first served. Rejects with the signal's reason when aborted while waiting. */
  run(work: () => Promise<void>, signal: AbortSignal): Promise<void>;
}

export function createSemaphore(limit = 1): Semaphore {
  const waiting = new Set<() => void>();
  let running = 0;
  const next = () => {
    for (const start of waiting) {
      if (running >= semaphore.limit) return;
      waiting.delete(start);
      running++;
      start();
    }
  };
  const turn = (signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      const onAbort = () => {
        waiting.delete(start);
        reject(signal.reason as Error);
      };
      const start = () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      signal.addEventListener("abort", onAbort, { once: true });
      waiting.add(start);
      next();
    });
  const semaphore: Semaphore = {
    get limit() {
      return limit;
    },
    set limit(to) {
      limit = to;
      next();
    },
    async run(work, signal) {
      signal.throwIfAborted();
      await turn(signal);
      try {
        await work();
      } finally {
        running--;
        next();
      }
    },
  };
  return semaphore;
}
