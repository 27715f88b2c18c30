/** Replies of FTP servers and failures of connections in the words of the contract. The server's own words are not repeated: they may be anything. */
import { quotePath, SourceError, UsageError } from "@pannier/core/adapter";
import { connectionError } from "@pannier/http-client";

const ENCRYPT = /encrypt|\bTLS\b|\bSSL\b|secure/i;

/** A reply of 400 and above. */
export interface Refusal {
  readonly code: number;
  readonly message: string;
  /** Whether nobody was named to sign in as. */
  readonly isAnonymous: boolean;
}

export function refusalOf(error: unknown): Refusal | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, message } = error as Error & { code?: unknown };
  // basic-ftp's error has the name of its class, which a bundle makes shorter. Codes of other errors are words, or small numbers.
  if (typeof code !== "number" || code < 400) return undefined;
  return { code, message, isAnonymous: anonymous.has(error) };
}

const anonymous = new WeakSet<Error>();

/** Notes that a refusal was met by somebody without a name. */
export function markAnonymous(error: unknown): void {
  if (error instanceof Error) anonymous.add(error);
}

/** Whether a server says, in the words of the common ones, that it takes no more connections. */
export function isTooMany(error: unknown): boolean {
  const refusal = refusalOf(error);
  if (refusal === undefined) return false;
  return (
    (refusal.code === 421 || refusal.code === 530) &&
    /too many|maximum|limit|\bmax\b|sorry/i.test(refusal.message)
  );
}

/** What is said already in the words of the contract. */
function isOurs(error: Error): boolean {
  return error instanceof SourceError || error instanceof UsageError;
}

/**
 * @param path relative to the source's root; empty for the root itself
 */
export function translate(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || isOurs(error)) return error;
  const refusal = refusalOf(error);
  if (refusal === undefined) return broken(error);
  const what = path === "" ? "the source's path" : quotePath(path);
  const { code, message } = refusal;
  if (code === 421 || code === 425 || code === 426) return unavailable(code);
  if (/permission|denied|not permitted|forbidden/i.test(message)) {
    return new SourceError(
      "auth",
      `no permission to read ${what} (the server's reply is ${code})`,
      {
        reached: "signed-in",
        hint: "let the user who is signed in read it",
      },
    );
  }
  if (code === 550 || code === 553) {
    return new SourceError(
      "not-found",
      `${what} does not exist, or may not be read (the server's reply is ${code})`,
      {
        hint: "check the path in the URL: it begins at the user's login directory, and /%2F at the server's root",
      },
    );
  }
  if (code >= 500 && code < 510) {
    return new SourceError(
      "unsupported",
      `the server cannot do what reading ${what} needs (its reply is ${code})`,
    );
  }
  if (code === 530) return signInError(refusal);
  return new SourceError(
    "unavailable",
    `${what} cannot be read now (the server's reply is ${code})`,
  );
}

/** What went wrong before there was anything to read. */
export function translateConnect(error: unknown): unknown {
  if (!(error instanceof Error) || isOurs(error)) return error;
  const refusal = refusalOf(error);
  if (refusal === undefined) return broken(error);
  const { code, message } = refusal;
  if (isTooMany(error)) {
    return new SourceError(
      "throttled",
      `the server accepts no more connections (its reply is ${code})`,
      {
        hint: "other clients use them: wait, or let the server allow more",
      },
    );
  }
  const signIn = [530, 430, 331, 332].includes(code) || ENCRYPT.test(message);
  return signIn ? signInError(refusal) : unavailable(code);
}

function signInError({ code, message, isAnonymous }: Refusal): SourceError {
  return new SourceError("auth", `the server did not let us sign in (its reply is ${code})`, {
    reached: "answered",
    hint: ENCRYPT.test(message)
      ? "it wants an encrypted connection: add ?tls=explicit to the URL"
      : isAnonymous
        ? "give a user and a password: in ~/.netrc, or credentials.username and credentials.passwordFile"
        : "the user or the password is wrong, or it lets this user in by no password",
  });
}

function unavailable(code: number): SourceError {
  return new SourceError("unavailable", `the server is not available (its reply is ${code})`);
}

/** basic-ftp tells timeouts and ends by its words only. */
function broken(error: Error & { code?: unknown }): SourceError {
  if (/^Timeout|timeout/.test(error.message)) {
    return new SourceError("unavailable", "the server stopped answering", { cause: error });
  }
  if (/FIN packet|closed connection|Client is closed|User closed/.test(error.message)) {
    return new SourceError("unavailable", "the server closed the connection", { cause: error });
  }
  return connectionError(error);
}
