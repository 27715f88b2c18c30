/** Failures of libsmbclient, which are numbers of errno, and of its helper in the words of the contract. */
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { InternalError, quotePath, SourceError } from "@pannier/core/adapter";
import { tooManyNames } from "@pannier/file-server";
import type { Connection, Failure } from "./protocol.ts";

/** What the helper could not do. */
export class CallFailure extends InternalError {
  override readonly name = "CallFailure";
  readonly failed: string;

  constructor({ failed, detail = failed }: Failure) {
    super(detail);
    this.failed = failed;
  }
}

/** What a server answers. Anything else leaves the connection, and the library's idea of it, in doubt. */
const ANSWERS = [
  "ENOENT",
  "ENOTDIR",
  "EISDIR",
  "EACCES",
  "ENODEV",
  "ENXIO",
  "EBUSY",
  "ETXTBSY",
  "ENAMETOOLONG",
  "ELOOP",
  "full",
];
const MISSING = ["ENOENT", "ENODEV", "ENXIO"];
/** Of a new connection. Before Samba 4.16, EPERM is all that could not sign in, for whatever reason, also when a connection was recreated. */
const NOT_LET_IN = ["EACCES", "EPERM"];
const IN_USE = ["EBUSY", "ETXTBSY"];

/** True where the server answered, if only to say no: the helper can be asked for more. */
export function isAnswer(error: unknown): boolean {
  if (error instanceof CallFailure) return ANSWERS.includes(error.failed);
  return error instanceof SourceError && error.code !== "unavailable";
}

export function isMissing(error: unknown): boolean {
  return error instanceof CallFailure && MISSING.includes(error.failed);
}

export function isDirectory(error: unknown): boolean {
  return error instanceof CallFailure && error.failed === "EISDIR";
}

export function isNoDirectory(error: unknown): boolean {
  return error instanceof CallFailure && error.failed === "ENOTDIR";
}

/**
 * Translates a failed request for a path; anything else is returned as it is.
 *
 * @param path relative to the source's root; empty for the root itself
 */
export function translate(error: unknown, path: string): unknown {
  if (!(error instanceof CallFailure)) return error;
  const { failed } = error;
  const what = path === "" ? "the source's path" : quotePath(path);
  if (MISSING.includes(failed)) {
    return new SourceError("not-found", `${what} does not exist`, {
      hint: "check the path in the URL: smb://host/share/path",
      cause: error,
    });
  }
  if (failed === "EACCES") {
    return new SourceError("auth", `no permission to read ${what}`, {
      reached: "signed-in",
      hint: "let the user who is signed in read it",
      cause: error,
    });
  }
  if (failed === "full") return tooManyNames(path);
  if (IN_USE.includes(failed)) {
    return new SourceError("unavailable", `${what} is locked by another program`, { cause: error });
  }
  // What a server without made up names lists, and then does not take.
  if (failed === "EINVAL" && /[:*?"<>|\\]/.test(path)) {
    return new SourceError("invalid", `the server lists ${what}, and does not take that name`, {
      hint: "SMB does not allow it: rename it on the server, exclude it, or let Samba have mangled names",
      cause: error,
    });
  }
  return unencrypted(error) ?? lost(error, path);
}

/** Why a new helper could not connect. Where the library has but one number for many things, the name is looked up once more. */
export async function connectionError(
  error: unknown,
  {
    host,
    share,
    by,
  }: { readonly host: string; readonly share: string; readonly by: Connection["by"] },
): Promise<unknown> {
  if (!(error instanceof CallFailure)) return error;
  const { failed } = error;
  if (MISSING.includes(failed)) {
    return new SourceError("not-found", `the server has no share ${quotePath(share)}`, {
      hint: "check the first part of the URL's path: smb://host/share/path",
      cause: error,
    });
  }
  if (by === "kerberos") {
    // Of a name that nobody knows the library has EINVAL, as where there is no ticket.
    const unknown = failed === "EINVAL" ? await resolveError(host) : undefined;
    const problem = unknown ?? kerberosError(error, host);
    if (problem !== undefined) return problem;
  }
  if (NOT_LET_IN.includes(failed)) {
    return new SourceError("auth", "the server did not let us sign in, or not into the share", {
      reached: "answered",
      hint:
        by === "guest"
          ? "it does not allow guests: give a user and a password (credentials.username, credentials.passwordFile)"
          : "check the user, the password and the option domain: one of them is wrong, or the user may not read the share",
      cause: error,
    });
  }
  if (failed === "ECONNREFUSED") {
    return new SourceError("unavailable", "the connection was refused", {
      hint: "check the host and the port",
      cause: error,
    });
  }
  return (await resolveError(host)) ?? unencrypted(error) ?? lost(error);
}

/** Why the helper cannot do its work at all. */
export function libraryError(error: unknown): unknown {
  if (!(error instanceof CallFailure)) return error;
  const { failed, message } = error;
  const make = (text: string, hint: string) =>
    new SourceError("unsupported", text, { hint, cause: error });
  if (failed === "library") {
    return make(
      "libsmbclient, which smb sources need, is not installed",
      "install the package libsmbclient (Debian 12, Alpine) or libsmbclient0 (Debian 13 and later)",
    );
  }
  if (failed === "koffi") {
    return make(
      "the npm package koffi, which smb sources need, is missing, or not for this machine",
      "install koffi together with its optional dependencies",
    );
  }
  if (failed === "machine") {
    return make(`smb sources cannot be read on ${message}`, "mount the share, and read the mount");
  }
  return lost(error);
}

/** What is wrong with tickets. The library has EINVAL for all that keeps it from asking the server: no cache, no such principal, no KDC. */
function kerberosError(error: CallFailure, host: string): SourceError | undefined {
  const make = (text: string, hint: string) =>
    new SourceError("auth", text, { hint, cause: error });
  if (error.failed === "EINVAL") {
    return make(
      "Kerberos has no ticket for the server",
      "check that klist shows valid tickets, that the URL names the host as its principal does (cifs/HOST), and that the KDC answers",
    );
  }
  if (!NOT_LET_IN.includes(error.failed)) return undefined;
  // The library does not even look for a ticket then.
  if (isIP(host) !== 0 || host === "localhost") {
    return make(
      "Kerberos knows servers by their names only",
      "write the host as its principal does (cifs/HOST), or give a password",
    );
  }
  return make(
    "the server did not let us sign in by Kerberos, or not into the share",
    "check that klist shows valid tickets, and that the user may read the share",
  );
}

function unencrypted(error: CallFailure): SourceError | undefined {
  if (error.failed !== "unencrypted") return undefined;
  return new SourceError("unsupported", "the connection is not encrypted, and must be", {
    hint: "let the server (and the user: guests cannot) encrypt with SMB 3, or leave out encrypt=required",
    cause: error,
  });
}

async function resolveError(host: string): Promise<SourceError | undefined> {
  if (isIP(host) !== 0) return undefined;
  try {
    await lookup(host);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "ENOTFOUND"
      ? new SourceError("unavailable", "the host name is not known", {
          hint: "check the host in the URL",
          cause: error,
        })
      : new SourceError("unavailable", "the host name cannot be resolved at the moment", {
          cause: error,
        });
  }
}

/** @param path which may be on another server, where a DFS link leads */
function lost(error: CallFailure, path = ""): SourceError {
  const where = path === "" ? "" : ` at ${quotePath(path)}`;
  return new SourceError("unavailable", `the connection broke${where} (${error.failed})`, {
    hint: "check that a server of SMB 2 or 3 listens on that port",
    cause: error,
  });
}
