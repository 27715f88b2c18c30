/** A question to a store, on the shared connections. */
import type { HttpClient, HttpRequest, HttpResponse } from "@pannier/http-client";

interface StoreRequest extends Pick<HttpRequest, "method" | "headers" | "body" | "subject"> {
  readonly operation: string;
  readonly signal: AbortSignal;
  /** Statuses that are answers beside 200 and 206. */
  readonly others?: readonly number[] | undefined;
  /** It was answered with what was asked for. */
  accepted(): void;
  /** It was not: reads the answer to its end, and throws what it means, or asks in another way. */
  refused(response: HttpResponse): Promise<HttpResponse>;
}

/** Any other answer is a refusal. A store redirects nobody, and what was signed is for it alone. */
export async function askStore(
  http: HttpClient,
  url: string | URL,
  { accepted, refused, others = [], ...request }: StoreRequest,
): Promise<HttpResponse> {
  const response = await http.request(url, { ...request, redirect: "manual", expect: "any" });
  if (![200, 206, ...others].includes(response.status)) return refused(response);
  accepted();
  return response;
}
