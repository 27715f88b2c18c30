/** From what Google answers to {@link SourceError}: the one place that decides. Its own words are looked at, never repeated. */
import { SourceError } from "@pannier/core/adapter";
import { connectionError, type HttpResponse, statusError } from "@pannier/http-client";
import { refusalText, SIGNING_IN, throttled } from "@pannier/object-store";
import type { Access } from "./sign-in.ts";

/** What was asked for, as a 404 has to name it. */
export type Asked =
  | { readonly kind: "bucket"; readonly bucket: string }
  /** `generation`: the version asked for, if not the newest. */
  | {
      readonly kind: "object";
      readonly key: string;
      readonly generation?: string | undefined;
      /** True where it was to be written. */
      readonly writes?: boolean | undefined;
    };

/**
 * Translates a response with an error status, and reads it to its end.
 *
 * @see https://cloud.google.com/storage/docs/json_api/v1/status-codes
 */
export async function answerError(response: HttpResponse, asked: Asked): Promise<SourceError> {
  const { status, headers } = response;
  const { reason, message } = await detailsOf(response);
  const what = asked.kind === "bucket" ? "" : `${asked.key}: `;

  // Quotas are answered with 403 as well.
  if (status === 429 || status === 503 || (status === 403 && reason.endsWith("LimitExceeded"))) {
    return throttled(what, status, response);
  }
  if (status === 404) return notFound(asked, /bucket does not exist/i.test(message));
  if (status === 412 || status === 416) {
    return new SourceError("changed", `${what}the object changed since it was listed`);
  }
  if (status === 400 && /requester pays/i.test(message)) {
    return new SourceError("auth", "the bucket wants the requester to pay", {
      hint: "name the project that pays: userProject=PROJECT",
    });
  }
  if (
    status === 400 &&
    /customer-?supplied|CustomerEncryptionKey|customer encryption/i.test(reason + message)
  ) {
    return new SourceError(
      "unsupported",
      `${what}the object is encrypted with a key of the customer's`,
      {
        hint: "leave it out with --exclude, or store it with a key that the bucket manages",
      },
    );
  }
  const usual = statusError(status, headers, what);
  if (status === 401 || status === 403) {
    return new SourceError("auth", reason === "" ? usual.message : `${usual.message} (${reason})`, {
      reached: usual.reached,
      hint:
        status === 401
          ? "see which credentials are used: pannier doctor"
          : asked.kind === "object" && asked.writes === true
            ? "what was signed in with needs storage.objects.create, get and delete on the bucket (roles/storage.objectUser)"
            : "what was signed in with needs storage.objects.list and storage.objects.get on the bucket (roles/storage.objectViewer)",
    });
  }
  return usual;
}

function notFound(asked: Asked, bucketIsGone: boolean): SourceError {
  if (asked.kind === "bucket" || bucketIsGone) {
    return new SourceError("not-found", "the bucket does not exist", {
      hint: "check the bucket's name in the URL; one that was deleted softly has to be restored first",
    });
  }
  const { key, generation } = asked;
  if (generation === undefined) {
    return new SourceError("not-found", `${key}: there is no such object`);
  }
  return new SourceError(
    "changed",
    `${key}: generation ${generation} is gone: the object was replaced or deleted (perhaps softly) since it was listed`,
  );
}

/** The machine's part of an error, where it looks like one, and the human's, for looking at only. */
async function detailsOf(response: HttpResponse): Promise<{ reason: string; message: string }> {
  const text = await refusalText(response);
  try {
    const { error } = JSON.parse(text) as {
      error?: { message?: unknown; errors?: readonly { reason?: unknown }[] };
    };
    const reason = error?.errors?.[0]?.reason;
    return {
      reason: typeof reason === "string" && /^[A-Za-z]{1,60}$/.test(reason) ? reason : "",
      message: String(error?.message ?? ""),
    };
  } catch {
    // Content is asked for, and refused, in plain text.
    return { reason: "", message: text };
  }
}

/** Whether Google's chain found no credentials at all. */
export function isNothingFound(error: unknown): boolean {
  return (
    error instanceof Error && error.message.startsWith("Could not load the default credentials")
  );
}

/**
 * Translates how Google's library failed to get a token. Its errors hold the request, with assertions and tokens in
 * it: they are no cause of ours.
 *
 * @param access that was asked for
 */
export function signInError(error: unknown, access: Access): Error {
  const ours = ourOwn(error);
  if (ours !== undefined) return ours;
  const { response, code, path, message } = error as {
    readonly response?: { readonly status?: number; readonly data?: { readonly error?: unknown } };
    readonly code?: unknown;
    readonly path?: unknown;
    readonly message?: unknown;
  };
  const status = response?.status;
  if (status === undefined) {
    if ((code === "ENOENT" || code === "EACCES") && path !== undefined) {
      return new SourceError("auth", `the token file ${String(path)} cannot be read (${code})`, {
        hint: "it is what the credentials file names as source of the identity",
      });
    }
    if (/\bexecutable/i.test(String(message))) {
      return new SourceError("auth", "signing in failed: the program for it gave no token", {
        hint: "run what the credentials file names by hand; GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1 has to allow it",
      });
    }
    // Of the metadata server; what other connections fail with is ours.
    if (typeof code !== "string" || !/^E(?!RR_)[A-Z]+$/.test(code)) {
      return new SourceError("auth", "signing in failed: the credentials cannot be used", {
        hint: "check the file that GOOGLE_APPLICATION_CREDENTIALS names",
      });
    }
    return connectionError(Object.assign(new Error(code), { code }), `${SIGNING_IN}: `);
  }
  const reason = response?.data?.error;
  const named = typeof reason === "string" && /^[a-z_]{1,60}$/.test(reason) ? ` (${reason})` : "";
  if (status === 429) return statusError(status, {}, `${SIGNING_IN}: `);
  if (status >= 500) return statusError(status, {}, `${SIGNING_IN}: `);
  if (/Compute Engine built-in service account/.test(String(message))) {
    return new SourceError("auth", `the metadata server gave no token (${status})`, {
      hint: `attach a service account to the machine or the pod, with the scope devstorage.${access}`,
    });
  }
  return new SourceError("auth", `signing in failed: the server answered ${status}${named}`, {
    hint: "the key was deleted, the account disabled, a user's consent has ended (gcloud auth application-default login), or what is shown to Google has expired",
  });
}

/** An error that we threw ourselves and that the library wrapped. */
function ourOwn(error: unknown): Error | undefined {
  let next = error;
  for (let depth = 0; next instanceof Error && depth < 8; depth++) {
    if (next.name === "SourceError" || next.name === "UsageError") return next;
    next = next.cause;
  }
  return undefined;
}
