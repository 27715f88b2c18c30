/** How makers' SDKs send what they ask for keys and tokens: over our connections. Each has a form of its own for that. */
import { AsyncLocalStorage } from "node:async_hooks";
import { SourceError } from "@pannier/core/adapter";
import { type HttpClient, statusError } from "@pannier/http-client";
import { askForKeys, SIGNING_IN } from "./sign-in.ts";

interface AwsRequest {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number | undefined;
  readonly path: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** A `requestHandler` of AWS's clients. */
export function awsHandler(http: HttpClient) {
  const handle = async (
    { protocol, hostname, port, path, ...request }: AwsRequest,
    { abortSignal }: { readonly abortSignal?: unknown } = {},
  ) => {
    // The host belongs to the URL, the length to the body.
    const { host: _host, "content-length": _length, ...headers } = request.headers;
    const url = `${protocol}//${hostname}${port === undefined ? "" : `:${port}`}${path}`;
    const { status, ...answer } = await askForKeys(http, url, {
      method: request.method as "GET" | "POST",
      headers,
      body: request.body as string | Uint8Array | undefined,
      signal: abortSignal as AbortSignal | undefined,
    });
    return { response: { statusCode: status, ...answer } };
  };
  return { handle };
}

/** What Google's library sends by, with its retries off: trying again is the engine's, and proxies are the client's. */
export function googleTransport(http: HttpClient) {
  return {
    fetchImplementation: fetchBy(http),
    noProxy: [/./],
    retryConfig: { retry: 0, noResponseRetries: 0 },
  };
}

/** `fetch` as Google's library calls it. */
function fetchBy(http: HttpClient): typeof fetch {
  return async (input, request) => {
    const { method = "GET", headers, body, signal } = request ?? {};
    const answer = await askForKeys(http, input as URL, {
      method: method as "GET" | "POST" | "PUT",
      headers: Object.fromEntries(new Headers(headers).entries()),
      body: body === null || body === undefined ? undefined : String(body),
      signal: signal ?? undefined,
    });
    const bytes = answer.body;
    return new Response(bytes.length === 0 ? null : new Uint8Array(bytes), {
      status: answer.status,
      headers: answer.headers,
    });
  };
}

/**
 * Who asks Azure's library for a token. For managed identities the library keeps the first client that it was given for as long as the
 * process lives, and would go on asking over the connections of a source that was closed long ago.
 */
interface AzureAsker {
  readonly http: HttpClient;
  readonly onTrouble: (error: Error) => void;
}
const askers = new AsyncLocalStorage<AzureAsker>();

/** While `work` goes on, Azure's library asks over this client; what it cannot tell by itself is told as trouble. */
export function askingAzure<T>(asker: AzureAsker, work: () => Promise<T>): Promise<T> {
  return askers.run(asker, work);
}

interface AzureRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: { toJSON(): Record<string, string> };
  readonly body?: unknown;
  readonly abortSignal?: unknown;
  readonly timeout: number;
}

const METADATA = /^http:\/\/169\.254\./;

/** An `httpClient` of Azure's credentials. @param makeHeaders the library's own */
export function azureClient<Headers>(
  makeHeaders: (headers: Record<string, string>) => Headers | Promise<Headers>,
) {
  return {
    async sendRequest<Request extends AzureRequest>(request: Request) {
      const { http, onTrouble } = askers.getStore() as AzureAsker;
      try {
        const { status, headers, body } = await askForKeys(http, request.url, {
          method: request.method as "GET" | "POST",
          headers: request.headers.toJSON(),
          body: typeof request.body === "string" ? request.body : undefined,
          signal: signalOf(request),
        });
        if (status === 429 || status >= 500)
          onTrouble(statusError(status, headers, `${SIGNING_IN}: `));
        const made = await makeHeaders(headers);
        return { request, status, headers: made, bodyAsText: body.toString() };
      } catch (error) {
        // Where this is no machine of Azure's, nobody answers there: no trouble, but nothing found.
        if (error instanceof SourceError && !METADATA.test(request.url)) onTrouble(error);
        throw error;
      }
    },
  };
}

function signalOf({ abortSignal, timeout }: AzureRequest): AbortSignal | undefined {
  const signals = [
    ...(abortSignal === undefined ? [] : [abortSignal as AbortSignal]),
    ...(timeout > 0 ? [AbortSignal.timeout(timeout)] : []),
  ];
  return signals.length === 0 ? undefined : AbortSignal.any(signals);
}
