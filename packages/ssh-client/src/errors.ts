/** Errors of ssh2 in the words of the contract. Causes are left out where they could hold a secret. */
import { SourceError } from "@pannier/core/lane";

/** What became of a connection that could not be made, or broke. */
export interface Failure {
  /** The first bytes that the server sent. */
  readonly greeting: string;
  /** What there was to sign in with, by ssh's names. */
  readonly methods: readonly string[];
  /** True until the user is signed in and the session has begun. */
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

export function sshError({ greeting, connecting, methods, error }: Failure): SourceError {
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
  return make(`the connection broke${typeof code === "string" ? ` (${code})` : ""}`);
}
