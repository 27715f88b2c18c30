/** How far fetching is, told by the clock and not by what arrives: a source that stalls is told of too. */
import type { Mount } from "../mount/mount.ts";

/** Milliseconds between two events that tell how far something is. */
export const PROGRESS_INTERVAL = 100;

export interface Progress {
  /** Counts bytes that came. @throws what a listener threw since */
  received(bytes: number): void;
  /** Counts a file that is there. */
  fetched(): void;
  start(): void;
  stop(): void;
  /** Tells the last of it. @throws what a listener threw */
  finish(): void;
}

/** @param elsewhere bytes that came in other threads since it was last asked */
export function createProgress(
  { emit, counters }: Mount,
  totals: { readonly files: number; readonly bytes: number },
  elsewhere: () => number,
): Progress {
  let files = 0;
  let bytes = 0;
  let hasNews = true;
  let timer: NodeJS.Timeout | undefined;
  /** What a listener threw, in a timer, where nobody would catch it. */
  let failure: { readonly error: unknown } | undefined;

  function received(count: number): void {
    if (failure !== undefined) throw failure.error;
    counters.received += count;
    bytes += count;
    hasNews = true;
  }

  function tell(): void {
    const count = elsewhere();
    if (count > 0) received(count);
    if (!hasNews) return;
    hasNews = false;
    emit({
      type: "progress",
      files,
      bytes,
      totalFiles: Math.max(totals.files, files),
      totalBytes: Math.max(totals.bytes, bytes),
    });
  }

  return {
    received,
    fetched() {
      files++;
      hasNews = true;
    },
    start() {
      timer = setInterval(() => {
        try {
          tell();
        } catch (error) {
          failure ??= { error };
        }
      }, PROGRESS_INTERVAL);
    },
    stop: () => clearInterval(timer),
    finish() {
      if (failure !== undefined) throw failure.error;
      tell();
    },
  };
}
