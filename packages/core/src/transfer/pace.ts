/**
 * Where short file system calls are made: here and now while the volume answers at once, in the thread pool when it does not.
 *
 * A hop to the pool and back costs more than creating a small file in memory: of a first sync of 20,000 small files, half the
 * processor time. On a slow volume (NFS, a disk that waits for its journal) calls side by side in the pool win instead.
 */
export interface Pace {
  /** @param here makes the call synchronously, @param pooled in the thread pool */
  run<Result>(here: () => Result, pooled: () => Promise<Result>): Result | Promise<Result>;
}

/** Calls that are judged together: some 250 files, so that one hiccup decides nothing. */
const WINDOW = 1000;
/** Milliseconds a call may take on average to be made here. */
const QUICK = 0.3;

export function createPace(): Pace {
  let quick = true;
  let calls = 0;
  let spent = 0;
  return {
    run(here, pooled) {
      if (!quick) return pooled();
      const began = performance.now();
      try {
        return here();
      } finally {
        spent += performance.now() - began;
        if (++calls === WINDOW) {
          quick = spent < WINDOW * QUICK;
          calls = 0;
          spent = 0;
        }
      }
    },
  };
}
