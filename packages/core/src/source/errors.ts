import { type ErrorInit, PannierError } from "../errors.ts";

/** Why a source failed, in words that every adapter translates its SDK's errors into. */
export type SourceErrorCode =
  /** Signing in failed, or what was signed in with may not do this. */
  | "auth"
  /** The source, its ref, bucket, path or this version of an entry does not exist. */
  | "not-found"
  /** It cannot be reached, answers with a server error, stalls, or its mount is gone. */
  | "unavailable"
  /** It asks for fewer requests. */
  | "throttled"
  /** The entry changed since it was listed. */
  | "changed"
  /** It answered with something that must not be used: a wrong checksum, a broken archive, an unsafe entry. */
  | "invalid"
  /** It cannot do what is asked of it, and never will. */
  | "unsupported";

/** A source that is gone ends the program as one that cannot be reached does not: scripts tell them apart. */
const EXIT_CODES: Readonly<Record<SourceErrorCode, number>> = {
  auth: 3,
  "not-found": 4,
  unavailable: 5,
  throttled: 5,
  changed: 5,
  invalid: 6,
  unsupported: 2,
};

export interface SourceErrorInit extends ErrorInit {
  /** Overrides whether trying again can help. Default: true for `unavailable` and `throttled`. `changed` is handled by listing again, not by reading again. */
  readonly transient?: boolean | undefined;
  /** Milliseconds to wait before the next try, where the server said so. */
  readonly retryAfter?: number | undefined;
  /**
   * How far the source got before: `answered` where the server was heard, `signed-in` where it let us in as well, and says no
   * to what was asked. Left out where that is not known, or where no server was asked.
   */
  readonly reached?: Reached | undefined;
}

export type Reached = "answered" | "signed-in";

/** What a {@link Source} throws. The message says what failed, without secrets, and does not repeat the source's URL: the engine adds it. */
export class SourceError extends PannierError {
  protected static override readonly kind: string = "SourceError";
  override readonly name = "SourceError";
  readonly code: SourceErrorCode;
  readonly exitCode: number;
  readonly transient: boolean;
  readonly retryAfter: number | undefined;
  readonly reached: Reached | undefined;

  constructor(code: SourceErrorCode, message: string, init: SourceErrorInit = {}) {
    super(message, init);
    this.code = code;
    this.exitCode = EXIT_CODES[code];
    this.transient = init.transient ?? (code === "unavailable" || code === "throttled");
    this.retryAfter = init.retryAfter;
    this.reached = init.reached;
  }
}

/** A mistake in how Pannier was called: a URL, an option, a setting, a target. */
export class UsageError extends PannierError {
  protected static override readonly kind: string = "UsageError";
  override readonly name = "UsageError";
  readonly code = "usage";
  readonly exitCode = 2;

  constructor(message: string, hint?: string, options?: ErrorOptions) {
    super(message, { ...options, hint });
  }
}
