/** Errors of the file system in the words of the contract. */
import { quotePath, SourceError } from "@pannier/core/adapter";

/** What a network mount or a failing disk says: the file may be there, but cannot be had now. */
const UNAVAILABLE = new Set([
  "EIO",
  "ESTALE",
  "ENOTCONN",
  "ETIMEDOUT",
  "EHOSTDOWN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ECONNRESET",
  "ECONNABORTED",
  "ECONNREFUSED",
  "EREMOTEIO",
  "ENODEV",
  "ENXIO",
  "ESHUTDOWN",
  "EAGAIN",
  "EBUSY",
  "EINTR",
  "ENOMEM",
]);

export function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/** True where a name on the way does not exist, or is no directory (any more). */
export function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

/**
 * Translates what the file system threw; anything else (an abort, an error of ours) is returned as it is.
 *
 * @param path relative to the source's root; empty for the root itself
 */
export function translate(error: unknown, path: string): unknown {
  const code = errorCode(error);
  if (!(error instanceof Error) || error instanceof SourceError || code === undefined) return error;
  const what = path === "" ? "the source's path" : quotePath(path);
  const init = { cause: error };
  if (isMissing(error)) {
    return new SourceError("not-found", `${what} does not exist`, {
      ...init,
      hint: "check the path, and that what it lies on is mounted",
    });
  }
  if (code === "EACCES" || code === "EPERM") {
    return new SourceError("auth", `no permission to read ${what} (${code})`, {
      ...init,
      hint: "let the user that Pannier runs as read it, and search the directories above",
    });
  }
  if (code === "EMFILE" || code === "ENFILE") {
    return new SourceError("unavailable", `too many open files to read ${what} (${code})`, {
      ...init,
      hint: "raise the limit of open files (ulimit -n)",
    });
  }
  if (UNAVAILABLE.has(code)) {
    return new SourceError("unavailable", `${what} cannot be read now (${code})`, init);
  }
  return new SourceError("invalid", `${what} cannot be read (${code})`, init);
}
