/** What the engine itself throws. A source's failures are {@link SourceError}s, a caller's mistakes {@link UsageError}s. */
import { constants } from "node:os";

interface ErrorInit extends ErrorOptions {
  /** What the user can do about it: one sentence. */
  readonly hint?: string | undefined;
}

/** Of a quota that is used up. libuv has no name for it, so that Node's `code` is "Unknown system error -122". */
const EDQUOT = constants.errno.EDQUOT;

/** Whether the file system says that the volume is full (ENOSPC) or its quota used up (EDQUOT). */
export function saysFull(error: unknown): "ENOSPC" | "EDQUOT" | undefined {
  const { code, errno } = (error ?? {}) as NodeJS.ErrnoException;
  if (code === "ENOSPC" || code === "EDQUOT") return code;
  return errno === -EDQUOT ? "EDQUOT" : undefined;
}

abstract class HintedError extends Error {
  /** What the user can do about it. */
  readonly hint: string | undefined;
  constructor(message: string, init: ErrorInit = {}) {
    super(message, init);
    this.hint = init.hint;
  }
}

/** The volume has no room: disk, quota or `maxBytes`. Exit code 7. */
export class NoRoomError extends HintedError {
  override readonly name = "NoRoomError";
}

/** The content was fetched or planned and must not be published: the delete guard, a limit, a symlink that leaves the tree. Exit code 6. */
export class RefusedError extends HintedError {
  override readonly name = "RefusedError";
}

/** A pre-publish hook said no. Exit code 8. */
export class HookError extends HintedError {
  override readonly name = "HookError";
}

/** The target cannot be used as one: another process holds it, it is a file, it is not ours to change. Exit code 2, or 3 where `permission`. */
export class TargetError extends HintedError {
  override readonly name = "TargetError";
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
  }
}

/** A failure of one of the mount's sources, with the source named. `cause` is the {@link SourceError}. */
export class MountSourceError extends Error {
  override readonly name = "MountSourceError";
  /** Position in the mount's sources. */
  readonly source: number;
  /** The source, redacted. */
  readonly url: string;
  constructor(source: number, url: string, cause: Error) {
    super(cause.message, { cause });
    this.source = source;
    this.url = url;
  }
}
