import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { type Credentials, type Location, parseLocation, UsageError } from "@pannier/core/adapter";
import { createHttpClient } from "@pannier/http-client";
import { expect, onTestFinished, test } from "vitest";
import { connect } from "./connection.ts";

const KEY = Buffer.from("first").toString("base64");
const OTHER = Buffer.from("second").toString("base64");
const SAS = "sv=2024-11-04&ss=b&srt=co&sp=rl&sig=abc%2Bdef%3D";
const signal = new AbortController().signal;
const request = {
  method: "GET",
  url: new URL("https://acc123.blob.core.windows.net/c"),
  headers: {},
} as const;

interface Given {
  readonly env?: Record<string, string>;
  readonly credentials?: Credentials;
  readonly url?: string;
  readonly anonymous?: boolean;
  readonly endpoint?: string;
}

function choose({ env = {}, credentials = {}, url, anonymous = false, endpoint }: Given) {
  const location: Location = parseLocation(url ?? "az://acc123/c");
  const http = createHttpClient({ idleTimeout: 1000 });
  onTestFinished(() => http.close());
  return connect({
    account: location.host,
    anonymous,
    endpoint,
    location,
    credentials,
    env,
    http,
  });
}

const CONNECTION = `DefaultEndpointsProtocol=https;AccountName=acc123;AccountKey=${KEY};EndpointSuffix=core.chinacloudapi.cn`;

test.each<[string, Given, string, string?]>([
  ["nothing", { anonymous: true, env: { AZURE_STORAGE_KEY: KEY } }, "none: anonymous"],
  ["the URL", { url: `az://:${encodeURIComponent(KEY)}@acc123/c` }, "the key in the URL"],
  [
    "a connection string",
    { env: { AZURE_STORAGE_CONNECTION_STRING: CONNECTION, AZURE_STORAGE_KEY: KEY } },
    "the key in AZURE_STORAGE_CONNECTION_STRING",
    "https://acc123.blob.core.chinacloudapi.cn/",
  ],
  [
    "a connection string with a SAS",
    {
      env: {
        AZURE_STORAGE_CONNECTION_STRING: `BlobEndpoint=https://acc123.blob.core.windows.net/;SharedAccessSignature=${SAS}`,
      },
    },
    "the SAS in AZURE_STORAGE_CONNECTION_STRING",
  ],
  [
    "the emulator's",
    {
      url: "az://devstoreaccount1/c",
      env: { AZURE_STORAGE_CONNECTION_STRING: "UseDevelopmentStorage=true;" },
    },
    "the key in AZURE_STORAGE_CONNECTION_STRING",
    "http://127.0.0.1:10000/devstoreaccount1",
  ],
  [
    "a connection string of another account",
    {
      env: {
        AZURE_STORAGE_CONNECTION_STRING: CONNECTION.replace("acc123", "other"),
        AZURE_STORAGE_SAS_TOKEN: SAS,
      },
    },
    "AZURE_STORAGE_SAS_TOKEN",
  ],
  ["a key", { env: { AZURE_STORAGE_KEY: KEY, AZURE_STORAGE_SAS_TOKEN: SAS } }, "AZURE_STORAGE_KEY"],
  [
    "a key of this account",
    { env: { AZURE_STORAGE_KEY: KEY, AZURE_STORAGE_ACCOUNT: "acc123" } },
    "AZURE_STORAGE_KEY",
  ],
  [
    "a key of another account",
    {
      env: { AZURE_STORAGE_KEY: KEY, AZURE_STORAGE_ACCOUNT: "other" },
      credentials: { password: OTHER },
    },
    "credentials.password (the account's key)",
  ],
  [
    "a file",
    { credentials: { passwordFile: "/f" } },
    "credentials.passwordFile (the account's key)",
  ],
  ["a token file", { credentials: { tokenFile: "/f" } }, "credentials.tokenFile (a SAS)"],
  [
    "a client secret",
    { env: { AZURE_TENANT_ID: "t", AZURE_CLIENT_ID: "c", AZURE_CLIENT_SECRET: "s" } },
    "Microsoft Entra ID: client secret (AZURE_CLIENT_SECRET)",
  ],
  [
    "a workload identity",
    {
      env: { AZURE_TENANT_ID: "t", AZURE_CLIENT_ID: "c", AZURE_FEDERATED_TOKEN_FILE: "/f" },
      // It may be meant for another source.
      credentials: { tokenFile: "/f" },
    },
    "Microsoft Entra ID: workload identity (AZURE_FEDERATED_TOKEN_FILE)",
  ],
])("signs in by %s", async (_, given, source, endpoint) => {
  const chosen = await choose(given);
  expect(chosen.signIn.source).toBe(source);
  expect(chosen.endpoint.href).toBe(endpoint ?? "https://acc123.blob.core.windows.net/");
});

test("the option wins over a connection string's endpoint", async () => {
  const env = { AZURE_STORAGE_CONNECTION_STRING: CONNECTION };
  const { endpoint } = await choose({ env, endpoint: "http://127.0.0.1:1/acc123" });
  expect(endpoint.href).toBe("http://127.0.0.1:1/acc123");
});

const SECRET = "not/a+key!";
test.each<[string, Given]>([
  ["a key", { env: { AZURE_STORAGE_KEY: SECRET } }],
  ["a SAS", { env: { AZURE_STORAGE_SAS_TOKEN: SECRET } }],
  ["a SAS with a line break", { env: { AZURE_STORAGE_SAS_TOKEN: `${SAS}\n${SECRET}` } }],
  ["a connection string", { env: { AZURE_STORAGE_CONNECTION_STRING: SECRET } }],
  [
    "a connection string without a secret",
    { env: { AZURE_STORAGE_CONNECTION_STRING: `AccountName=${SECRET}` } },
  ],
  ["an endpoint with a SAS", { endpoint: `https://h/?sig=${SECRET}` }],
  ["an endpoint with a user", { endpoint: "https://not:a+key!@h/" }],
  ["a token over http", { endpoint: "http://blob.example/" }],
])("refuses %s without showing it", async (_, given) => {
  const error: unknown = await choose(given).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UsageError);
  expect(inspect(error, { depth: 20, showHidden: true })).not.toContain(SECRET);
});

test("a file is read again each time, and its renewal worth another try", async () => {
  const dir = await mkdtemp(join(tmpdir(), "pannier-azure-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const file = join(dir, "secret");
  await writeFile(file, `https://acc123.blob.core.windows.net/c?${SAS}\n`);
  const { signIn } = await choose({ credentials: { tokenFile: file } });
  const first = await signIn.sign(request, signal);
  expect(first.query).toBe(SAS);
  expect(await signIn.refused(first, signal)).toBe(false);
  await writeFile(file, `?${SAS}new\n`);
  expect(await signIn.refused(first, signal)).toBe(true);
  expect(await signIn.sign(request, signal)).toEqual({ query: `${SAS}new` });

  await writeFile(file, KEY);
  await expect(signIn.sign(request, signal)).rejects.toThrow(/not a shared access signature/);
  await rm(file);
  await expect(signIn.sign(request, signal)).rejects.toThrow(/cannot be read \(ENOENT\)/);
});

test("the replica that can be read is signed for as the account", async () => {
  const url = `az://:${encodeURIComponent(KEY)}@acc123-secondary/c`;
  const { signIn, endpoint } = await choose({ url });
  expect(endpoint.host).toBe("acc123-secondary.blob.core.windows.net");
  const { headers } = await signIn.sign(request, signal);
  expect(headers?.["authorization"]).toMatch(/^SharedKey acc123:/);
});
