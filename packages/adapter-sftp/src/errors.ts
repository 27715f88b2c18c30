/** Errors of ssh2 and of SFTP servers in the words of the contract. Causes are left out where they could hold a secret. */
import { quotePath, SourceError } from "@pannier/core/adapter";
import { type Failure, sshError } from "@pannier/ssh-client";

/** SSH_FX_*: draft-ietf-secsh-filexfer-02, 7. */
const NO_SUCH_FILE = 2;
const PERMISSION_DENIED = 3;
const FAILURE = 4;
const OP_UNSUPPORTED = 8;

function statusOf(error: unknown): number | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "number" ? code : undefined;
}

export function isMissing(error: unknown): boolean {
  return statusOf(error) === NO_SUCH_FILE;
}

/** What servers answer that have no better word, for one to look again. */
export function isVague(error: unknown): boolean {
  return statusOf(error) === FAILURE;
}

/** Whether the server answered, if only that it will not. */
export function isRefusal(error: unknown): boolean {
  return statusOf(error) !== undefined;
}

/**
 * Translates an answer of the server; anything else is returned as it is.
 *
 * @param path relative to the source's root; empty for the root itself
 */
export function translate(error: unknown, path: string): unknown {
  const status = statusOf(error);
  if (!(error instanceof Error) || error instanceof SourceError || status === undefined)
    return error;
  const what = path === "" ? "the source's path" : quotePath(path);
  if (status === NO_SUCH_FILE) {
    return new SourceError("not-found", `${what} does not exist`, {
      hint: "check the path in the URL: it is absolute, and /~/ is the user's home",
      cause: error,
    });
  }
  if (status === PERMISSION_DENIED) {
    return new SourceError("auth", `no permission to read ${what}`, {
      reached: "signed-in",
      hint: "let the user who is signed in read it, and search the directories above",
      cause: error,
    });
  }
  if (status === OP_UNSUPPORTED) {
    return new SourceError("unsupported", `the server cannot do what reading ${what} needs`, {
      cause: error,
    });
  }
  return new SourceError(
    "unavailable",
    `${what} cannot be read now (the server's status is ${status})`,
    {
      cause: error,
    },
  );
}

/** What became of a connection that could not be made, or broke. */
export function connectionError(failure: Failure): SourceError {
  const { connecting, error } = failure;
  const hasNone = connecting && /subsystem|channel open/i.test(error.message);
  if (!hasNone || error instanceof SourceError) return sshError(failure);
  return new SourceError("unsupported", "the server has no SFTP", {
    hint: "let its sshd have a Subsystem sftp",
    cause: error,
  });
}
