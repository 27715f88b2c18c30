/** The base of all errors, and what the engine itself throws. A source's failures are `SourceError`s, a caller's mistakes `UsageError`s. */
import { constants } from "node:os";

/** Words for kinds of failure. They never change: programs may rely on them. */
export type ErrorCode =
  | "auth"
  | "not-found"
  | "unavailable"
  | "throttled"
  | "changed"
  | "invalid"
  | "unsupported"
  | "usage"
  | "target"
  | "permission"
  | "refused"
  | "no-room"
  | "hook"
  | "post-publish"
  | "timeout"
  | "bug";

export interface ErrorInit extends ErrorOptions {
  /** What the user can do about it: one sentence. It names settings as the library has them, such as `credentials.passwordFile`. */
  readonly hint?: string | undefined;
}

/** A class may be there twice, since an adapter may bring a core of its own: its instances carry this, whichever copy they are of. */
const BRAND = Symbol.for("pannier.error");

/** What every error of Pannier and its adapters is. Anything else that is thrown is a fault of a program or of the system. */
export abstract class PannierError extends Error {
  /**
   * What the class is called in each copy of the core, however it is bundled. A class that is not named so is known by itself alone, as
   * any other.
   */
  protected static readonly kind: string = "PannierError";

  /** `instanceof` goes by the kind, so that what decides by it decides alike for errors of another copy. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    if (!Object.hasOwn(this, "kind"))
      return Function.prototype[Symbol.hasInstance].call(this, value);
    return isPannierError(value) && kindsOf(value).has(this.kind);
  }

  /** The kind of failure. */
  abstract readonly code: ErrorCode;
  /** What the program ends with because of it: 1 to 9, see docs/operations.md. */
  abstract readonly exitCode: number;
  /** What the user can do about it: one sentence. */
  readonly hint: string | undefined;

  constructor(message: string, init: ErrorInit = {}) {
    super(message, init.cause === undefined ? undefined : { cause: init.cause });
    this.hint = init.hint;
  }

  get [BRAND](): true {
    return true;
  }
}

/** Whether it is one of Pannier's, of this copy of the core or of another. */
export function isPannierError(error: unknown): error is PannierError {
  return error instanceof Error && BRAND in error;
}

/** Of the error's class and of all that it extends. */
function kindsOf(error: Error): ReadonlySet<string> {
  const kinds = new Set<string>();
  let at = Object.getPrototypeOf(error) as object | null;
  for (; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const { kind } = at.constructor as { readonly kind?: unknown };
    if (typeof kind === "string") kinds.add(kind);
  }
  return kinds;
}

/** Of a quota that is used up. libuv has no name for it, so that Node's `code` is "Unknown system error -122". */
const EDQUOT = constants.errno.EDQUOT;

/** Whether the file system says that the volume is full (ENOSPC) or its quota used up (EDQUOT). */
export function saysFull(error: unknown): "ENOSPC" | "EDQUOT" | undefined {
  const { code, errno } = (error ?? {}) as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT") return code;
  return errno === -EDQUOT ? "EDQUOT" : undefined;
}

/** Errors of the system that have a meaning of their own, by their `code` or name. */
const OF_SYSTEM: Readonly<Record<string, readonly [code: ErrorCode, exitCode: number]>> = {
  EACCES: ["permission", 3],
  EPERM: ["permission", 3],
  EROFS: ["permission", 3],
  TimeoutError: ["timeout", 5],
};

/** The kind of anything that was thrown, and the exit code for it. */
export function classify(error: Error): readonly [code: ErrorCode, exitCode: number] {
  if (isPannierError(error)) return [error.code, error.exitCode];
  if (saysFull(error) !== undefined) return ["no-room", 7];
  const { code, name } = error as NodeJS.ErrnoException;
  const key = [code ?? "", name].find((one) => Object.hasOwn(OF_SYSTEM, one)) ?? "";
  return OF_SYSTEM[key] ?? ["bug", 1];
}

/** The volume has no room: disk, quota or `maxBytes`. */
export class NoRoomError extends PannierError {
  protected static override readonly kind: string = "NoRoomError";
  override readonly name = "NoRoomError";
  readonly code = "no-room";
  readonly exitCode = 7;
}

/** The content was fetched or planned and must not be published: the delete guard, a limit, a symlink that leaves the tree. */
export class RefusedError extends PannierError {
  protected static override readonly kind: string = "RefusedError";
  override readonly name = "RefusedError";
  readonly code = "refused";
  readonly exitCode = 6;
}

/** A pre-publish hook said no. */
export class HookError extends PannierError {
  protected static override readonly kind: string = "HookError";
  override readonly name: string = "HookError";
  readonly code = "hook";
  readonly exitCode = 8;
}

/** The target cannot be used as one: another process holds it, it is a file, it is not ours to change. */
export class TargetError extends PannierError {
  protected static override readonly kind: string = "TargetError";
  override readonly name = "TargetError";
  readonly code: "target" | "permission";
  readonly exitCode: number;
  /** True where the file system said no (EACCES, EPERM, EROFS). */
  readonly permission: boolean;
  /** True where another process, or another mount of this one, is at work on it, and may let go. */
  readonly busy: boolean;
  constructor(
    message: string,
    init: ErrorInit & { readonly permission?: boolean; readonly busy?: boolean } = {},
  ) {
    super(message, init);
    this.permission = init.permission ?? false;
    this.busy = init.busy ?? false;
    this.code = this.permission ? "permission" : "target";
    this.exitCode = this.permission ? 3 : 2;
  }
}

/** A failure of one of the mount's sources, with the source named. `cause` is what it threw, as a rule a `SourceError`; code, exit code and hint are its own. */
export class MountSourceError extends PannierError {
  protected static override readonly kind: string = "MountSourceError";
  override readonly name = "MountSourceError";
  readonly code: ErrorCode;
  readonly exitCode: number;
  /** Position in the mount's sources. */
  readonly source: number;
  /** The source, redacted. */
  readonly url: string;
  constructor(source: number, url: string, cause: Error) {
    super(cause.message, { cause, hint: (cause as Partial<PannierError>).hint });
    this.source = source;
    this.url = url;
    [this.code, this.exitCode] = classify(cause);
  }
}

/** Thrown by one part of Pannier and caught by another. One that gets out is a bug. */
export abstract class InternalError extends PannierError {
  readonly code = "bug";
  readonly exitCode = 1;
}
