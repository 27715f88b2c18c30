/** What people are told of signing in to object stores: which credentials were used, what is wrong, and what to do. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type AwsServer, startAwsServer } from "../../adapter-s3/test/aws-server.ts";
import { type S3Server, startS3Server } from "../../adapter-s3/test/s3-server.ts";
import { type GcsServer, startGcsServer } from "../../adapter-gcs/test/gcs-server.ts";
import { startTokenServer, type TokenServer } from "../../adapter-gcs/test/token-server.ts";
import {
  ACCOUNT,
  type BlobServer,
  makeBlob,
  openBlobServer,
} from "../../adapter-azure/test/blob-server.ts";
import { run } from "./run.ts";

const CLOSED = "http://127.0.0.1:9";
const ID = "AKIAFIXED00000000000";
const KEY = Buffer.from("a fixed-secret of Azure").toString("base64");
const SAS = "sv=2024-11-04&sp=rl&sig=fixed-secret";
/** All that is secret here. */
const SECRETS = [
  /(fixed|given)-(secret|token)|pod-token|web-identity-token|ya29|PRIVATE KEY|refresh-token/,
  new RegExp(KEY),
];

let folder: string;
let s3: S3Server;
let aws: AwsServer;
let gcs: GcsServer;
let google: TokenServer;
let azure: BlobServer;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "pannier-test-"));
  for (const name of Object.keys(process.env)) {
    if (/^(AWS|GOOGLE|GCE|AZURE|IDENTITY)_/.test(name)) vi.stubEnv(name, undefined);
  }
  s3 = await startS3Server();
  s3.createBucket("bucket");
  s3.put("bucket", "file", Buffer.from("content"));
  s3.keys.set(ID, { secret: "fixed-secret" });
  aws = await startAwsServer(({ id, ...key }) => void s3.keys.set(id, key));
  gcs = await startGcsServer();
  gcs.tokens = new Set();
  gcs.createBucket("bucket");
  gcs.put("bucket", "file", "content");
  google = await startTokenServer((token) => gcs.tokens?.add(token));
  azure = await openBlobServer();
  azure.accepted.keys = [KEY];
  azure.containers.set("bucket", new Map([["file", makeBlob("content")]]));
  const set = {
    HOME: folder,
    AWS_REGION: "us-east-1",
    AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${s3.port}`,
    AWS_ENDPOINT_URL_STS: aws.url,
    CLOUDSDK_CONFIG: folder,
    // Nothing is asked of a link-local address.
    AWS_EC2_METADATA_DISABLED: "true",
    METADATA_SERVER_DETECTION: "none",
    AZURE_TOKEN_CREDENTIALS: "EnvironmentCredential",
  };
  for (const [name, value] of Object.entries(set)) vi.stubEnv(name, value);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await Promise.all([s3, aws, gcs, google, azure].map((server) => server.close()));
  await rm(folder, { recursive: true });
});

const sources = {
  s3: () => "s3://bucket/",
  gcs: () => `gs://bucket/?endpoint=${gcs.endpoint}`,
  azure: () => `az://${ACCOUNT}/bucket/?endpoint=${azure.endpoint}`,
};

async function write(name: string, content: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

function useAwsKey(token?: string): void {
  vi.stubEnv("AWS_ACCESS_KEY_ID", ID);
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "fixed-secret");
  vi.stubEnv("AWS_SESSION_TOKEN", token);
}

async function useWebIdentity(): Promise<void> {
  vi.stubEnv("AWS_WEB_IDENTITY_TOKEN_FILE", await write("token", "web-identity-token"));
  vi.stubEnv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader");
}

async function useGoogle(content: unknown): Promise<void> {
  const file = await write("credentials.json", JSON.stringify(content));
  vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", file);
}

/** Of the kinds of Google's credentials, the one whose server can be named. */
async function useFederation(): Promise<void> {
  await useGoogle({
    type: "external_account",
    audience:
      "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
    subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
    token_url: `${google.url}/v1/token`,
    credential_source: { file: await write("identity", "given-token") },
  });
}

type Row = [
  what: string,
  source: keyof typeof sources,
  prepare: () => unknown,
  /** The line of `doctor`. */
  identity: string,
];

test.each<Row>([
  ["keys in variables", "s3", () => useAwsKey(), "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"],
  [
    "web identity",
    "s3",
    useWebIdentity,
    "a role assumed by web identity (AWS_WEB_IDENTITY_TOKEN_FILE)",
  ],
  [
    "a pod's identity",
    "s3",
    async () => {
      vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", `${aws.url}/pod`);
      vi.stubEnv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", await write("pod", "pod-token"));
    },
    "the container's credentials (Pod Identity, ECS)",
  ],
  [
    "federation",
    "gcs",
    useFederation,
    "workload identity federation, from GOOGLE_APPLICATION_CREDENTIALS",
  ],
  ["an account's key", "azure", () => vi.stubEnv("AZURE_STORAGE_KEY", KEY), "AZURE_STORAGE_KEY"],
  [
    "a SAS",
    "azure",
    () => {
      azure.accepted.sas = [SAS];
      vi.stubEnv("AZURE_STORAGE_SAS_TOKEN", SAS);
    },
    "AZURE_STORAGE_SAS_TOKEN",
  ],
])("doctor names the credentials: %s of %s", async (_, source, prepare, identity) => {
  await prepare();
  const url = sources[source]();
  const { code, stdout } = await run(["doctor", url]);
  expect(stdout).toContain(`✓ identity     ${identity}`);
  expect(code).toBe(0);
  const target = join(folder, "target");
  const synced = await run(["sync", url, target, "--log-level", "debug"]);
  expect(synced.code).toBe(0);
  const json = await run(["doctor", url, "--json"]);
  expectNoSecret(stdout, synced.stdout, synced.stderr, json.stdout, json.stderr);
  for (const entry of await readdir(join(target, ".pannier"))) {
    if (entry.startsWith("state")) {
      expectNoSecret(await readFile(join(target, ".pannier", entry), "latin1"));
    }
  }
});

type Failing = [
  what: string,
  source: keyof typeof sources,
  prepare: () => unknown,
  exitCode: number,
  /** What is wrong, and what to do, in one line. */
  told: RegExp,
];

test.each<Failing>([
  ["none", "s3", () => {}, 3, /there are no credentials\. Set AWS_ACCESS_KEY_ID/],
  ["none", "gcs", () => {}, 3, /no credentials of Google were found\. Set GOOGLE_APPLICATION_CRED/],
  ["none", "azure", () => {}, 3, /gave no token\. Check the variables.* or set AZURE_STORAGE_KEY/],
  [
    "expired ones",
    "s3",
    () => {
      s3.keys.set(ID, { secret: "fixed-secret", token: "fixed-token", expires: 0 });
      useAwsKey("fixed-token");
    },
    3,
    /the credentials have expired \(400 ExpiredToken\)\. Renew them/,
  ],
  [
    "an identity that has expired",
    "gcs",
    async () => {
      await useFederation();
      google.refusal = { status: 400, body: '{"error":"invalid_grant"}' };
    },
    3,
    /answered 400 \(invalid_grant\)\. .* has expired/,
  ],
  [
    "an expired SAS",
    "azure",
    () => vi.stubEnv("AZURE_STORAGE_SAS_TOKEN", SAS),
    3,
    /403 AuthenticationFailed\. The key, the SAS or the token is wrong or has expired/,
  ],
  [
    "unknown ones",
    "s3",
    () => {
      s3.keys.set(ID, { secret: "another" });
      useAwsKey();
    },
    3,
    /signing in failed \(403 SignatureDoesNotMatch\)\. The key is unknown or its secret wrong/,
  ],
  [
    "some that may not",
    "s3",
    () => {
      useAwsKey();
      s3.before = (_request, response) => {
        response.writeHead(403).end("<Error><Code>AccessDenied</Code></Error>");
        return true;
      };
    },
    3,
    /access is denied \(403 AccessDenied\)\. .* needs s3:ListBucket/,
  ],
  [
    "some that may not",
    "gcs",
    async () => {
      await useFederation();
      gcs.intercept = (_url, response) => {
        response.writeHead(403).end('{"error":{"errors":[{"reason":"forbidden"}]}}');
        return true;
      };
    },
    3,
    /403 Forbidden \(forbidden\)\. .* needs storage\.objects\.list/,
  ],
  [
    "some that may not",
    "azure",
    () => {
      vi.stubEnv("AZURE_STORAGE_KEY", KEY);
      azure.behaviour.intercept = (_request, response) => {
        response.writeHead(403, { "x-ms-error-code": "AuthorizationPermissionMismatch" }).end();
        return true;
      };
    },
    3,
    /403 AuthorizationPermissionMismatch\. .* Storage Blob Data Reader/,
  ],
  [
    "a server of keys that is not there",
    "s3",
    async () => {
      await useWebIdentity();
      vi.stubEnv("AWS_ENDPOINT_URL_STS", CLOSED);
    },
    5,
    /signing in: the connection was refused.*\. Check the host and the port/,
  ],
])("says what is wrong, and what to do: %s, of %s", async (_, source, prepare, exitCode, told) => {
  await prepare();
  const url = sources[source]();
  const target = join(folder, "target");
  const synced = await run(["sync", url, target, "--log-level", "error"]);
  expect(synced.stderr).toMatch(/^pannier: error: cannot sync [^\n]+\n$/);
  expect(synced.stderr).toMatch(told);
  expect(synced.code).toBe(exitCode);
  const { code, stdout, stderr } = await run(["doctor", url]);
  expect(stdout).toMatch(told);
  expect(code).toBe(exitCode);
  const debug = await run(["sync", url, target, "--log-level", "debug"]);
  const json = await run(["doctor", url, "--json"]);
  for (const said of [synced, debug, json]) expectNoSecret(said.stdout, said.stderr);
  expectNoSecret(stdout, stderr);
});

function expectNoSecret(...texts: readonly string[]): void {
  for (const secret of SECRETS) expect(texts.join("\n")).not.toMatch(secret);
}
