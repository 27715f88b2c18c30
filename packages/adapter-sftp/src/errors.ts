/** Errors of ssh2 and of SFTP servers in the words of the contract. Causes are left out where they could hold a secret. */
import { quotePath, SourceError } from "@pannier/core";

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
export interface Failure {
  /** The first bytes that the server sent. */
  readonly greeting: string;
  /** What there was to sign in with, by ssh's names. */
  readonly methods: readonly string[];
  /** True until the user is signed in and SFTP has begun. */
  readonly connecting: boolean;
  readonly error: Error & { code?: unknown; level?: string | undefined };
}

function signInHint(methods: readonly string[]): string {
  const password = methods.includes("password");
  const key = methods.includes("publickey") || methods.includes("agent");
  if (!password && !key) {
    return "give a key (credentials.sshKeyFile), an ssh agent or a password (credentials.passwordFile)";
  }
  const wrong =
    password && key ? "the key and the password are" : `the ${password ? "password" : "key"} is`;
  return `the user, or ${wrong} wrong: the server takes other ones`;
}

export function connectionError({ greeting, connecting, methods, error }: Failure): SourceError {
  if (error instanceof SourceError) return error;
  const { code, level, message } = error;
  const make = (text: string, hint?: string, transient = true) =>
    new SourceError("unavailable", text, { hint, transient, cause: error });
  if (code === "ENOTFOUND") return make("the host name is not known", "check the host in the URL");
  if (code === "EAI_AGAIN") return make("the host name cannot be resolved at the moment");
  if (code === "ECONNREFUSED") {
    return make("the connection was refused", "check the host and the port");
  }
  if (level === "client-authentication") {
    return new SourceError("auth", "the server did not let us sign in", {
      reached: "answered",
      hint: signInHint(methods),
    });
  }
  if (connecting && greeting !== "" && !/^SSH-/m.test(greeting)) {
    return make("the server does not speak ssh", "check the port in the URL", false);
  }
  if (level === "handshake" && /no matching/i.test(message)) {
    return make(
      "the server and we have no way of encryption in common",
      "the server's ssh is very old, or set up very strictly",
      false,
    );
  }
  if (code === "ETIMEDOUT") {
    return make(connecting ? "the server did not answer in time" : "the server stopped answering");
  }
  if (connecting && /subsystem|channel open/i.test(message)) {
    return new SourceError("unsupported", "the server has no SFTP", {
      hint: "let its sshd have a Subsystem sftp",
      cause: error,
    });
  }
  return make(`the connection broke${typeof code === "string" ? ` (${code})` : ""}`);
}
