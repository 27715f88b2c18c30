/** Registries of clouds, as far as they can be had here: their names, by a proxy that leads all of them to one server of this test. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer as createProxy } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { inspect } from "node:util";
import { parseLocation } from "@pannier/core";
import { generate } from "selfsigned";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { openStore, referenceOf } from "../src/index.ts";

const ECR = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
const ECR_API = "api.ecr.eu-west-1.amazonaws.com";
const GAR = "europe-docker.pkg.dev";
const GOOGLE = "oauth2.googleapis.com";
const ACR = "fleet.azurecr.io";
const DIGEST = `sha256:${"a".repeat(64)}`;
const SECRET = "aSecretThatNobodyMaySee";

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** By host and path. */
let answers: Record<string, Answer>;
let asked: string[];
let caFile: string;
let proxy: string;
let folder: string;

beforeEach(async () => {
  for (const name of Object.keys(process.env)) {
    if (/^(AWS|AZURE|GOOGLE|CLOUDSDK|IDENTITY|MSI|DOCKER|REGISTRY|XDG|NO_PROXY)/i.test(name))
      vi.stubEnv(name, undefined);
  }
  // No machine's metadata is asked for, and nothing of the user's is read.
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
  vi.stubEnv("METADATA_SERVER_DETECTION", "none");
  folder = await mkdtemp(join(tmpdir(), "pannier-cloud-"));
  vi.stubEnv("HOME", folder);
  answers = {};
  asked = [];
  const { cert, private: key } = await generate([{ name: "commonName", value: "clouds" }], {
    extensions: [
      {
        name: "subjectAltName",
        altNames: [ECR, ECR_API, GAR, GOOGLE, ACR].map((value) => ({ type: 2, value })),
      },
    ],
  });
  caFile = join(folder, "ca.pem");
  await writeFile(caFile, cert);
  const server = createTlsServer(
    { cert, key },
    (request, response) => void answer(request, response),
  );
  const through = createProxy();
  through.on("connect", (_, socket) => {
    const inner = connect((server.address() as AddressInfo).port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      inner.pipe(socket).pipe(inner);
    });
    for (const one of [inner, socket]) one.on("error", () => {});
  });
  for (const one of [server, through])
    await new Promise<void>((resolve) => one.listen(0, "127.0.0.1", resolve));
  proxy = `http://127.0.0.1:${(through.address() as AddressInfo).port}`;
  onTestFinished(() => {
    for (const one of [server, through]) {
      one.closeAllConnections();
      one.close();
    }
  });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const place = `${request.headers.host}${request.url?.split("?")[0]}`;
  asked.push(place);
  const found = answers[place];
  if (found === undefined) response.writeHead(404).end();
  else found(request, response, await text(request));
}

const basic = (user: string, password: string) =>
  `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
const json = (response: ServerResponse, value: unknown) =>
  void response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));

/** A manifest for whoever signs in so. */
function manifestFor(authorization: string, challenge: string): Answer {
  return ({ headers }, response) => {
    if (headers.authorization === authorization)
      response.writeHead(200, { "docker-content-digest": DIGEST }).end();
    else response.writeHead(401, { "www-authenticate": challenge }).end();
  };
}

async function digestAt(host: string): Promise<string> {
  const location = parseLocation(`oci://${host}/web/site:live`);
  const store = await openStore({
    location,
    reference: referenceOf(location),
    actions: "pull",
    credentials: { caFile },
    env: { ...process.env, HTTPS_PROXY: proxy },
    idleTimeout: 20_000,
  });
  onTestFinished(() => store.close());
  const { signal } = new AbortController();
  const digest = await store.resolve("live", signal);
  // A second question signs in with what is there.
  expect(await store.resolve("live", signal)).toBe(digest);
  return digest;
}

async function failure(host: string) {
  const error: unknown = await digestAt(host).catch((reason: unknown) => reason);
  expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(SECRET);
  return error;
}

test("ECR, by the keys that AWS's SDK finds", async () => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "AKIATEST");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", SECRET);
  answers[`${ECR_API}/`] = ({ headers }, response) => {
    expect(headers["x-amz-target"]).toMatch(/\.GetAuthorizationToken$/);
    expect(headers.authorization).toMatch(/Credential=AKIATEST\/\d+\/eu-west-1\/ecr\/aws4_request/);
    const authorizationToken = Buffer.from("AWS:password").toString("base64");
    const expiresAt = Date.now() / 1000 + 43_200;
    json(response, { authorizationData: [{ authorizationToken, expiresAt }] });
  };
  answers[`${ECR}/v2/web/site/manifests/live`] = manifestFor(
    basic("AWS", "password"),
    `Basic realm="https://${ECR}/",service="ecr.amazonaws.com"`,
  );
  expect(await digestAt(ECR)).toBe(DIGEST);
  // Once for all that follows.
  expect(asked.filter((place) => place === `${ECR_API}/`)).toHaveLength(1);
});

test("ECR refuses the keys, and that is all that is told", async () => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", "AKIATEST");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", SECRET);
  answers[`${ECR_API}/`] = (_, response) => {
    const message = `no ${SECRET}`;
    response.writeHead(400, { "content-type": "application/x-amz-json-1.1" });
    response.end(JSON.stringify({ __type: "AccessDeniedException", message }));
  };
  answers[`${ECR}/v2/web/site/manifests/live`] = manifestFor("none", 'Basic realm="x"');
  expect(await failure(ECR)).toMatchObject({
    code: "auth",
    message: "signing in to the registry by AWS failed (AccessDeniedException)",
    hint: expect.stringContaining("ecr:GetAuthorizationToken"),
  });
});

test("Artifact Registry, by what Google's SDK finds", async () => {
  const file = join(folder, "google.json");
  const kept = { type: "authorized_user", client_id: "id", client_secret: "x" };
  await writeFile(file, JSON.stringify({ ...kept, refresh_token: SECRET }));
  vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", file);
  answers[`${GOOGLE}/token`] = (_, response, body) => {
    expect(new URLSearchParams(body).get("refresh_token")).toBe(SECRET);
    json(response, { access_token: "of-google", expires_in: 3600, token_type: "Bearer" });
  };
  answers[`${GAR}/v2/token`] = ({ headers }, response) => {
    expect(headers.authorization).toBe(basic("oauth2accesstoken", "of-google"));
    json(response, { token: "of-the-registry", expires_in: 3600 });
  };
  answers[`${GAR}/v2/web/site/manifests/live`] = manifestFor(
    "Bearer of-the-registry",
    `Bearer realm="https://${GAR}/v2/token",service="${GAR}"`,
  );
  expect(await digestAt(GAR)).toBe(DIGEST);
});

test("ACR, by a managed identity whose token the registry exchanges", async () => {
  const identity = createProxy(({ headers }, response) => {
    expect(headers["x-identity-header"]).toBe(SECRET);
    json(response, {
      access_token: "of-entra",
      expires_on: String(Math.floor(Date.now() / 1000) + 3600),
      token_type: "Bearer",
      resource: "https://containerregistry.azure.net",
    });
  });
  await new Promise<void>((done) => identity.listen(0, "127.0.0.1", done));
  onTestFinished(() => void identity.close());
  const { port } = identity.address() as AddressInfo;
  vi.stubEnv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential");
  vi.stubEnv("IDENTITY_ENDPOINT", `http://127.0.0.1:${port}/msi/token`);
  vi.stubEnv("IDENTITY_HEADER", SECRET);
  answers[`${ACR}/oauth2/exchange`] = (_, response, body) => {
    const form = Object.fromEntries(new URLSearchParams(body));
    expect(form).toEqual({ grant_type: "access_token", service: ACR, access_token: "of-entra" });
    json(response, { refresh_token: "refresh" });
  };
  answers[`${ACR}/oauth2/token`] = (_, response, body) => {
    const form = new URLSearchParams(body);
    expect(form.get("grant_type")).toBe("refresh_token");
    expect(form.get("refresh_token")).toBe("refresh");
    json(response, { access_token: "of-the-registry" });
  };
  answers[`${ACR}/v2/web/site/manifests/live`] = manifestFor(
    "Bearer of-the-registry",
    `Bearer realm="https://${ACR}/oauth2/token",service="${ACR}"`,
  );
  expect(await digestAt(ACR)).toBe(DIGEST);
});

test.each([ECR, GAR, ACR])("%s is asked as anybody where nothing is found", async (host) => {
  vi.stubEnv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential");
  answers[`${host}/v2/token`] = ({ headers }, response) => {
    expect(headers.authorization).toBeUndefined();
    json(response, { token: "of-anybody" });
  };
  answers[`${host}/v2/web/site/manifests/live`] = manifestFor(
    "Bearer of-anybody",
    `Bearer realm="https://${host}/v2/token"`,
  );
  expect(await digestAt(host)).toBe(DIGEST);
});
