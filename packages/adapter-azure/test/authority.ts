/** What gives tokens: an authority of Microsoft Entra ID, which has to speak TLS, and a managed identity's endpoint. On 127.0.0.1. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage, RequestListener } from "node:http";
import type http from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generate } from "selfsigned";
import { onTestFinished, vi } from "vitest";

const TENANT = "11111111-2222-3333-4444-555555555555";

export interface Call {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly form: URLSearchParams;
}

/** `undefined`: none. */
export type Answer = { readonly status?: number; readonly body: unknown } | undefined;

/** Answers with what `answer` gives, and notes what was asked. */
export function tokenServer(answer: (call: Call) => Answer) {
  const calls: Call[] = [];
  const listener: RequestListener = (incoming, response) => {
    let text = "";
    incoming.on("data", (chunk) => (text += String(chunk)));
    incoming.on("end", () => {
      const { url = "", headers } = incoming;
      const call = { path: url, headers, form: new URLSearchParams(text) };
      calls.push(call);
      const answered = answer(call);
      if (answered === undefined) return;
      const { status = 200, body } = answered;
      response.setHeader("content-type", "application/json");
      response.writeHead(status).end(JSON.stringify(body));
    });
  };
  return { calls, listener };
}

export async function listen(server: http.Server | https.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

/** An authority of one's own, whose certificate only the file names. Answers to `token` are the test's. */
export async function authority(token: (call: Call) => Answer) {
  const { private: key, cert } = await generate([{ name: "commonName", value: "127.0.0.1" }], {
    extensions: [{ name: "subjectAltName", altNames: [{ type: 7, ip: "127.0.0.1" }] }],
  });
  const folder = await mkdtemp(join(tmpdir(), "pannier-entra-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const caFile = join(folder, "ca.pem");
  await writeFile(caFile, cert);
  let origin = "";
  const tokens: Call[] = [];
  const { listener } = tokenServer((call) => {
    if (/\/token(\?|$)/.test(call.path)) {
      tokens.push(call);
      return token(call);
    }
    const base = `${origin}/${TENANT}`;
    return {
      body: {
        issuer: `${base}/v2.0`,
        authorization_endpoint: `${base}/authorize`,
        token_endpoint: `${base}/token`,
        jwks_uri: `${base}/keys`,
      },
    };
  });
  origin = `https://127.0.0.1:${await listen(https.createServer({ key, cert }, listener))}`;
  vi.stubEnv("AZURE_AUTHORITY_HOST", origin);
  vi.stubEnv("AZURE_TENANT_ID", TENANT);
  vi.stubEnv("AZURE_CLIENT_ID", "a-client");
  return { caFile, folder, tokens };
}
