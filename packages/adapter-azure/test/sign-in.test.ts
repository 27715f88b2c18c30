/** Each way of signing in, through the adapter as it is, by the variables that machines and pods have. */
import { constants, createPublicKey, verify, X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { listAll, readAll } from "@pannier/adapter-kit";
import { sync } from "@pannier/core";
import type { Credentials } from "@pannier/core/adapter";
import { generate } from "selfsigned";
import {
  afterAll,
  beforeAll,
  beforeEach,
  describe,
  expect,
  onTestFinished,
  test,
  vi,
} from "vitest";
import {
  clearVariables,
  expectRefusedListing,
  RENEWALS,
  syncThroughRenewals,
  type Told,
} from "../../../test/support/sign-in.ts";
import { authority, type Call, tokenServer } from "./authority.ts";
import { ACCOUNT, makeBlob } from "./blob-server.ts";
import { type Container, openContainer } from "./open.ts";
import type { LaneData } from "../src/azure-lane.ts";
import { azure } from "../src/index.ts";
import { byKey } from "../src/sign-in.ts";

const KEY = Buffer.from("a key that nobody may see").toString("base64");
const SAS = "sv=2024-11-04&sp=rl&sig=a%2Fsignature%2Fthat%2Fnobody%2Fmay%2Fsee";
const { signal } = new AbortController();

let container: Container;
/** What was shown for each token that was given. */
let given: string[];
/** When each of them ends, in milliseconds since the epoch. */
let ends: Map<string, number>;
/** What the machine answers instead of a token. */
let refusal: { readonly status: number; readonly body: unknown } | undefined;
/** Seconds that a token lives. */
let life: number;
let folder: string;
/** Of an authority of Entra ID, where there is one. */
let caFile: string | undefined;
/** Verifies what a certificate signs. */
let certificate: X509Certificate | undefined;

beforeEach(async () => {
  container = await openContainer({ file: "content" });
  clearVariables(/^(AZURE|IDENTITY|MSI|IMDS)_/);
  // Everywhere: without it, the library would look for the machine's identity at a link-local address, and go on to.
  vi.stubEnv("IDENTITY_ENDPOINT", machineEndpoint);
  vi.stubEnv("IDENTITY_HEADER", "identity-header");
  [given, ends, life] = [[], new Map(), 3600];
  [caFile, certificate, refusal] = [undefined, undefined, undefined];
  folder = await mkdtemp(join(tmpdir(), "pannier-azure-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  container.accepted.keys = [KEY];
  container.accepted.sas = [SAS];
  const includes = (token: string) => (ends.get(token) ?? 0) > Date.now();
  container.accepted.tokens = { includes } as unknown as string[];
  onTestFinished(() => void vi.useRealTimers());
});

function give(way: string): Record<string, unknown> {
  given.push(way);
  const access_token = `issued-token-${given.length}-${Math.random()}`;
  ends.set(access_token, Date.now() + life * 1000);
  return { access_token, token_type: "Bearer" };
}

/** What an authority is shown: a secret, a federated token, or what a certificate signed. */
function shown({ form }: Call): string {
  const secret = form.get("client_secret");
  const assertion = form.get("client_assertion") ?? "";
  if (secret !== null) return secret;
  if (certificate === undefined) return assertion;
  const [header, claims, signature = ""] = assertion.split(".");
  const key = {
    key: createPublicKey(certificate.publicKey.export({ type: "spki", format: "pem" })),
    padding: constants.RSA_PKCS1_PSS_PADDING,
  };
  const good = verify(
    "RSA-SHA256",
    Buffer.from(`${header}.${claims}`),
    key,
    Buffer.from(signature, "base64url"),
  );
  return good ? "what the certificate signed" : "nothing";
}

async function useAuthority(): Promise<void> {
  ({ caFile } = await authority((call) => ({
    body: { ...give(shown(call)), expires_in: life, ext_expires_in: life },
  })));
}

/** As App Service and Container Apps have it. The library remembers the first one for the whole process. */
const machine = http.createServer(
  tokenServer(({ path, headers }) => {
    const { searchParams } = new URL(path, "http://server");
    if (refusal !== undefined) return refusal;
    const identity = searchParams.get("client_id") ?? "the machine";
    const way = `${identity} by ${String(headers["x-identity-header"])}`;
    const expires_on = String(Math.floor(Date.now() / 1000) + life);
    return { body: { ...give(way), resource: searchParams.get("resource"), expires_on } };
  }).listener,
);
let machineEndpoint: string;
beforeAll(async () => {
  await new Promise<void>((resolve) => machine.listen(0, "127.0.0.1", resolve));
  machineEndpoint = `http://127.0.0.1:${(machine.address() as AddressInfo).port}/msi/token`;
});
afterAll(() => {
  machine.closeAllConnections();
  machine.close();
});

async function useMachine(): Promise<void> {
  // The library also remembers such tokens, until five minutes before their end.
  life = Math.min(life, 200);
}

async function write(name: string, content: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

interface Way {
  /** Makes it the one that is found. */
  readonly prepare: () => Promise<Credentials | undefined | void>;
  readonly options?: { readonly anonymous?: boolean };
  readonly given: readonly string[];
  /** As `pannier doctor` has it. */
  readonly identity: string;
}

const FIXED: Record<string, Way> = {
  "a connection string with a key": {
    prepare: async () =>
      void vi.stubEnv(
        "AZURE_STORAGE_CONNECTION_STRING",
        `AccountName=${ACCOUNT};AccountKey=${KEY};BlobEndpoint=${container.endpoint};`,
      ),
    given: [],
    identity: "the key in AZURE_STORAGE_CONNECTION_STRING",
  },
  "a connection string with a SAS": {
    prepare: async () =>
      void vi.stubEnv(
        "AZURE_STORAGE_CONNECTION_STRING",
        `AccountName=${ACCOUNT};BlobEndpoint=${container.endpoint};SharedAccessSignature=${SAS}`,
      ),
    given: [],
    identity: "the SAS in AZURE_STORAGE_CONNECTION_STRING",
  },
  "a key": {
    prepare: async () => void vi.stubEnv("AZURE_STORAGE_KEY", KEY),
    given: [],
    identity: "AZURE_STORAGE_KEY",
  },
  "a SAS": {
    prepare: async () => void vi.stubEnv("AZURE_STORAGE_SAS_TOKEN", `?${SAS}`),
    given: [],
    identity: "AZURE_STORAGE_SAS_TOKEN",
  },
  "a key given to Pannier": {
    prepare: async () => {
      vi.stubEnv("IDENTITY_ENDPOINT", undefined);
      return { password: KEY };
    },
    given: [],
    identity: "credentials.password (the account's key)",
  },
  nothing: {
    prepare: async () => void (container.accepted.anonymous = true),
    options: { anonymous: true },
    given: [],
    identity: "none: anonymous",
  },
};

const ENTRA: Record<string, Way> = {
  "a client secret": {
    prepare: async () => {
      await useAuthority();
      vi.stubEnv("AZURE_CLIENT_SECRET", "client-secret");
    },
    given: ["client-secret"],
    identity: "Microsoft Entra ID: client secret (AZURE_CLIENT_SECRET)",
  },
  "a client certificate": {
    prepare: async () => {
      await useAuthority();
      const made = await generate([{ name: "commonName", value: "client" }]);
      certificate = new X509Certificate(made.cert);
      const path = await write("client.pem", `${made.private}\n${made.cert}`);
      vi.stubEnv("AZURE_CLIENT_CERTIFICATE_PATH", path);
    },
    given: ["what the certificate signed"],
    identity: "Microsoft Entra ID: client certificate (AZURE_CLIENT_CERTIFICATE_PATH)",
  },
  "workload identity": {
    prepare: async () => {
      await useAuthority();
      vi.stubEnv("AZURE_FEDERATED_TOKEN_FILE", await write("federated", "federated-token"));
    },
    given: ["federated-token"],
    identity: "Microsoft Entra ID: workload identity (AZURE_FEDERATED_TOKEN_FILE)",
  },
  "the machine's managed identity": {
    prepare: useMachine,
    given: ["the machine by identity-header"],
    identity: "Microsoft Entra ID: managed identity (IDENTITY_ENDPOINT)",
  },
  "a managed identity of a name": {
    prepare: async () => {
      await useMachine();
      vi.stubEnv("AZURE_CLIENT_ID", "a-client");
    },
    given: ["a-client by identity-header"],
    identity: "Microsoft Entra ID: managed identity (IDENTITY_ENDPOINT)",
  },
};

/** @returns credentials for the source, with an authority to trust */
async function prepared({ prepare }: Way): Promise<Credentials> {
  const credentials = await prepare();
  return { ...credentials, caFile };
}

test.each(Object.entries({ ...FIXED, ...ENTRA }))("signs in by %s", async (_, way) => {
  const credentials = await prepared(way);
  const { source } = await container.open("", way.options, credentials);
  const entry = (await listAll(source)).file("file");
  expect(String(await readAll(source, entry))).toBe("content");
  expect(given).toEqual(way.given);
  expect(await source.identity?.(signal)).toBe(way.identity);
});

test.each(Object.entries(ENTRA))(
  "a token that is refused after it was good, by %s",
  async (_, way) => {
    const { source } = await container.open("", {}, await prepared(way));
    const { file } = await listAll(source);
    await readAll(source, file("file"));
    ends.clear();
    const error: unknown = await readAll(source, file("file")).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "auth", transient: true });
    expect(inspect(error, { depth: 20, showHidden: true })).not.toMatch(/issued-token|secret/);
    expect(String(await readAll(source, file("file")))).toBe("content");
  },
);

test("an identity that may list and not read is refused for good, and keeps its token", async () => {
  await useMachine();
  const { source } = await container.open();
  const { file } = await listAll(source);
  container.behaviour.intercept = ({ url }, response) => {
    if (url?.includes("comp=list") === true) return false;
    response.writeHead(403, { "x-ms-error-code": "AuthorizationPermissionMismatch" }).end();
    return true;
  };
  const reads = Array.from({ length: 4 }, () => readAll(source, file("file")));
  for (const { reason } of (await Promise.allSettled(reads)) as PromiseRejectedResult[]) {
    expect(reason).toMatchObject({ code: "auth", transient: false });
  }
  container.behaviour.intercept = undefined;
  expect(String(await readAll(source, file("file")))).toBe("content");
  expect(given).toHaveLength(1);
});

describe("tokens that live for two seconds are renewed in the middle of a sync", () => {
  test.each(Object.entries(ENTRA))("%s", (_, way) =>
    expect(
      syncThroughRenewals({
        put: (key, content) => container.blobs.set(key, makeBlob(content)),
        prepare() {
          life = 2;
          return prepared(way);
        },
        beforeEach: (pass) => (container.behaviour.intercept = pass),
        source: () => azure(`az://${ACCOUNT}/box/`, { endpoint: container.endpoint }),
        folder,
        given: () => given.length,
      }),
    ).resolves.toSatisfy(RENEWALS),
  );
});

/** What is wrong, as it is made; what people are told of it. */
const FAILURES: Record<string, Told & { readonly prepare: () => Promise<void> }> = {
  "a federated token that is not there": {
    prepare: async () => {
      await (ENTRA["workload identity"] as Way).prepare();
      await rm(join(folder, "federated"));
    },
    told: /workload identity \(AZURE_FEDERATED_TOKEN_FILE\) gave no token/,
  },
  "a certificate that is not there": {
    prepare: async () => {
      await (ENTRA["a client certificate"] as Way).prepare();
      await rm(join(folder, "client.pem"));
    },
    told: /client certificate \(AZURE_CLIENT_CERTIFICATE_PATH\) gave no token/,
  },
  "a machine without an identity": {
    prepare: async () => {
      await useMachine();
      const body = { error: "invalid_request", error_description: "no identity identity-header" };
      refusal = { status: 400, body };
    },
    told: /managed identity \(IDENTITY_ENDPOINT\) gave no token/,
  },
  "a machine that cannot say now": {
    prepare: async () => {
      await useMachine();
      refusal = { status: 503, body: {} };
    },
    code: "unavailable",
    told: /answered 503/,
  },
};

test.each(Object.entries(FAILURES))("says what is wrong: %s", async (_, { prepare, ...told }) => {
  await prepare();
  const { source } = await container.open("", {}, { caFile });
  await expectRefusedListing(source, told, /identity-header|federated-token/);
  expect(container.log).toEqual([]);
});

test("a key signs lanes in to read blobs of the container for an hour, and to nothing else", async () => {
  const signIn = byKey(ACCOUNT, KEY, "a key");
  const url = new URL(`${container.endpoint}/box`);
  const { query, headers } = (await signIn.signReads({ container: "box", url }, signal)) ?? {};
  expect(headers).toBeUndefined();
  const { sv, sr, sp, se } = Object.fromEntries(new URLSearchParams(query));
  expect({ sv, sr, sp }).toEqual({ sv: "2021-12-02", sr: "c", sp: "r" });
  expect((Date.parse(se ?? "") - Date.now()) / 60_000).toBeCloseTo(60, 0);

  const ask = async (path: string, method = "GET") =>
    (
      await fetch(`${container.endpoint}/${path}${path.includes("?") ? "&" : "?"}${query}`, {
        method,
      })
    ).status;
  expect(await ask("box/file")).toBe(200);
  expect(await ask("box?restype=container&comp=list")).toBe(403);
  expect(await ask("another/file")).toBe(403);
  container.accepted.keys = [];
  expect(await ask("box/file")).toBe(403);
});

test("a key signs nothing for all where others can hear it", async () => {
  const signIn = byKey(ACCOUNT, KEY, "a key");
  const signed = (at: string) =>
    signIn.signReads({ container: "box", url: new URL(`${at}/box`) }, signal);
  expect(await signed("http://store.example")).toBeUndefined();
  // To be sent over TLS only.
  expect((await signed("https://store.example"))?.query).toMatch(/(^|&)spr=https(&|$)/);
});

test("a key that is renewed in its file signs what lanes ask for next", async () => {
  vi.stubEnv("IDENTITY_ENDPOINT", undefined);
  const keyFile = await write("key", KEY);
  const { source } = await container.open("", {}, { passwordFile: keyFile });
  const signatureOf = async () => {
    const { data } = (await source.lane?.(signal)) ?? {};
    return new URLSearchParams((data as LaneData).signature.query).get("sig");
  };
  const before = await signatureOf();
  expect(before).toMatch(/^.{44}$/);
  await writeFile(keyFile, Buffer.from("the next key").toString("base64"));
  expect(await signatureOf()).not.toBe(before);
});

test("an account that takes no SAS is read without lanes", async () => {
  for (let index = 0; index < 1500; index++)
    container.blobs.set(`small/${index}`, makeBlob(`content ${index}`));
  let refusals = 0;
  container.behaviour.intercept = ({ url }, response) => {
    if (url?.includes("sig=") !== true) return false;
    refusals++;
    response.writeHead(403, { "x-ms-error-code": "AuthorizationFailure" }).end();
    return true;
  };
  vi.stubEnv("PANNIER_TEST_LANES", "always");
  vi.stubEnv("IDENTITY_ENDPOINT", undefined);
  const result = await sync({
    sources: [azure(`az://${ACCOUNT}/box/small/`, { endpoint: container.endpoint })],
    target: join(folder, "target"),
    credentials: { password: KEY },
  });
  expect(result.files).toBe(1500);
  expect(await readFile(join(folder, "target/current/1499"), "utf8")).toBe("content 1499");
  // What lanes have in work by then, not all of them.
  expect(refusals).toBeGreaterThan(0);
  expect(refusals).toBeLessThanOrEqual(640);
});
