/** Trying again: the only place where a failed request to a source is repeated. */
import { SourceError } from "../source/errors.ts";
import { doubling } from "../timing/backoff.ts";
import { sleep } from "../timing/sleep.ts";

const BASE_DELAY = 200;
const LONGEST_DELAY = 20_000;
/** However long a server asks to wait, the user should sooner learn that it does. */
const LONGEST_RETRY_AFTER = 5 * 60_000;

export interface RetryOptions {
  /** Tries in all; 1 means none is repeated. */
  readonly attempts: number;
  readonly signal: AbortSignal;
  /** Told of each failure that is followed by another try, after `delay` milliseconds. `attempt` counts from 1. */
  readonly onRetry?: ((error: SourceError, attempt: number, delay: number) => void) | undefined;
}

/**
 * Runs `work` until it succeeds, fails for good, or has failed `attempts` times. Only a transient {@link SourceError} is
 * tried again: anything else might be a bug, and repeating a bug hides it. Waits are exponential with full jitter
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), so that many clients of a server that comes
 * back do not come back together.
 *
 * @param work gets the number of the attempt, from 1
 * @throws the last error, with the attempts noted where there were several; the signal's reason once aborted
 */
export async function retry<Result>(
  work: (attempt: number) => Promise<Result>,
  options: RetryOptions,
): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    options.signal.throwIfAborted();
    try {
      return await work(attempt);
    } catch (error) {
      // What interrupted work says of its end is of no interest.
      options.signal.throwIfAborted();
      if (!(error instanceof SourceError) || !error.transient) throw error;
      if (attempt >= options.attempts) throw withAttempts(error, attempt);
      const delay = delayBefore(attempt + 1, error.retryAfter);
      options.onRetry?.(error, attempt, delay);
      await sleep(delay, options.signal);
    }
  }
}

function delayBefore(attempt: number, retryAfter: number | undefined): number {
  const jitter = Math.random() * doubling(attempt - 1, BASE_DELAY, LONGEST_DELAY);
  // What the server asks for is the least; the jitter on top spreads those whom it told the same.
  return retryAfter === undefined ? jitter : Math.min(retryAfter, LONGEST_RETRY_AFTER) + jitter;
}

/** The error is not changed in place: several readers may have been given the same one. */
function withAttempts(error: SourceError, attempts: number): SourceError {
  const asked = error.retryAfter ?? 0;
  if (attempts === 1 && asked <= LONGEST_RETRY_AFTER) return error;
  const noted = new SourceError(
    error.code,
    attempts === 1 ? error.message : `${error.message} (after ${attempts} attempts)`,
    {
      transient: error.transient,
      retryAfter: error.retryAfter,
      reached: error.reached,
      hint:
        asked > LONGEST_RETRY_AFTER
          ? `the server asks to wait ${Math.ceil(asked / 60_000)} minutes`
          : error.hint,
      cause: error.cause,
    },
  );
  if (error.stack !== undefined) noted.stack = error.stack;
  return noted;
}
