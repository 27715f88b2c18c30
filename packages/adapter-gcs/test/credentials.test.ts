import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { inspect } from "node:util";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import type { Credentials, Folder } from "@pannier/core/adapter";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { type GcsServer, startGcsServer } from "./gcs-server.ts";
import { startTokenServer, type TokenServer } from "./token-server.ts";
import { gcs, gcsAdapter } from "../src/index.ts";
import { ownTime } from "../../../test/support/own-time.ts";

let server: GcsServer;
let google: TokenServer;
let folder: string;
const keyFile = () => join(folder, "key.json");

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "pannier-gcs-"));
  server = await startGcsServer();
  server.tokens = new Set();
  server.createBucket("bucket");
  server.put("bucket", "file", "content");
  google = await startTokenServer((token) => server.tokens?.add(token));
  vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", "");
  vi.stubEnv("CLOUDSDK_CONFIG", folder);
  vi.stubEnv("METADATA_SERVER_DETECTION", "none");
  vi.stubEnv("STORAGE_EMULATOR_HOST", undefined);
  await writeFile(join(folder, "ca.pem"), google.certificate);
  vi.stubEnv("HTTPS_PROXY", google.url);
});

afterEach(async () => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
  await server.close();
  await google.close();
  await rm(folder, { recursive: true });
});

async function open(credentials: Credentials = {}, options: Record<string, unknown> = {}) {
  const spec = gcs("gs://bucket/", { endpoint: server.endpoint, ...options });
  const trusting = { caFile: join(folder, "ca.pem"), ...credentials };
  const opened = await openSource(spec, { credentials: trusting, idleTimeout: 1000 });
  onTestFinished(() => opened.close());
  return opened;
}

async function useFile(content: unknown): Promise<void> {
  await writeFile(keyFile(), typeof content === "string" ? content : JSON.stringify(content));
  vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", keyFile());
}

async function contentOf({ source }: Awaited<ReturnType<typeof open>>): Promise<string> {
  return String(await readAll(source, (await listAll(source)).file("file")));
}

/** As `pannier doctor` says it. */
async function identityOf({ source }: Awaited<ReturnType<typeof open>>): Promise<unknown> {
  return source.identity?.(new AbortController().signal);
}

async function failureOf(what: Promise<unknown>): Promise<Error> {
  const error = await what.then(
    () => expect.unreachable("this should have failed"),
    (thrown: unknown) => thrown as Error,
  );
  // Everything that could be printed of it, however deep.
  const printed = inspect(error, { depth: 20, showHidden: true });
  expect(printed).not.toMatch(/ya29|PRIVATE KEY|eyJ|1\/\/|subject-token/);
  return error;
}

test("signs in with a service account's key, once for many requests", async () => {
  await useFile(google.makeKey());
  const opened = await open();
  expect(await contentOf(opened)).toBe("content");
  expect(google.given).toEqual(["key"]);
  expect(opened.requests).toEqual(["sign-in", "list", "read"]);
  expect(await identityOf(opened)).toBe(
    "a service account's key, from GOOGLE_APPLICATION_CREDENTIALS",
  );
});

test("asks for the right to write only where something is written", async () => {
  await useFile(google.makeKey());
  const { location, options } = gcs("gs://bucket/", { endpoint: server.endpoint });
  const bucket = (await gcsAdapter.openFolder?.(location, options as never, {
    credentials: { caFile: join(folder, "ca.pem") },
    idleTimeout: 1000,
    request() {},
  })) as Folder;
  onTestFinished(() => bucket.close());
  const { signal } = new AbortController();
  server.intercept = ({ pathname }, response) => {
    if (!pathname.startsWith("/upload/")) return false;
    response.end("{}");
    return true;
  };
  expect(await bucket.size("file", signal)).toBe(7);
  const scope = "https://www.googleapis.com/auth/devstorage";
  expect(google.scopes).toEqual([`${scope}.read_only`]);
  const file = { size: 3, content: () => Readable.from([Buffer.from("new")]), type: "text/plain" };
  await bucket.write("file", file, signal);
  expect(google.scopes).toEqual([`${scope}.read_only`, `${scope}.read_write`]);
  const tokens = server.log.map(({ headers }) => headers.authorization);
  expect(tokens).toEqual(["Bearer ya29.secret-token-1", "Bearer ya29.secret-token-2"]);
});

test("credentials of another universe are for the store of that universe", async () => {
  const asked: string[] = [];
  const proxy = createServer().on("connect", ({ url = "" }, socket) => {
    asked.push(url);
    socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  onTestFinished(() => void proxy.close());
  vi.stubEnv("HTTPS_PROXY", `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`);
  await useFile({ ...google.makeKey(), universe_domain: "cloud.test" });
  const { source } = await open({}, { endpoint: undefined });
  await failureOf(listAll(source));
  // Such a key signs by itself: nobody is asked for a token.
  expect(asked).toEqual(["storage.cloud.test:443"]);
});

test("many requests at once wait for one token", async () => {
  await useFile(google.makeKey());
  const { source } = await open();
  await Promise.all(Array.from({ length: 20 }, () => listAll(source)));
  expect(google.given).toEqual(["key"]);
});

test("signs in with what gcloud left, and bills whom that names", async () => {
  const user = { type: "authorized_user", client_id: "id", client_secret: "secret" };
  const more = { refresh_token: "1//a-refresh-token", quota_project_id: "billed" };
  const file = join(folder, "application_default_credentials.json");
  await writeFile(file, JSON.stringify({ ...user, ...more }));
  const opened = await open();
  expect(await contentOf(opened)).toBe("content");
  expect(await identityOf(opened)).toBe(
    "a user's consent, from gcloud's application default credentials",
  );
  expect(google.given).toEqual(["user"]);
  expect(server.log.map(({ headers }) => headers["x-goog-user-project"])).toEqual([
    "billed",
    "billed",
  ]);
});

test("signs in by workload identity federation, and reads the identity again", async () => {
  const identity = join(folder, "identity");
  await writeFile(identity, "subject-token-1");
  await useFile({
    type: "external_account",
    audience:
      "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
    subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
    token_url: "https://sts.googleapis.com/v1/token",
    credential_source: { file: identity },
  });
  vi.useFakeTimers({ toFake: ["Date"] });
  const opened = await open();
  expect(await contentOf(opened)).toBe("content");
  await writeFile(identity, "subject-token-2");
  vi.setSystemTime(Date.now() + 3590_000);
  expect(await contentOf(opened)).toBe("content");
  expect(google.given).toEqual(["exchange of subject-token-1", "exchange of subject-token-2"]);
});

test("a token is renewed before it expires, with the key that is there then", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  await useFile(google.makeKey());
  const opened = await open();
  expect(await contentOf(opened)).toBe("content");

  google.forgetKeys();
  await useFile(google.makeKey());
  vi.setSystemTime(Date.now() + 53 * 60_000);
  expect(await contentOf(opened)).toBe("content");
  expect(google.given).toHaveLength(1);
  vi.setSystemTime(Date.now() + 2 * 60_000);
  server.tokens?.clear();
  expect(await contentOf(opened)).toBe("content");
  expect(google.given).toHaveLength(2);
});

test("a token that is refused after it was good is replaced at the next try", async () => {
  await useFile(google.makeKey());
  const opened = await open();
  const { file } = await listAll(opened.source);
  server.tokens?.clear();
  const error = await failureOf(readAll(opened.source, file("file")));
  expect(error).toMatchObject({ code: "auth", transient: true });
  expect(String(await readAll(opened.source, file("file")))).toBe("content");
});

test("a token that never was good is not tried again", async () => {
  await useFile(google.makeKey());
  server.tokens = { has: () => false, add: () => {} } as unknown as Set<string>;
  const { source } = await open();
  for (let i = 0; i < 2; i++) {
    const error = await failureOf(listAll(source));
    expect(error).toMatchObject({ code: "auth", transient: false });
  }
});

test("takes the token file where Google's chain finds nothing, and reads it again", async () => {
  const tokenFile = join(folder, "token");
  server.tokens = new Set(["ya29.first"]);
  await writeFile(tokenFile, "ya29.first\n");
  const opened = await open({ tokenFile });
  const { source } = opened;
  expect(await identityOf(opened)).toBe("a token from credentials.tokenFile");
  await listAll(source);
  server.tokens = new Set(["ya29.second"]);
  expect(await failureOf(listAll(source))).toMatchObject({ code: "auth" });
  await writeFile(tokenFile, "ya29.second");
  await listAll(source);
  await writeFile(tokenFile, "ya29.second\nya29.third");
  expect((await failureOf(listAll(source))).message).toContain("holds no token");
});

test("Google's chain comes before the token file, which may be for another source", async () => {
  const tokenFile = join(folder, "token");
  await writeFile(tokenFile, "ya29.of-another-server");
  await useFile(google.makeKey());
  const { source } = await open({ tokenFile });
  await listAll(source);
  expect(google.given).toEqual(["key"]);
});

test("without credentials it says so; anonymously it sends none", async () => {
  const { source } = await open();
  const error = await failureOf(listAll(source));
  expect(error).toMatchObject({ code: "auth", transient: false });
  expect(error.message).toBe("no credentials of Google were found");

  await useFile(google.makeKey());
  server.tokens = undefined;
  const anonymous = await open({}, { anonymous: true });
  expect(await contentOf(anonymous)).toBe("content");
  expect(await identityOf(anonymous)).toBe("nothing: anonymous");
  expect(google.given).toEqual([]);
  expect(server.log.every(({ headers }) => headers.authorization === undefined)).toBe(true);
});

test("STORAGE_EMULATOR_HOST is asked without signing in, with or without a scheme", async () => {
  await useFile(google.makeKey());
  server.tokens = undefined;
  for (const host of [`127.0.0.1:${server.port}`, server.endpoint]) {
    vi.stubEnv("STORAGE_EMULATOR_HOST", host);
    expect(await contentOf(await open({}, { endpoint: undefined }))).toBe("content");
  }
  expect(google.given).toEqual([]);
});

test.each([
  [400, '{"error":"invalid_grant","error_description":"eyJ"}', "auth", /400 \(invalid_grant\)/],
  [401, "<html>ya29.echo</html>", "auth", /401/],
  [503, "{}", "unavailable", /signing in: the server answered 503/],
])("a refusal to give a token, %i, says so", async (status, body, code, message) => {
  await useFile(google.makeKey());
  google.refusal = { status, body };
  const { source, requests } = await open();
  const error = await failureOf(listAll(source));
  expect(requests).toEqual(["sign-in"]);
  expect(error).toMatchObject({ code });
  expect(error.message).toMatch(message);
});

test("a server for tokens that is not there is unavailable", async () => {
  await useFile(google.makeKey());
  vi.stubEnv("HTTPS_PROXY", "http://127.0.0.1:9");
  const { source } = await open();
  const error = await failureOf(listAll(source));
  expect(error).toMatchObject({ code: "unavailable", transient: true });
  expect(error.message).toBe("signing in: the connection was refused");
});

test("a server for tokens that is not trusted is none", async () => {
  await useFile(google.makeKey());
  const { source } = await open({ caFile: undefined });
  const error = await failureOf(listAll(source));
  expect(error).toMatchObject({ code: "unavailable", transient: false });
  expect(error.message).toMatch(/^signing in: the server's certificate is not trusted/);
});

test("an abort does not wait for a token", async () => {
  await useFile(google.makeKey());
  google.silent = true;
  const { source } = await open();
  const stop = new AbortController();
  const listing = listAll(source, stop.signal);
  const reason = new Error("enough");
  setTimeout(() => stop.abort(reason), 50);
  const took = ownTime();
  await expect(listing).rejects.toBe(reason);
  expect(took()).toBeLessThan(900);
});

test.each([
  ["no JSON", "-----BEGIN PRIVATE KEY-----", /is not JSON/],
  ["no credentials", "{}", /of no kind that is known/],
  ["a key that is none", undefined, /cannot be used/],
])("a file with %s is named, and not quoted", async (_, content, message) => {
  await useFile(content ?? { ...google.makeKey(), private_key: "eyJ no key" });
  const { source } = await open();
  expect((await failureOf(listAll(source))).message).toMatch(message);
});

test("a file that is not there is named", async () => {
  vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", join(folder, "absent.json"));
  const { source } = await open();
  expect((await failureOf(listAll(source))).message).toMatch(/absent\.json cannot be read/);
});
