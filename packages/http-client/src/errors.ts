/** From what goes wrong on the wire to {@link SourceError}: the one place that decides. */
import { InternalError, SourceError } from "@pannier/core/adapter";

/** What fails a request that is answered with interim answers only. */
export class InterimError extends InternalError {}

/** Codes that OpenSSL's verification and Node's own host name check give to an untrusted server. */
const UNTRUSTED =
  /^(UNSPECIFIED$|CERT_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_|ERR_TLS_CERT_|INVALID_CA|INVALID_PURPOSE|HOSTNAME_MISMATCH|PATH_LENGTH_EXCEEDED)/;
/** TLS alerts by which a server asks for a client certificate or refuses the one it got. */
const CLIENT_CERTIFICATE =
  /alert (certificate required|bad certificate|certificate unknown|unknown ca|handshake failure|certificate expired|certificate revoked)/i;

/** What the parser finds wrong with an answer (llhttp's own words), and what that means. */
const NOT_HTTP: readonly (readonly [RegExp, string])[] = [
  [/after chunk data|in chunk size|overflow/, "its chunks do not begin with their size"],
  [/Missing expected CR/, "its lines end with LF, not with CR LF"],
  [/Expected LF/, "its lines end with CR, not with CR LF"],
  [
    /Expected HTTP\//,
    "it does not begin with HTTP/; another kind of server may listen on this port",
  ],
  [/status/i, "its status is not a number of three digits"],
  [/Content-Length/i, "its Content-Length is not a number"],
  [/header|space/i, "it has a malformed header line"],
];
const PARSER_ERROR = /^Response does not match the HTTP/;

/**
 * Translates a failure to connect, to send or to receive.
 *
 * @param what what the message begins with, without secrets: `img/logo.png: `; empty for what the user named himself
 * @param at `inHead`: no head of an answer has come; `silent`: nor has one to any request for a long time
 */
export function connectionError(
  error: unknown,
  what = "",
  { inHead = false, silent = false }: { inHead?: boolean; silent?: boolean } = {},
): SourceError {
  if (error instanceof SourceError) return error;
  const { code, message, isInterim } = rootOf(error);
  const make = (text: string, hint?: string, transient = true) =>
    new SourceError("unavailable", `${what}${text}`, { hint, transient, cause: error });

  if (code === "ENOTFOUND") return make("the host name is not known", "check the host in the URL");
  if (code === "EAI_AGAIN") return make("the host name cannot be resolved at the moment");
  if (code === "ECONNREFUSED") {
    return make("the connection was refused", "check the host and the port");
  }
  if (code === "UND_ERR_CONNECT_TIMEOUT" || code === "ETIMEDOUT") {
    return make("no connection could be made in time", "check the host, the port and the proxy");
  }
  if (code === "UND_ERR_HEADERS_TIMEOUT") {
    return make("the server did not answer in time", undefined, !silent);
  }
  if (isInterim) {
    return make(
      "the server keeps sending interim answers (1xx), and no final one",
      undefined,
      false,
    );
  }
  if (code === "UND_ERR_BODY_TIMEOUT") {
    return make("the server stopped sending in the middle of its answer");
  }
  if (UNTRUSTED.test(code)) {
    return make(
      `the server's certificate is not trusted (${code})`,
      code === "ERR_TLS_CERT_ALTNAME_INVALID"
        ? "the certificate is for another host name: check the host in the URL"
        : "name the file with its certificate authority in credentials.caFile",
      false,
    );
  }
  if (CLIENT_CERTIFICATE.test(message)) {
    return new SourceError("auth", `${what}the server refused the TLS handshake`, {
      hint: "it may want a client certificate: credentials.clientCertFile and credentials.clientKeyFile",
      cause: error,
    });
  }
  if (code === "EPROTO" || code.startsWith("ERR_SSL_")) {
    return make("TLS failed", "check that this port speaks TLS", false);
  }
  if (/\(407\)/.test(message)) {
    return new SourceError("auth", `${what}the proxy asks for a user and a password`, {
      hint: "write them into the proxy's URL: http://user:password@host:port",
      cause: error,
    });
  }
  if (message.startsWith("Proxy response")) {
    return make("the proxy refused to connect", "check the proxy, or name the host in NO_PROXY");
  }
  if (code === "UND_ERR_HEADERS_OVERFLOW" || code === "HPE_HEADER_OVERFLOW") {
    return new SourceError("invalid", `${what}the headers of the answer are too large`, {
      cause: error,
    });
  }
  const wrongLength = code === "UND_ERR_RES_CONTENT_LENGTH_MISMATCH";
  if (wrongLength && !inHead) return make("the answer is not as long as its Content-Length says");
  // Without a code.
  const unparsed = PARSER_ERROR.test(message) || code.startsWith("HPE_");
  if (
    unparsed ||
    wrongLength ||
    (code === "UND_ERR_SOCKET" && /^bad (response|upgrade)$/.test(message))
  ) {
    const why = wrongLength
      ? "it has two lengths, or header lines that end with LF, not with CR LF"
      : NOT_HTTP.find(([words]) => unparsed && words.test(message))?.[1];
    return make(
      `the answer is not valid HTTP${why === undefined ? "" : `: ${why}`}`,
      "the fault is the server's, or that of a proxy in front of it: ask who runs it",
      false,
    );
  }
  return make(`the connection broke (${code || "no reason given"})`);
}

/** The innermost error that has a code, or else the error itself; undici wraps, and `net` aggregates over a host's addresses. */
function rootOf(error: unknown): { code: string; message: string; isInterim: boolean } {
  let found = { code: "", message: error instanceof Error ? error.message : "" };
  let isInterim = false;
  let next = error;
  for (let depth = 0; next instanceof Error && depth < 8; depth++) {
    isInterim ||= next instanceof InterimError;
    const { code } = next as NodeJS.ErrnoException;
    if (typeof code === "string" && (found.code === "" || found.code.startsWith("UND_ERR_"))) {
      found = { code, message: next.message };
    }
    next = next.cause ?? (next instanceof AggregateError ? next.errors[0] : undefined);
  }
  return { ...found, isInterim };
}

/**
 * Translates an HTTP status that is no answer to what was asked.
 *
 * @param headers lower-case names; of them only `retry-after` is looked at
 * @param what as for {@link connectionError}
 * @param signedIn whether something to sign in with was sent
 */
export function statusError(
  status: number,
  headers: Readonly<Record<string, string | undefined>>,
  what = "",
  signedIn = false,
): SourceError {
  // The server's own words are not repeated: they may be anything. An `import` of node:http looks at each of its exports, and so
  // loads all of Node's own undici: 45 ms.
  const reason = process.getBuiltinModule("node:http").STATUS_CODES[status] ?? "";
  const message = `${what}the server answered ${status} ${reason}`.trimEnd();
  const retryAfter = parseRetryAfter(headers["retry-after"]);
  if (status === 401) {
    return new SourceError("auth", message, {
      reached: "answered",
      hint: signedIn
        ? "the user, the password or the token is wrong"
        : "give a user and password, or a token: credentials.username and credentials.passwordFile, credentials.tokenFile, or ~/.netrc",
    });
  }
  if (status === 403) {
    return new SourceError("auth", message, {
      reached: "signed-in",
      hint: signedIn
        ? "what was signed in with may not read this"
        : "no credentials were sent: it may need them, or be closed to everybody",
    });
  }
  if (status === 407) {
    return new SourceError("auth", message, {
      hint: "write a user and password into the proxy's URL: http://user:password@host:port",
    });
  }
  if (status === 404 || status === 410) {
    return new SourceError("not-found", message, {
      reached: "signed-in",
      hint: "check the path in the URL",
    });
  }
  if (status === 412) return new SourceError("changed", message);
  if (status === 429) return new SourceError("throttled", message, { retryAfter });
  if (status >= 500 || status === 408 || status === 425) {
    return new SourceError("unavailable", message, {
      retryAfter,
      hint: "the fault is the server's: try again later, or ask who runs it",
    });
  }
  if (status >= 400) return new SourceError("unavailable", message, { transient: false });
  return new SourceError("invalid", message);
}

/** Milliseconds to wait, from a `Retry-After` of seconds or of a date (RFC 9110, 10.2.3). */
export function parseRetryAfter(value: string | undefined, now = Date.now()): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
