/** Attempts that published nothing although they should have: kept in memory, a few of each mount, for the history. */
import type { Failure } from "@pannier/core";

/** A moment by both clocks: one to show, one to reckon with. */
export interface Moment {
  /** Milliseconds since the epoch. */
  readonly wall: number;
  /** `performance.now()`. */
  readonly at: number;
}

export interface Attempt {
  /**
   * - `failed`: a source could not be read, or the target not be written.
   * - `refused`: the content was not allowed, by a guard, a signature or a hook.
   * - `held`: the sources have what somebody rolled back from.
   */
  readonly kind: "failed" | "refused" | "held";
  readonly first: Moment;
  readonly last: Moment;
  /** How often in a row. */
  readonly count: number;
  /** None for `held`. */
  readonly failure: Failure | undefined;
}

/** Kept of each mount; the oldest go first. */
const ATTEMPTS = 20;
/** Characters kept of a message: a hook's output may be longer. */
const MESSAGE = 4000;

const REFUSALS: ReadonlySet<string> = new Set(["refused", "hook"]);

/**
 * Adds one to those known, the newest first. The same as the newest counts up, if nothing succeeded in between.
 *
 * @param goesOn whether the attempt before it ended in the same way
 */
export function noteAttempt(
  known: readonly Attempt[],
  failure: Failure | undefined,
  at: Moment,
  goesOn: boolean,
): readonly Attempt[] {
  const kind = kindOf(failure);
  const [newest] = known;
  const short = failure && { ...failure, message: clip(failure.message) };
  if (
    goesOn &&
    newest?.kind === kind &&
    newest.failure?.message === short?.message &&
    newest.failure?.source === short?.source
  )
    return [{ ...newest, last: at, count: newest.count + 1 }, ...known.slice(1)];
  return [{ kind, first: at, last: at, count: 1, failure: short }, ...known].slice(0, ATTEMPTS);
}

function kindOf(failure: Failure | undefined): Attempt["kind"] {
  if (failure === undefined) return "held";
  return REFUSALS.has(failure.code) ? "refused" : "failed";
}

function clip(message: string): string {
  return message.length > MESSAGE ? `${message.slice(0, MESSAGE - 1)}…` : message;
}
