/**
 * Where Google gives tokens: OAuth, the token exchange, impersonation and the metadata server. Google's library knows
 * the first three by their names only, so this is also the proxy by which 127.0.0.1 is reached under them.
 */
import { createPublicKey, generateKeyPairSync, verify } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { text } from "node:stream/consumers";
import { generate } from "selfsigned";

const NAMES = ["oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com"];

export interface TokenServer {
  /** Of the metadata server, and of the proxy. */
  readonly port: number;
  readonly url: string;
  /** What to trust. */
  readonly certificate: string;
  /** Seconds that a token lives. */
  expiresIn: number;
  /** What is answered instead. */
  refusal: { readonly status: number; readonly body: string } | undefined;
  /** Says nothing. */
  silent: boolean;
  /** By which way each token was given. */
  readonly given: string[];
  /** What those are good for that were given for a key. */
  readonly scopes: unknown[];
  /** A key that is accepted from now on, as the file that Google hands out. */
  makeKey(): Record<string, string>;
  /** No key is accepted any more. */
  forgetKeys(): void;
  close(): Promise<void>;
}

/** @param accept told of each token that is given */
export async function startTokenServer(accept: (token: string) => void): Promise<TokenServer> {
  const keys = new Map<string, string>();
  let tokens = 0;

  const give = (way: string) => {
    self.given.push(way);
    const token = `ya29.secret-token-${++tokens}`;
    accept(token);
    return token;
  };

  async function answer(request: IncomingMessage): Promise<unknown> {
    const { url = "" } = request;
    const body = await text(request);
    const expires_in = self.expiresIn;
    if (url.startsWith("/computeMetadata/v1/instance/service-accounts/default/token")) {
      if (request.headers["metadata-flavor"] !== "Google") return undefined;
      return { access_token: give("metadata"), expires_in, token_type: "Bearer" };
    }
    if (url.endsWith(":generateAccessToken")) {
      if (request.headers.authorization?.startsWith("Bearer ya29.") !== true) return undefined;
      const expireTime = new Date(Date.now() + expires_in * 1000).toISOString();
      return { accessToken: give("impersonation"), expireTime };
    }
    // What others give for an identity of theirs, to be shown to Google.
    if (url === "/identity") return `identity for ${request.headers["x-secret"]}`;
    const form = new URLSearchParams(body);
    switch (form.get("grant_type")) {
      case "urn:ietf:params:oauth:grant-type:jwt-bearer":
        if (!isSigned(form.get("assertion") ?? "", keys)) return undefined;
        self.scopes.push(claimsOf(form.get("assertion") ?? "")["scope"]);
        return { access_token: give("key"), expires_in, token_type: "Bearer" };
      case "refresh_token":
        if (form.get("refresh_token") !== "1//a-refresh-token") return undefined;
        return { access_token: give("user"), expires_in, token_type: "Bearer" };
      case "urn:ietf:params:oauth:grant-type:token-exchange":
        return {
          access_token: give(`exchange of ${subjectOf(form.get("subject_token") ?? "")}`),
          issued_token_type: "urn:ietf:params:oauth:token-type:access_token",
          token_type: "Bearer",
          expires_in,
        };
      default:
        return undefined;
    }
  }

  const listener = async (request: IncomingMessage, response: ServerResponse) => {
    if (self.silent) return;
    const { refusal } = self;
    const answered = refusal === undefined ? await answer(request) : undefined;
    const { status, body } = refusal ?? {
      status: answered === undefined ? 400 : 200,
      body:
        typeof answered === "string"
          ? answered
          : JSON.stringify(
              answered ?? { error: "invalid_grant", error_description: "Invalid JWT Signature." },
            ),
    };
    response.writeHead(status, { "content-type": "application/json", "metadata-flavor": "Google" });
    response.end(body);
  };
  const { private: key, cert } = await generate(
    [{ name: "commonName", value: NAMES[0] as string }],
    {
      keyType: "ec",
      algorithm: "sha256",
      extensions: [
        { name: "subjectAltName", altNames: NAMES.map((value) => ({ type: 2, value })) },
      ],
    },
  );
  const google = createTlsServer({ key, cert }, listener);
  const server = createServer(listener).on("connect", (_request, socket) => {
    socket.on("error", () => {});
    socket.write("HTTP/1.1 200 OK\r\n\r\n");
    google.emit("connection", socket);
  });
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const self: TokenServer = {
    port,
    url: `http://127.0.0.1:${port}`,
    certificate: cert,
    expiresIn: 3600,
    refusal: undefined,
    silent: false,
    given: [],
    scopes: [],
    makeKey() {
      const pair = generateKeyPairSync("rsa", {
        modulusLength: 2048,
        publicKeyEncoding: { type: "spki", format: "pem" },
        privateKeyEncoding: { type: "pkcs8", format: "pem" },
      });
      const id = `key-${keys.size + 1}`;
      keys.set(id, pair.publicKey);
      return {
        type: "service_account",
        project_id: "a-project",
        private_key_id: id,
        private_key: pair.privateKey,
        client_email: "reader@a-project.iam.gserviceaccount.com",
        token_uri: "https://oauth2.googleapis.com/token",
      };
    },
    forgetKeys: () => keys.clear(),
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
  return self;
}

/** A token as it is; of a signed request to AWS, the key that signed it. */
function subjectOf(token: string): string {
  return /Credential=([^/]+)\//.exec(decodeURIComponent(token))?.[1] ?? token;
}

function claimsOf(assertion: string): Record<string, unknown> {
  const [, claims = ""] = assertion.split(".");
  return JSON.parse(Buffer.from(claims, "base64url").toString()) as Record<string, unknown>;
}

function isSigned(assertion: string, keys: ReadonlyMap<string, string>): boolean {
  const [header = "", claims = "", signature = ""] = assertion.split(".");
  const signed = Buffer.from(`${header}.${claims}`);
  return [...keys.values()].some((key) =>
    verify("RSA-SHA256", signed, createPublicKey(key), Buffer.from(signature, "base64url")),
  );
}
