/** From the service's status and error code to {@link SourceError}: https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes */
import { SourceError, UsageError } from "@pannier/core/adapter";
import { parseRetryAfter, statusError } from "@pannier/http-client";

/** A response with an error status. */
export interface Refusal {
  readonly status: number;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string | undefined>>;
}

/** What to do about codes that say more than their status; the service's own words are not repeated. */
const HINTS: Readonly<Record<string, string>> = {
  AuthenticationFailed:
    "the key, the SAS or the token is wrong or has expired, or this machine's clock is more than 15 minutes off",
  AuthorizationFailure:
    "the account's firewall may not let this network in, or the SAS does not cover this",
  AuthorizationPermissionMismatch:
    "the identity or the SAS may not list and read: it needs the role Storage Blob Data Reader, or the permissions r and l",
  AuthorizationProtocolMismatch: "the SAS is for https only",
  AuthorizationResourceTypeMismatch: "the SAS must be for containers and objects: srt=co",
  AuthorizationServiceMismatch: "the SAS must be for the blob service: ss=b",
  AuthorizationSourceIPMismatch: "the SAS is for other addresses than this machine's",
  InsufficientAccountPermissions: "the credentials may not read this account",
  InvalidAuthenticationInfo: "the token is for another tenant or has expired",
  KeyBasedAuthenticationNotPermitted:
    "the account allows no keys: sign in with Microsoft Entra ID, without AZURE_STORAGE_KEY",
  NoAuthenticationInformation: "the container is not public: sign in, without anonymous=true",
  PublicAccessNotPermitted: "the account allows no public access: sign in, without anonymous=true",
  AccountIsDisabled: "the account is disabled: ask who runs it",
};

const MAY_NOT_WRITE =
  "the identity or the SAS may not write: it needs the role Storage Blob Data Contributor, or the permissions r, c and w";

/** Who is signed in is known, and may not do this. */
const DENIED = new Set([
  "AuthorizationFailure",
  "AuthorizationPermissionMismatch",
  "InsufficientAccountPermissions",
  "PublicAccessNotPermitted",
]);
const AUTH = new Set([...Object.keys(HINTS), "AccountBeingCreated"]);
const NO_CONTAINER = new Set([
  "ContainerNotFound",
  "ContainerBeingDeleted",
  "ContainerDisabled",
  "InvalidResourceName",
]);
const THROTTLED = new Set(["ServerBusy", "TooManyRequests"]);
const ARCHIVED = new Set(["BlobArchived", "BlobBeingRehydrated"]);

/** True where other credentials may help; what these may not do, a new token of theirs may not do either. */
export function isUnauthenticated({ status, headers }: Refusal): boolean {
  return (
    status === 401 || (status === 403 && headers["x-ms-error-code"] === "AuthenticationFailed")
  );
}

interface Known {
  readonly renewed: boolean;
  readonly listed: boolean;
  readonly writes?: boolean | undefined;
}

/**
 * Translates a response with an error status.
 *
 * @param blob what was asked for, as messages name it; `undefined` for the container
 * @param known `renewed`: the credentials have changed since, trying again can help; `listed`: a listing told of the blob,
 *   where it is gone, it went since; `writes`: it was to be written
 */
export function blobError(
  { status, headers }: Refusal,
  blob: string | undefined,
  { renewed, listed, writes = false }: Known,
): SourceError {
  const code = headers["x-ms-error-code"] ?? "";
  const what = blob === undefined ? "" : `${blob}: `;
  const answered = `${what}the server answered ${status}${/^\w+$/.test(code) ? ` ${code}` : ""}`;

  if (status === 401 || status === 403 || AUTH.has(code)) {
    return new SourceError("auth", answered, {
      transient: renewed,
      reached: DENIED.has(code) ? "signed-in" : "answered",
      hint:
        (writes && code === "AuthorizationPermissionMismatch" ? MAY_NOT_WRITE : HINTS[code]) ??
        "check the key, the SAS or the identity that is signed in with; pannier doctor shows which",
    });
  }
  if (NO_CONTAINER.has(code)) {
    return new SourceError("not-found", `${what}the container does not exist (${code})`, {
      hint: "check the account and the container in the URL",
    });
  }
  if (code === "ResourceNotFound" && blob === undefined) {
    return new SourceError("not-found", "the container does not exist, or is not public", {
      hint: "check the account and the container in the URL; a container that is not public is hidden from those who do not sign in",
    });
  }
  if (ARCHIVED.has(code)) {
    return new SourceError("unsupported", `${what}the blob is in the archive tier (${code})`, {
      hint: "rehydrate it to the hot, cool or cold tier, or leave it out with --exclude",
    });
  }
  if (status === 404 && blob !== undefined) {
    const gone = listed ? "changed" : "not-found";
    return new SourceError(gone, `${what}the blob does not exist${inBrackets(code)}`, {
      hint: listed
        ? "it was deleted since it was listed; where the account keeps deleted blobs, it can be restored"
        : undefined,
    });
  }
  if (status === 412) {
    return new SourceError("changed", `${what}the blob changed since it was listed`);
  }
  if (status === 416) {
    return new SourceError("changed", `${what}the blob is shorter than when it was listed`);
  }
  if (status === 429 || THROTTLED.has(code)) {
    const retryAfter = parseRetryAfter(headers["retry-after"]);
    return new SourceError("throttled", answered, { retryAfter });
  }
  if (status >= 400 && status < 500) {
    return new SourceError("unavailable", answered, { transient: status === 408 });
  }
  return statusError(status, headers, what);
}

function inBrackets(code: string): string {
  return /^\w+$/.test(code) ? ` (${code})` : "";
}

/**
 * Translates why no token of Microsoft Entra ID could be had, where it was not for want of an answer.
 *
 * @param way what variables say to sign in with
 */
export function tokenError(error: unknown, way: string | undefined): Error {
  if (error instanceof SourceError || error instanceof UsageError) return error;
  const { name = "", message = "" } = error as Partial<Error>;
  // The whole message may quote what was sent; the code is what can be looked up.
  const reason = /\bAADSTS\d+\b/.exec(message)?.[0];
  const unread = /\b(ENOENT|EACCES)\b/.exec(message)?.[0];
  if (way !== undefined && unread !== undefined) {
    return new SourceError("auth", `${way} gave no token: a file cannot be read (${unread})`, {
      hint: "check the paths that the variables name",
    });
  }
  if (name === "AuthenticationError" || reason !== undefined) {
    const named = reason === undefined ? "" : ` (${reason})`;
    return new SourceError("auth", `Microsoft Entra ID refused to sign in${named}`, {
      hint: "check AZURE_TENANT_ID, AZURE_CLIENT_ID and the secret, certificate or federated token",
    });
  }
  if (way !== undefined) {
    return new SourceError("auth", `${way} gave no token`, {
      hint: "check the variables, the files that they name, and whether the identity is assigned to this machine or pod; or set AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN",
    });
  }
  return new SourceError("auth", "no credentials for Azure were found", {
    hint: "set AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING, give the pod or machine an identity, or set anonymous=true for a public container",
  });
}
