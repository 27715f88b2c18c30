/** A question to the blob service, on the shared connections, signed in. */
import type { HttpClient, HttpResponse } from "@pannier/http-client";
import { askStore } from "@pannier/object-store";
import { containerUrl, VERSION } from "./content.ts";
import type { Connection } from "./connection.ts";
import { blobError, isUnauthenticated } from "./errors.ts";

interface Request {
  readonly method?: "GET" | "HEAD" | "PUT" | undefined;
  readonly url: URL;
  /** By lower-case name. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Called for each time that it is sent. */
  readonly body?: (() => AsyncIterable<Uint8Array>) | undefined;
  /** Statuses that are answers beside 200 and 206. */
  readonly others?: readonly number[] | undefined;
  /** How messages name the blob; `undefined` for the container. */
  readonly subject?: string | undefined;
  readonly operation: string;
  readonly version?: string | undefined;
  readonly signal: AbortSignal;
}

export interface Container {
  /** Its URL. */
  readonly base: string;
  /** @throws SourceError for any other answer */
  ask(request: Request): Promise<HttpResponse>;
}

export function openContainer(
  { endpoint, signIn }: Connection,
  container: string,
  http: HttpClient,
): Container {
  return { base: containerUrl(endpoint, container), ask };

  async function ask({ method = "GET", url, subject, operation, ...request }: Request) {
    const { others, signal } = request;
    const headers = { ...request.headers, "x-ms-version": request.version ?? VERSION };
    const signature = await signIn.sign({ method, url, headers }, signal);
    const secret =
      signature.query === undefined ? "" : `${url.search ? "&" : "?"}${signature.query}`;
    return askStore(http, url.href + secret, {
      method,
      headers: { ...headers, ...signature.headers },
      body: request.body?.(),
      others,
      subject,
      operation,
      signal,
      accepted: () => signIn.accepted(signature),
      async refused(response) {
        await response.discard();
        const renewed = isUnauthenticated(response) && (await signIn.refused(signature, signal));
        const listed = operation === "read";
        throw blobError(response, subject, { renewed, listed, writes: method === "PUT" });
      },
    });
  }
}
