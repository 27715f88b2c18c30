/** What refusals of the servers mean. */
import { SourceError } from "@pannier/core/adapter";
import { type HttpResponse, statusError } from "@pannier/http-client";

/**
 * @param signedIn whether a token was sent
 */
export function refusal(
  { status, headers }: Pick<HttpResponse, "status" | "headers">,
  wanted: { readonly repository: string; readonly tag?: string | undefined },
  signedIn: boolean,
): SourceError {
  // https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
  if (status === 403 && (headers["x-ratelimit-remaining"] === "0" || headers["retry-after"])) {
    const reset = Number(headers["x-ratelimit-reset"]) * 1000 - Date.now();
    const wait = headers["retry-after"] ? Number(headers["retry-after"]) * 1000 : reset;
    return new SourceError("throttled", "the server asks for fewer requests", {
      reached: "answered",
      retryAfter: Number.isFinite(wait) ? Math.max(0, wait) : undefined,
      hint: signedIn ? "poll less often" : "give a token: GitHub then allows many more requests",
    });
  }
  if (status !== 404) return statusError(status, headers, "", signedIn);
  const { repository, tag } = wanted;
  const what = tag === undefined ? "no release" : `no release "${tag}"`;
  // So servers say of a repository that is private, too.
  return signedIn
    ? new SourceError("not-found", `${repository} has ${what}, or does not exist`, {
        reached: "answered",
        hint: "check the name and the tag, and that the token may read it",
      })
    : new SourceError("not-found", `${repository} has ${what}, does not exist, or is private`, {
        reached: "answered",
        hint: "check the name and the tag; for a private repository give a token, in PANNIER_TOKEN_FILE",
      });
}
