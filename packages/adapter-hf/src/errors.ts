/** What the Hub's refusals mean. They come with a code of their own in a header: https://huggingface.co/docs/huggingface_hub/package_reference/utilities#errors. */
import { SourceError } from "@pannier/core/adapter";
import { type HttpResponse, statusError } from "@pannier/http-client";
import type { Address } from "./address.ts";

/**
 * @param what is asked for, as messages name it; empty for the repository
 * @param signedIn whether a token was sent
 */
export function refusal(
  { status, headers }: Pick<HttpResponse, "status" | "headers">,
  { repository, revision, kind }: Address,
  what: string,
  signedIn: boolean,
): SourceError {
  const prefix = what === "" ? "" : `${what}: `;
  const page = `${kind === "models" ? "" : `${kind}/`}${repository}`;
  switch (headers["x-error-code"]) {
    case "GatedRepo":
      return new SourceError("auth", `${prefix}${repository} is gated`, {
        reached: "answered",
        hint: signedIn
          ? `accept its conditions on the page of ${page}, with the account of the token`
          : "give a token of an account that was granted access, in HF_TOKEN or PANNIER_TOKEN_FILE",
      });
    case "RepoNotFound":
      // So the Hub says of one that is private, too.
      return new SourceError(
        signedIn ? "not-found" : "auth",
        `${repository} does not exist, or is private`,
        {
          reached: "answered",
          hint: signedIn
            ? "check the name, and that the token may read it"
            : "check the name; for a private repository give a token, in HF_TOKEN or PANNIER_TOKEN_FILE",
        },
      );
    case "RevisionNotFound":
      return new SourceError("not-found", `${repository} has no revision "${revision}"`, {
        reached: "signed-in",
      });
    case "EntryNotFound":
      return new SourceError("not-found", `${prefix}it does not exist in ${repository}`, {
        reached: "signed-in",
      });
    default:
      return statusError(status, headers, prefix, signedIn);
  }
}
