/** Microsoft Entra ID's part is a server on 127.0.0.1, reached by the variables that the SDK reads. */
import { writeFile } from "node:fs/promises";
import http from "node:http";
import { join } from "node:path";
import { inspect } from "node:util";
import { createHttpClient, type Environment } from "@pannier/http-client";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { authority, listen, tokenServer } from "./authority.ts";
import { entraSignIn } from "../src/entra.ts";

const SECRET = "client-secret-that-nobody-may-see";
const ASSERTION = "federated-token-that-nobody-may-see";
const signal = new AbortController().signal;
const request = {
  method: "GET",
  url: new URL("https://acc.blob.core.windows.net/c"),
  headers: {},
} as const;

beforeEach(() => {
  for (const name of Object.keys(process.env)) {
    if (/^(AZURE|IDENTITY|MSI|IMDS)_/.test(name)) vi.stubEnv(name, undefined);
  }
  // Nothing of a developer's, and no probing of the machine.
  vi.stubEnv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential");
});
afterEach(() => vi.unstubAllEnvs());

function signIn(caFile?: string) {
  const requests: string[] = [];
  const client = createHttpClient({
    idleTimeout: 2000,
    credentials: { caFile },
    onRequest: (operation) => requests.push(operation),
  });
  onTestFinished(() => client.close());
  return { requests, ...entraSignIn({ env: process.env as Environment, http: client }) };
}

const issued = (number: number) => ({
  body: {
    token_type: "Bearer",
    expires_in: 3600,
    ext_expires_in: 3600,
    access_token: `t${number}`,
  },
});

test("a client secret: one token for all, a new one where it was refused", async () => {
  const { caFile, tokens } = await authority(() => issued(tokens.length));
  vi.stubEnv("AZURE_CLIENT_SECRET", SECRET);
  const { sign, accepted, refused, requests } = signIn(caFile);
  const all = await Promise.all([sign(request, signal), sign(request, signal)]);
  for (const each of all) expect(each.headers).toEqual({ authorization: "Bearer t1" });
  expect(tokens).toHaveLength(1);
  expect(tokens[0]?.form.get("client_secret")).toBe(SECRET);

  const again = await sign(request, signal);
  accepted(again);
  expect(await refused(again, signal)).toBe(true);
  const renewed = await sign(request, signal);
  expect(renewed.headers).toEqual({ authorization: "Bearer t2" });
  // A new one that is refused as well is not worth another try, however often it was used.
  await sign(request, signal);
  expect(await refused(renewed, signal)).toBe(false);
  expect(new Set(requests)).toEqual(new Set(["sign-in"]));
});

test("a token is renewed before it expires", async () => {
  const { caFile, tokens } = await authority(() => issued(tokens.length));
  vi.stubEnv("AZURE_CLIENT_SECRET", SECRET);
  const { sign } = signIn(caFile);
  await sign(request, signal);
  const now = Date.now();
  vi.useFakeTimers({ now: now + 0.89 * 3600_000, toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  expect((await sign(request, signal)).headers).toEqual({ authorization: "Bearer t1" });
  vi.setSystemTime(now + 0.93 * 3600_000);
  expect((await sign(request, signal)).headers).toEqual({ authorization: "Bearer t2" });
});

test("workload identity: the federated token is read again", async () => {
  const { caFile, folder, tokens } = await authority(() => issued(tokens.length));
  const file = join(folder, "federated");
  await writeFile(file, ASSERTION);
  vi.stubEnv("AZURE_TOKEN_CREDENTIALS", "WorkloadIdentityCredential");
  vi.stubEnv("AZURE_FEDERATED_TOKEN_FILE", file);
  const { sign, refused } = signIn(caFile);
  const first = await sign(request, signal);
  expect(tokens[0]?.form.get("client_assertion")).toBe(ASSERTION);
  await writeFile(file, `${ASSERTION}-2`);
  await refused(first, signal);
  expect((await sign(request, signal)).headers).toEqual({ authorization: "Bearer t2" });
  expect(tokens[1]?.form.get("client_assertion")).toBe(`${ASSERTION}-2`);
});

test("managed identity", async () => {
  const { calls, listener } = tokenServer(() => ({
    body: {
      access_token: "managed",
      token_type: "Bearer",
      resource: "https://storage.azure.com",
      expires_on: String(Math.floor(Date.now() / 1000) + 3600),
    },
  }));
  const port = await listen(http.createServer(listener));
  vi.stubEnv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential");
  vi.stubEnv("IDENTITY_ENDPOINT", `http://127.0.0.1:${port}/msi/token`);
  vi.stubEnv("IDENTITY_HEADER", SECRET);
  const { sign } = signIn();
  expect((await sign(request, signal)).headers).toEqual({ authorization: "Bearer managed" });
  expect(calls).toHaveLength(1);
  const { path = "", headers } = calls[0] ?? {};
  expect(decodeURIComponent(path)).toContain("resource=https://storage.azure.com");
  expect(headers?.["x-identity-header"]).toBe(SECRET);
});

test.each([
  [
    "a wrong secret",
    {
      status: 401,
      body: {
        error: "invalid_client",
        error_description: `AADSTS7000215: Invalid client secret provided: ${SECRET}`,
      },
    },
    { code: "auth", transient: false, message: expect.stringContaining("AADSTS7000215") },
  ],
  ["a server that is down", { status: 503, body: {} }, { code: "unavailable", transient: true }],
  ["one that is busy", { status: 429, body: {} }, { code: "throttled", transient: true }],
])("%s is told apart, is asked once, and shows no secret", async (_, answer, expected) => {
  const { caFile, tokens } = await authority(() => answer);
  vi.stubEnv("AZURE_CLIENT_SECRET", SECRET);
  const { sign } = signIn(caFile);
  const error: unknown = await sign(request, signal).catch((reason: unknown) => reason);
  expect(error).toMatchObject(expected);
  expect(tokens).toHaveLength(1);
  expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(SECRET);
});

test("an authority that cannot be trusted or reached is unavailable", async () => {
  await authority(() => issued(1));
  vi.stubEnv("AZURE_CLIENT_SECRET", SECRET);
  await expect(signIn().sign(request, signal)).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("certificate"),
  });
});

test("nothing to sign in with says what could be set", async () => {
  await expect(signIn().sign(request, signal)).rejects.toMatchObject({
    code: "auth",
    hint: expect.stringContaining("AZURE_STORAGE_KEY"),
  });
});

test("an abort is obeyed while a token is asked for", async () => {
  const asked = Promise.withResolvers<void>();
  const { caFile } = await authority(() => {
    asked.resolve();
    return undefined;
  });
  vi.stubEnv("AZURE_CLIENT_SECRET", SECRET);
  const abort = new AbortController();
  const signing = signIn(caFile).sign(request, abort.signal);
  await asked.promise;
  const reason = new Error("enough");
  abort.abort(reason);
  await expect(signing).rejects.toBe(reason);
});
