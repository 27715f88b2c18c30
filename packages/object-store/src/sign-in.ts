/** How makers' SDKs ask for keys and tokens: over our connections, so that proxy, authorities and timeouts are those of every other request. */
import { type HttpClient, type HttpRequest, readBytes } from "@pannier/http-client";

/** Bytes of an answer with keys. */
const MAX_ANSWER = 1 << 20;
/** What messages begin with. */
export const SIGNING_IN = "signing in";

interface SignInAnswer {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Buffer;
}

export async function askForKeys(
  http: HttpClient,
  url: string | URL,
  request: Pick<HttpRequest, "method" | "headers" | "body" | "signal">,
): Promise<SignInAnswer> {
  const { status, headers, body } = await http.request(url, {
    ...request,
    // Keys go where they were asked for, and nowhere else.
    redirect: "manual",
    expect: "any",
    operation: "sign-in",
    subject: SIGNING_IN,
  });
  return {
    status,
    headers: headers as Record<string, string>,
    body: await readBytes(body, MAX_ANSWER),
  };
}
