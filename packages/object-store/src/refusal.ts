/** What stores refuse in the same way. */
import { SourceError } from "@pannier/core/adapter";
import { type HttpResponse, parseRetryAfter, readBytes } from "@pannier/http-client";

/** Enough for any error. */
const MAX_ERROR = 64 * 1024;

/** The text of an error, read to its end; empty where it cannot be read. */
export async function refusalText(response: Pick<HttpResponse, "body">): Promise<string> {
  try {
    return String(await readBytes(response.body, MAX_ERROR));
  } catch (error) {
    // Too long, or cut: the status has to do. An abort is found by the caller.
    if (error instanceof SourceError) return "";
    throw error;
  }
}

/** @param named status and code of the answer, for people */
export function throttled(
  what: string,
  named: string | number,
  { headers }: Pick<HttpResponse, "headers">,
): SourceError {
  return new SourceError("throttled", `${what}the server asks for fewer requests (${named})`, {
    retryAfter: parseRetryAfter(headers["retry-after"]),
  });
}

/** The same error, where the next try signs in with something else. */
export function withOtherKeys({ code, message, hint, reached }: SourceError): SourceError {
  return new SourceError(code, message, { hint, reached, transient: true });
}
