/**
 * Where AWS gives keys, as its library asks for them: STS, single sign-on, the container's credentials and the
 * instance's metadata. One server for all, on 127.0.0.1.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

export interface GivenKey {
  readonly id: string;
  readonly secret: string;
  readonly token: string;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}

export interface AwsServer {
  readonly url: string;
  /** Milliseconds that a key lives. */
  life: number;
  /** By which way each key was given, with what was shown for it. */
  readonly given: string[];
  /** How many there were, whatever became of them. */
  requests: number;
  /** Answered instead: a status and a code. */
  refusal: { readonly status: number; readonly code: string } | undefined;
  close(): Promise<void>;
}

/**
 * @param accept told of each key that is given
 * @param tls with what it speaks TLS
 */
export async function startAwsServer(
  accept: (key: GivenKey) => void,
  tls?: { readonly key: string; readonly cert: string },
): Promise<AwsServer> {
  let keys = 0;

  const give = (way: string): GivenKey => {
    self.given.push(way);
    const number = ++keys;
    const id = `ASIAGIVEN${String(number).padStart(11, "0")}`;
    const expires = Date.now() + self.life;
    const key = { id, secret: `given-secret-${number}`, token: `given-token-${number}`, expires };
    accept(key);
    return key;
  };

  function answer(request: IncomingMessage, body: string): unknown {
    const { method = "", url = "", headers } = request;
    const { pathname, searchParams } = new URL(url, "http://server");
    if (method === "POST" && pathname === "/token") {
      const { refreshToken, clientSecret } = JSON.parse(body) as Record<string, string>;
      if (clientSecret !== "sso-client-secret") return undefined;
      self.given.push(`session renewed by ${refreshToken}`);
      return { accessToken: "sso-session-2", tokenType: "Bearer", expiresIn: 3600 };
    }
    if (method === "POST" && pathname === "/") return sts(headers, new URLSearchParams(body));
    if (pathname === "/federation/credentials") {
      const token = String(headers["x-amz-sso_bearer_token"]);
      if (!token.startsWith("sso-session")) return undefined;
      const way = `${searchParams.get("role_name")} for ${token}`;
      const { id, secret, token: sessionToken, expires } = give(way);
      return {
        roleCredentials: {
          accessKeyId: id,
          secretAccessKey: secret,
          sessionToken,
          expiration: expires,
        },
      };
    }
    if (pathname === "/pod") {
      const { authorization } = headers;
      return authorization === undefined ? undefined : plain(give(`pod for ${authorization}`));
    }
    if (method === "PUT" && pathname === "/latest/api/token") return "metadata-token";
    if (headers["x-aws-ec2-metadata-token"] !== "metadata-token") return undefined;
    const instance = "/latest/meta-data/iam/security-credentials/";
    if (pathname === instance) return "reader";
    if (pathname === `${instance}reader`) return plain(give("instance"));
    return undefined;
  }

  function sts(headers: IncomingMessage["headers"], form: URLSearchParams): string | undefined {
    const action = form.get("Action") ?? "";
    const signedBy = /Credential=([^/]+)\//.exec(headers.authorization ?? "")?.[1];
    const shown = action === "AssumeRole" ? signedBy : form.get("WebIdentityToken");
    if (shown === undefined || shown === null) return undefined;
    const arn = form.get("RoleArn") ?? "";
    const { id, secret, token, expires } = give(`${arn.split("/")[1]} for ${shown}`);
    const expiration = new Date(expires).toISOString();
    return `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result><AssumedRoleUser><AssumedRoleId>AROA:s</AssumedRoleId><Arn>${arn}/s</Arn></AssumedRoleUser><Credentials><AccessKeyId>${id}</AccessKeyId><SecretAccessKey>${secret}</SecretAccessKey><SessionToken>${token}</SessionToken><Expiration>${expiration}</Expiration></Credentials></${action}Result></${action}Response>`;
  }

  const listener: RequestListener = (request, response) => {
    self.requests++;
    void text(request).then((body) => {
      const { status, code } = self.refusal ?? { status: 403, code: "AccessDenied" };
      const found = self.refusal === undefined ? answer(request, body) : undefined;
      if (found === undefined) {
        // Each of them has its own form for this; the library looks where it expects it.
        response.writeHead(status, { "x-amzn-errortype": code });
        const isSts = request.url === "/";
        const error = `<ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>given-secret</Message></Error></ErrorResponse>`;
        return response.end(isSts ? error : JSON.stringify({ code, message: "given-secret" }));
      }
      return response.end(typeof found === "string" ? found : JSON.stringify(found));
    });
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const self: AwsServer = {
    url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    life: 3600_000,
    given: [],
    requests: 0,
    refusal: undefined,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return self;
}

/** As the container's and the instance's answers have it. */
function plain({ id, secret, token, expires }: GivenKey) {
  return {
    Code: "Success",
    AccessKeyId: id,
    SecretAccessKey: secret,
    Token: token,
    // They have whole seconds.
    Expiration: new Date(expires).toISOString().replace(/\.\d+/, ""),
  };
}
