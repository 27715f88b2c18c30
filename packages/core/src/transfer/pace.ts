/** A floor under what comes: a byte now and then is a sign of life, but leads nowhere. */
import { SourceError } from "../source/errors.ts";

/** Bytes a second. Far below any link that is of use: sixteen reads share one of 1 KB/s. */
const LEAST = 64;
/** Milliseconds. */
const IDLE_TIMEOUT = 30_000;
/** In windows of so many times the idle timeout: a minute by default. */
const WINDOWS = 2;

export interface PaceOptions {
  /** Milliseconds; what comes is judged each time that twice as many were waited. Default 30,000. */
  readonly idleTimeout?: number;
  /** Bytes a second. Default 64. */
  readonly least?: number;
}

/** Of one stream. */
export interface Pace {
  /** Tells of one wait and what it brought. @throws SourceError `unavailable`, not to be tried again, where that is too little */
  came(milliseconds: number, bytes: number): void;
}

/**
 * Only the time that is spent waiting for the stream counts: who reads slowly, for a limit of bandwidth or a slow disk, waits for
 * nothing.
 *
 * @param what the message begins with: `reading "a"`
 */
export function createPace(
  what: string,
  { idleTimeout = IDLE_TIMEOUT, least = LEAST }: PaceOptions = {},
): Pace {
  const window = WINDOWS * idleTimeout;
  let waited = 0;
  let received = 0;
  return {
    came(milliseconds, bytes) {
      waited += milliseconds;
      received += bytes;
      if (waited < window) return;
      if (received * 1000 < least * waited) {
        throw new SourceError(
          "unavailable",
          `${what} is too slow: ${received} bytes came in ${Math.round(waited / 1000)} s`,
          { transient: false, hint: `less than ${least} bytes a second is taken for a fault` },
        );
      }
      waited = 0;
      received = 0;
    },
  };
}
