/** From what the server answers to {@link SourceError}: the one place that decides. Its own words are looked at, never repeated. */
import { quotePath, SourceError } from "@pannier/core/adapter";
import { type HttpResponse, statusError } from "@pannier/http-client";
import { refusalText, throttled } from "@pannier/object-store";

/** What was asked. */
export interface Asked {
  /** For what, as messages name it: a key, or `undefined` for the bucket. */
  readonly subject: string | undefined;
  /** True for an object that a listing told of: where it is gone, it went since. */
  readonly listed: boolean;
  /** True where it was to be written. */
  readonly writes: boolean;
  /** Keys that are named with an archived one, so that they need not be found one by one. */
  readonly archived: ReadonlySet<string>;
}

const THROTTLED = new Set([
  "SlowDown",
  "SlowDownRead",
  "Throttling",
  "ThrottlingException",
  "RequestLimitExceeded",
  "TooManyRequests",
  "TooManyRequestsException",
  "ServiceUnavailable",
]);

const EXPIRED = new Set(["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"]);

const BAD_KEYS = new Set([
  "InvalidAccessKeyId",
  "InvalidToken",
  "InvalidClientTokenId",
  "SignatureDoesNotMatch",
  "UnrecognizedClientException",
  "AuthFailure",
]);

/** A response with an error status, read to its end. */
export interface Refusal {
  readonly status: number;
  /** AWS's code; empty where there is none, as for any HEAD. */
  readonly code: string;
  /** The region that the bucket is in, where the answer says so. */
  readonly region: string | undefined;
  readonly headers: HttpResponse["headers"];
}

/** @see https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html */
export async function readRefusal(response: HttpResponse): Promise<Refusal> {
  const { status, headers } = response;
  const text = await refusalText(response);
  const code = /<Code>([A-Za-z0-9.]{1,64})<\/Code>/.exec(text)?.[1] ?? "";
  const region =
    headers["x-amz-bucket-region"] ?? /<Region>([a-z0-9-]{1,64})<\/Region>/.exec(text)?.[1];
  return { status, code, region, headers };
}

/** True where only the region was wrong. */
export function isElsewhere({ status, code, region }: Refusal): boolean {
  if (region === undefined) return false;
  return (
    status === 301 ||
    status === 307 ||
    (status === 400 && (code === "" || code === "AuthorizationHeaderMalformed"))
  );
}

/** True of what a HEAD is answered for many reasons; a GET is told which. */
export function isUnexplained({ status, code }: Refusal): boolean {
  return code === "" && (status === 400 || status === 403);
}

export function isExpired({ code }: Refusal): boolean {
  return EXPIRED.has(code);
}

/** True where the server does not know the keys, or no longer. */
export function isUnknown({ code }: Refusal): boolean {
  return BAD_KEYS.has(code);
}

export function refusalError(
  refusal: Refusal,
  { subject: asked, listed, writes, archived }: Asked,
): SourceError {
  const { status, code, headers } = refusal;
  const what = asked === undefined ? "" : `${asked}: `;
  const named = code === "" ? `${status}` : `${status} ${code}`;
  const gone = listed ? "changed" : "not-found";

  if (status === 429 || status === 503 || THROTTLED.has(code)) {
    return throttled(what, named, refusal);
  }
  if (code === "InvalidObjectState") {
    const others = [...archived].filter((key) => key !== asked).map(quotePath);
    const also = others.length === 0 ? "" : `; listed as archived, too: ${others.join(", ")}`;
    return new SourceError("unsupported", `${what}the object is archived and cannot be read`, {
      hint: `restore it first (aws s3api restore-object), or leave it out with --exclude${also}`,
    });
  }
  if (code === "NoSuchVersion") {
    return new SourceError("changed", `${what}the version listed is gone`);
  }
  if (EXPIRED.has(code)) {
    return new SourceError("auth", `${what}the credentials have expired (${named})`, {
      reached: "answered",
      hint: "renew them where they come from; pannier doctor tells where that is",
    });
  }
  // Some servers say 404 to a key that they do not know.
  if (BAD_KEYS.has(code)) {
    return new SourceError("auth", `${what}signing in failed (${named})`, {
      reached: "answered",
      hint: "the key is unknown or its secret wrong; pannier doctor tells where they come from",
    });
  }
  if (status === 404) {
    if (asked === undefined || code === "NoSuchBucket") {
      return new SourceError("not-found", "the bucket does not exist", {
        hint: "check the bucket's name in the URL, and the endpoint",
      });
    }
    return new SourceError(gone, `${what}there is no such object`);
  }
  if (status === 405 && headers["x-amz-delete-marker"] === "true") {
    return new SourceError(gone, `${what}the object was deleted`);
  }
  if (status === 412 || status === 416) {
    return new SourceError("changed", `${what}the object changed since it was listed`);
  }
  if (code === "RequestTimeTooSkewed") {
    return new SourceError("auth", `${what}this machine's clock is wrong (${named})`, {
      reached: "answered",
      hint: "set the clock; signatures are good for 15 minutes",
    });
  }
  if (status === 401 || status === 403) {
    return new SourceError("auth", `${what}access is denied (${named})`, {
      reached: "signed-in",
      hint: writes
        ? "what was signed in with needs s3:PutObject and s3:GetObject on the objects, and s3:ListBucket on the bucket"
        : headers["x-amz-request-charged"] === undefined
          ? "what was signed in with needs s3:ListBucket on the bucket and s3:GetObject on its objects (and kms:Decrypt where they are encrypted by a key of KMS); a requester-pays bucket wants requesterPays=true"
          : undefined,
    });
  }
  if (status === 400 && (code === "InvalidRequest" || code === "")) {
    return new SourceError("unsupported", `${what}the server refuses the request (${named})`, {
      hint:
        asked === undefined
          ? "check the endpoint, and the options pathStyle and versions: not every server knows what is asked of it"
          : "an object that is encrypted with a key of the customer's (SSE-C) cannot be read; leave it out with --exclude",
    });
  }
  if (status === 301 || status === 307) {
    return new SourceError("unavailable", `the bucket is elsewhere (${named})`, {
      transient: false,
      hint: "name its region: region=REGION",
    });
  }
  const usual = statusError(status, headers, what);
  const { transient, hint, retryAfter } = usual;
  const message = code === "" ? usual.message : `${usual.message} (${code})`;
  return new SourceError(usual.code, message, { transient, hint, retryAfter });
}

/** Whether AWS's chain came to its end. */
export function isNothingFound(error: unknown): boolean {
  return error instanceof Error && /could not load credentials/i.test(error.message);
}

export function noCredentials(): SourceError {
  return new SourceError("auth", "there are no credentials", {
    hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, or set anonymous=true for a public bucket",
  });
}

/** What keeps a profile or a machine from being signed in with, by what the SDK says then. */
const TROUBLES: readonly (readonly [words: RegExp, message: string, hint: string])[] = [
  [
    /\bSSO (session|token)|UnauthorizedException|aws login/i,
    "the session of single sign-on is missing, or has expired",
    "sign in again: aws sso login, or aws login",
  ],
  [
    /multi-factor/,
    "the profile wants a code of multi-factor authentication",
    "nobody can be asked for one here: name a profile that needs none",
  ],
  [
    /Command failed|credential_process returned/,
    "the credential_process of the profile gave no keys",
    "run it by hand: it has to end with 0, and to print keys that have not expired",
  ],
  [
    /using profile: \[(?!default\])/,
    "the profile has no keys, or there is no such profile",
    "check its name, and AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE where they are set",
  ],
  [
    /remoteProvider::fromHttp/,
    "the server that AWS_CONTAINER_CREDENTIALS_FULL_URI (or …_RELATIVE_URI) names gave no keys",
    "see whether a role is associated with the pod's service account, or with the task",
  ],
];

/** Of connections, as Node names them. */
const UNREACHABLE =
  /\b(ECONNREFUSED|ECONNRESET|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|EPIPE)\b/;

/**
 * Translates how the SDK failed to find credentials. Its errors may hold requests with tokens in them: they are no cause
 * of ours.
 *
 * @param said what the links of the chain said, in their order
 */
export function signInError(error: unknown, said: readonly string[]): SourceError {
  // Of STS we ask ourselves.
  if (error instanceof SourceError) return error;
  const { name = "", message = "", code = "", path } = (error ?? {}) as NodeJS.ErrnoException;
  const words = isNothingFound(error) ? said.join("\n") : `${name} ${code} ${message}`;
  if (code === "ENOENT" || code === "EACCES") {
    return new SourceError("auth", `the token file ${path} cannot be read (${code})`, {
      hint: "check the variable or the profile that names it",
    });
  }
  const unreachable = UNREACHABLE.exec(words)?.[0] ?? (name === "TimeoutError" ? name : undefined);
  if (unreachable !== undefined) {
    return new SourceError(
      "unavailable",
      `the server that gives keys cannot be reached (${unreachable})`,
      {
        hint: "check the network, and the variables AWS_ENDPOINT_URL…",
      },
    );
  }
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
  if (status !== undefined && (status === 429 || status >= 500)) {
    return new SourceError("unavailable", `the server that gives keys answered ${status}`, {
      hint: "see whether the service is up (STS, single sign-on)",
    });
  }
  const trouble = TROUBLES.find(([pattern]) => pattern.test(words));
  if (trouble !== undefined) return new SourceError("auth", trouble[1], { hint: trouble[2] });
  if (isNothingFound(error)) return noCredentials();
  const kind = /^[A-Za-z]{1,60}$/.test(name) ? ` (${name})` : "";
  return new SourceError("auth", `signing in failed${kind}`, {
    hint: "check the profile, the role, who may assume it, and the token that it is assumed with: pannier doctor",
  });
}
