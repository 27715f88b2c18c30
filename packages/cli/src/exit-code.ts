/** From an error to what the user is told about it, and the exit code of the contract. */
import { saysFull, type SourceErrorCode } from "@pannier/core";
import { inVariables } from "./environment.ts";

/** A failure as `--json` prints it. */
export interface Failure {
  /** A fixed word: the code of a source's error, or `usage`, `target`, `refused`, `no-room`, `hook`, `post-publish`, `timeout`, `bug`. */
  readonly code: string;
  readonly exitCode: number;
  readonly message: string;
  readonly hint?: string | undefined;
  /** The source that failed, redacted. */
  readonly source?: string | undefined;
}

const OF_SOURCE: Readonly<Record<SourceErrorCode, number>> = {
  auth: 3,
  "not-found": 4,
  unavailable: 5,
  throttled: 5,
  changed: 5,
  invalid: 6,
  unsupported: 2,
};

const OF_ENGINE: Readonly<Record<string, readonly [code: string, exitCode: number]>> = {
  UsageError: ["usage", 2],
  TargetError: ["target", 2],
  RefusedError: ["refused", 6],
  NoRoomError: ["no-room", 7],
  HookError: ["hook", 8],
  PostPublishError: ["post-publish", 9],
  TimeoutError: ["timeout", 5],
};

const OF_SYSTEM: Readonly<Record<string, readonly [code: string, exitCode: number]>> = {
  EACCES: ["permission", 3],
  EPERM: ["permission", 3],
  EROFS: ["permission", 3],
};

/** An error that `--json` has told of already. */
export class ReportedError extends Error {
  override readonly cause: unknown;
  constructor(cause: unknown) {
    super("reported");
    this.cause = cause;
  }
}

/**
 * Errors are told apart by name: a third-party adapter may bring its own copy of `@pannier/core`, whose classes are not ours.
 */
export function toFailure(thrown: unknown, source?: string): Failure {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  const { hint, code, permission, url } = error as Error & {
    hint?: string;
    code?: string;
    permission?: boolean;
    url?: string;
  };
  if (error.name === "MountSourceError" && error.cause !== undefined)
    return toFailure(error.cause, url);
  const told = {
    message: inVariables(error.message),
    hint: hint === undefined ? undefined : inVariables(hint),
    source,
  };
  if (error.name === "SourceError" && code !== undefined && Object.hasOwn(OF_SOURCE, code))
    return { code, exitCode: OF_SOURCE[code as SourceErrorCode], ...told };
  if (error.name === "TargetError" && permission === true)
    return { code: "permission", exitCode: 3, ...told };
  const known =
    (saysFull(error) === undefined ? OF_ENGINE[error.name] : OF_ENGINE["NoRoomError"]) ??
    (code !== undefined && Object.hasOwn(OF_SYSTEM, code) ? OF_SYSTEM[code] : undefined);
  if (known !== undefined) return { code: known[0], exitCode: known[1], ...told };
  return { code: "bug", exitCode: 1, ...told };
}

/**
 * A failure in one line, without the name of the program.
 *
 * @param doing what was tried, as in `cannot sync`
 */
export function failureLine(failure: Failure, doing: string): string {
  const where = failure.source === undefined ? "" : `cannot ${doing} ${failure.source}: `;
  const { hint } = failure;
  const advice =
    hint === undefined || hint === "" ? "" : `. ${hint.charAt(0).toUpperCase()}${hint.slice(1)}`;
  return oneLine(`${where}${failure.message.replace(/\.$/, "")}${advice}`);
}

/** Names and messages of others may hold line breaks and escape sequences: neither belongs on a terminal. */
export function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replace(/\s*[\r\n]+\s*/g, " ").replace(/[\u0000-\u001f\u007f-\u009f]/g, "\ufffd");
}
