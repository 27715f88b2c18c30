/**
 * The HTTP data plane: pooled connections, no transparent surprises. It does not retry, decode, cache or keep cookies;
 * it follows redirects by rules of its own, and what it throws is a SourceError, a UsageError, or the signal's reason.
 */
import { Readable } from "node:stream";
import { type Credentials, SourceError } from "@pannier/core/adapter";
import { checkedBody } from "./body.ts";
import type { Authorize } from "./credentials.ts";
import { createDispatchers, type TlsTexts } from "./dispatcher.ts";
import { connectionError, statusError } from "./errors.ts";
import { type Answer, exchange } from "./exchange.ts";
import type { LaneTarget } from "./lane/connection.ts";
import type { Environment } from "./proxy.ts";
import type { HttpResponse } from "./response.ts";

const MAX_REDIRECTS = 10;
/** Times the idle timeout for which interim answers may go on. */
const LONGEST_SILENCE = 2;

/** Request headers that may follow a redirect to another origin. Whatever is not here may be a credential. */
const HARMLESS_HEADERS = new Set([
  "accept",
  "accept-encoding",
  "accept-language",
  "cache-control",
  "content-type",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "pragma",
  "range",
  "user-agent",
]);

export interface HttpClientOptions {
  /** Of these, `caFile`, `clientCertFile` and `clientKeyFile`; a file that changes is taken over by new connections. */
  readonly credentials?: Credentials | undefined;
  /** What is known of the TLS connection that is in no file. */
  readonly tls?: TlsTexts | undefined;
  /** Signs requests in: called for each, never for one that a redirect sent to another origin. */
  readonly authorize?: Authorize | undefined;
  /** Where the proxy variables are looked up. Default: no proxy. */
  readonly env?: Environment | undefined;
  /** Milliseconds for a connection to be made, for headers to come, and between two pieces of a body. */
  readonly idleTimeout: number;
  /** Connections per origin at most. Default 64. */
  readonly connections?: number | undefined;
  /** Told of every request that is sent, redirects included, by its {@link HttpRequest.operation}. */
  readonly onRequest?: ((operation: string) => void) | undefined;
}

export interface HttpRequest {
  /** Default `GET`. */
  readonly method?:
    | ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PROPFIND" | "MKCOL")
    | undefined;
  /** By lower-case name. `accept-encoding` is `identity` unless given: bodies arrive as they are stored. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: string | Uint8Array | AsyncIterable<Uint8Array> | undefined;
  /** `manual` returns a 3xx answer as it is. Default `follow`. */
  readonly redirect?: "follow" | "manual" | undefined;
  /** Statuses that are answers; others throw. Default: 200 to 299. */
  readonly expect?: readonly number[] | "any" | undefined;
  /** What is asked for, as messages name it, without secrets: `img/logo.png`. Default: nothing, for what the user named himself. */
  readonly subject?: string | undefined;
  /** For {@link HttpClientOptions.onRequest}. Default: the method in lower case. */
  readonly operation?: string | undefined;
  /** Whether an answer that hardly moves is given up. `false` where its reader sees to that. Default true. */
  readonly paced?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface HttpClient {
  /**
   * Sends one request and follows its redirects: at most 10, no loops, never from https to http. On the first one that
   * changes scheme, host or port, every header that could be a credential is dropped for good, and a body is not sent again.
   *
   * @param url without user and password (see {@link HttpClientOptions.authorize})
   */
  request(url: URL | string, request?: HttpRequest): Promise<HttpResponse>;
  /** How a lane connects to a URL's server; `undefined` where a proxy is in between. @throws UsageError where a certificate file cannot be used */
  direct(url: URL): Promise<LaneTarget | undefined>;
  /** Ends all connections. Never throws. */
  close(): Promise<void>;
}

export function createHttpClient(options: HttpClientOptions): HttpClient {
  const dispatchers = createDispatchers({
    credentials: options.credentials ?? {},
    tls: options.tls ?? {},
    env: options.env ?? {},
    idleTimeout: options.idleTimeout,
    connections: options.connections ?? 64,
  });
  const send = makeSend(dispatchers, options.idleTimeout);

  return {
    async request(target, request = {}) {
      const first = bare(new URL(target));
      let hop: Hop = {
        url: first,
        method: request.method ?? "GET",
        headers: {
          "user-agent": "pannier",
          "accept-encoding": "identity",
          ...lowerCased(request.headers ?? {}),
        },
        body: request.body,
        signIn: options.authorize,
      };
      const seen = new Set([first.href]);

      for (;;) {
        const { url, method } = hop;
        const what = prefixOf(request.subject, url.host === first.host ? undefined : url.host);
        request.signal?.throwIfAborted();
        const headers = { ...hop.headers, ...(await hop.signIn?.(url, method)) };
        const { signal, paced = true, operation = method.toLowerCase() } = request;
        const onSend = () => options.onRequest?.(operation);
        const response = await send({ ...hop, headers }, { what, onSend, signal, paced });
        const { status } = response;

        if (request.redirect === "manual" || !isRedirect(status, response.headers)) {
          const { expect } = request;
          const expected =
            expect === "any" || (expect?.includes(status) ?? (status >= 200 && status < 300));
          if (expected) return response;
          await response.discard();
          throw statusError(status, response.headers, what, headers["authorization"] !== undefined);
        }

        await response.discard();
        hop = nextHop(hop, status, response.headers, what);
        if (seen.has(hop.url.href))
          throw new SourceError("invalid", `${what}the server redirects in a loop`);
        if (seen.size > MAX_REDIRECTS) {
          const message = `${what}the server redirects more than ${MAX_REDIRECTS} times`;
          throw new SourceError("invalid", message);
        }
        seen.add(hop.url.href);
      }
    },
    direct: (url) => dispatchers.direct(url),
    close: () => dispatchers.close(),
  };
}

/** A request as it is sent, which redirects change. */
interface Hop {
  readonly url: URL;
  readonly method: NonNullable<HttpRequest["method"]>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: HttpRequest["body"];
  /** `undefined` once a redirect led elsewhere. */
  readonly signIn: HttpClientOptions["authorize"];
}

/** The request to where a redirect leads. @throws SourceError where it may not be followed */
function nextHop(
  { url, method, headers, body, signIn }: Hop,
  status: number,
  answered: HttpResponse["headers"],
  what: string,
): Hop {
  const next: { -readonly [Name in keyof Hop]: Hop[Name] } = {
    url: redirectTarget(answered["location"] as string, url, what),
    method,
    headers,
    body,
    signIn,
  };
  if (method !== "HEAD" && (status === 303 || (status <= 302 && method === "POST"))) {
    next.method = "GET";
    next.body = undefined;
    next.headers = without(headers, (name) => name.startsWith("content-"));
  }
  if (next.url.origin !== url.origin) {
    if (next.body !== undefined) {
      throw new SourceError(
        "invalid",
        `${what}the server redirects a ${next.method} to another host`,
      );
    }
    next.headers = without(next.headers, (name) => !HARMLESS_HEADERS.has(name));
    next.signIn = undefined;
  }
  if (!isRepeatable(next.body)) {
    throw new SourceError("unsupported", `${what}the server redirects a body that is a stream`);
  }
  return next;
}

interface Sending {
  /** Begins messages. */
  readonly what: string;
  readonly onSend: () => void;
  readonly signal: AbortSignal | undefined;
  readonly paced: boolean;
}

/** @returns what sends one request, without following a redirect */
function makeSend(dispatchers: ReturnType<typeof createDispatchers>, idleTimeout: number) {
  const patience = LONGEST_SILENCE * idleTimeout;
  /** When a request was first given up since the last answer. */
  let silentSince: number | undefined;

  return async (
    { url, method, headers, body }: Hop,
    { what, onSend, signal, paced }: Sending,
  ): Promise<HttpResponse> => {
    const dispatcher = await dispatchers.for(url);
    const began = performance.now();
    const sent = () => {
      onSend();
      const { origin, pathname, search } = url;
      const request = { origin, path: pathname + search, method, headers: { ...headers } };
      return exchange(dispatcher, { ...request, body: toUndici(body) }, patience, signal);
    };
    let answer: Answer;
    try {
      answer = await sent().catch((error: unknown) => {
        signal?.throwIfAborted();
        if (!SAFE.has(method) || !isRepeatable(body) || !wasEnded(error)) throw error;
        return sent();
      });
    } catch (error) {
      signal?.throwIfAborted();
      // One that was sent since: the server has had its second chance.
      const silent = silentSince !== undefined && began >= silentSince;
      if (isTimeout(error)) silentSince ??= performance.now();
      throw connectionError(error, what, { inHead: true, silent });
    }
    silentSince = undefined;
    const { status } = answer;
    checkCoding(answer, what);
    const length = answer.headers["content-length"];
    const bodiless = method === "HEAD" || status === 204 || status === 304;
    return {
      status,
      headers: answer.headers,
      url,
      body: checkedBody(answer.body, {
        length: bodiless || length === undefined ? undefined : Number(length),
        what,
        idleTimeout,
        paced,
        signal,
      }),
      discard: () => answer.body.discard(),
    };
  };
}

/** @throws SourceError for a transfer coding that was not asked for */
function checkCoding({ headers, body }: Answer, what: string): void {
  const coding = headers["transfer-encoding"];
  if (coding === undefined || /^(chunked|identity)$/i.test(coding.trim())) return;
  body.discard().catch(() => {});
  throw new SourceError(
    "invalid",
    `${what}the answer has an encoding that was not asked for: ${JSON.stringify(coding.slice(0, 50))}`,
  );
}

/** May be asked twice: RFC 9110, section 9.2.1. */
const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "PROPFIND"]);

/**
 * Whether a request met a connection just as the server ended it, which every server does with one that idles. RFC 9112,
 * section 9.3.1: such a request is asked again, once. Where the server has closed its side, undici tells what the connection
 * had answered before. Of one that it reset, which it does when something came after that, undici tells nothing: there a new
 * connection counts as well.
 */
function wasEnded(error: unknown): boolean {
  const { code, socket } = error as { code?: string; socket?: { bytesRead?: number } };
  if (code === "UND_ERR_SOCKET") return (socket?.bytesRead ?? 0) > 0;
  return code === "ECONNRESET" || code === "EPIPE";
}

function isTimeout(error: unknown): boolean {
  return (error as { code?: string }).code === "UND_ERR_HEADERS_TIMEOUT";
}

/** Not a stream, which is gone once it was sent. */
function isRepeatable(body: HttpRequest["body"]): body is string | Uint8Array | undefined {
  return body === undefined || typeof body === "string" || body instanceof Uint8Array;
}

function toUndici(body: HttpRequest["body"]): string | Uint8Array | Readable | null {
  return isRepeatable(body) ? (body ?? null) : Readable.from(body);
}

function isRedirect(status: number, headers: HttpResponse["headers"]): boolean {
  return [301, 302, 303, 307, 308].includes(status) && headers["location"] !== undefined;
}

/** Without what is never sent. Each of these assignments costs as much as parsing the URL. */
function bare(url: URL): URL {
  if (url.username !== "") url.username = "";
  if (url.password !== "") url.password = "";
  if (url.hash !== "") url.hash = "";
  return url;
}

function redirectTarget(location: string, from: URL, what: string): URL {
  const next = URL.parse(location, from);
  if (next === null || (next.protocol !== "http:" && next.protocol !== "https:")) {
    throw new SourceError(
      "invalid",
      `${what}the server redirects to something that is not an HTTP URL`,
    );
  }
  if (from.protocol === "https:" && next.protocol === "http:") {
    throw new SourceError(
      "invalid",
      `${what}the server redirects from https to http, which is refused`,
    );
  }
  return bare(next);
}

/** What a message begins with. @param elsewhere the host that a redirect led to */
function prefixOf(subject: string | undefined, elsewhere: string | undefined): string {
  const named = subject === undefined ? "" : `${subject}: `;
  return elsewhere === undefined ? named : `${named}redirected to ${elsewhere}: `;
}

function lowerCased(headers: Readonly<Record<string, string>>): Record<string, string> {
  const all: Record<string, string> = {};
  for (const name in headers) all[name.toLowerCase()] = headers[name] as string;
  return all;
}

function without(
  headers: Readonly<Record<string, string>>,
  drop: (name: string) => boolean,
): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !drop(name)));
}
