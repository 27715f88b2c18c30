/** Milliseconds that double from one failure to the next, up to the longest. */
export function doubling(failures: number, first: number, longest: number): number {
  // A number as large as `first * 2 ** 2000` is infinite.
  return Math.min(longest, first * 2 ** Math.min(failures - 1, 20));
}

/**
 * Milliseconds to wait after so many failures in a row. Never more than the longest, so that an outage is over at most that long after it
 * has ended; up to a fifth less, so that many that failed together do not come back together.
 */
export function backoff(failures: number, first: number, longest: number): number {
  return doubling(failures, first, longest) * (0.8 + Math.random() * 0.2);
}
