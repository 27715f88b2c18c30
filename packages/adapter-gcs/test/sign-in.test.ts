/** Each kind of Google's credentials, at a server of tokens on 127.0.0.1. */
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import {
  clearVariables,
  expectRefusedListing,
  RENEWALS,
  syncThroughRenewals,
  type Told,
} from "../../../test/support/sign-in.ts";
import { type GcsServer, startGcsServer } from "./gcs-server.ts";
import { startTokenServer, type TokenServer } from "./token-server.ts";
import { gcs } from "../src/index.ts";

const { signal } = new AbortController();
/** When each token ends, in milliseconds since the epoch. */
const ends = new Map<string, number>();
let server: GcsServer;
let google: TokenServer;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "pannier-gcs-"));
  server = await startGcsServer();
  ends.clear();
  const has = (token: string) => (ends.get(token) ?? 0) > Date.now();
  server.tokens = { has } as unknown as Set<string>;
  server.createBucket("bucket");
  server.put("bucket", "file", "content");
  google = await startTokenServer((token) => ends.set(token, Date.now() + google.expiresIn * 1000));
  clearVariables(/^(GOOGLE|GCE|AWS)_/i);
  vi.stubEnv("CLOUDSDK_CONFIG", folder);
  // Nothing is asked of a link-local address.
  vi.stubEnv("METADATA_SERVER_DETECTION", "none");
  vi.stubEnv("GCE_METADATA_HOST", `127.0.0.1:${google.port}`);
  vi.stubEnv("STORAGE_EMULATOR_HOST", undefined);
  // Names of Google's that the library has of itself lead to the server, too.
  vi.stubEnv("HTTPS_PROXY", google.url);
  await writeFile(join(folder, "ca.pem"), google.certificate);
});

afterEach(async () => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
  await server.close();
  await google.close();
  await rm(folder, { recursive: true });
});

async function write(name: string, content: unknown): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, typeof content === "string" ? content : JSON.stringify(content));
  return path;
}

async function useFile(content: unknown): Promise<void> {
  vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", await write("credentials.json", content));
}

const USER = {
  type: "authorized_user",
  client_id: "id",
  client_secret: "secret",
  refresh_token: "1//a-refresh-token",
};

/** As `gcloud iam workload-identity-pools create-cred-config` writes it. */
const federation = (credential_source: unknown, more = {}) => ({
  type: "external_account",
  audience: "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
  subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
  token_url: `${google.url}/v1/token`,
  credential_source,
  ...more,
});

const impersonation = () =>
  `${google.url}/v1/projects/-/serviceAccounts/other@a-project.iam.gserviceaccount.com:generateAccessToken`;

interface Way {
  readonly prepare: () => Promise<unknown>;
  /** By which way tokens were given, in this order. */
  readonly given: readonly string[];
  /** As `pannier doctor` has it. */
  readonly identity: string;
}

const VARIABLE = "from GOOGLE_APPLICATION_CREDENTIALS";

const WAYS: Record<string, Way> = {
  "a service account's key": {
    prepare: () => useFile(google.makeKey()),
    given: ["key"],
    identity: `a service account's key, ${VARIABLE}`,
  },
  "a user's consent that gcloud left": {
    prepare: () => write("application_default_credentials.json", USER),
    given: ["user"],
    identity: "a user's consent, from gcloud's application default credentials",
  },
  "federation, by a file": {
    prepare: async () => useFile(federation({ file: await write("identity", "subject-token") })),
    given: ["exchange of subject-token"],
    identity: `workload identity federation, ${VARIABLE}`,
  },
  "federation, by a file, as a service account": {
    prepare: async () => {
      const file = await write("identity", '{"token":"subject-token"}');
      const source = { file, format: { type: "json", subject_token_field_name: "token" } };
      await useFile(federation(source, { service_account_impersonation_url: impersonation() }));
    },
    given: ["exchange of subject-token", "impersonation"],
    identity: `workload identity federation, ${VARIABLE}`,
  },
  "federation, by a URL": {
    prepare: () =>
      useFile(federation({ url: `${google.url}/identity`, headers: { "x-secret": "header" } })),
    given: ["exchange of identity for header"],
    identity: `workload identity federation, ${VARIABLE}`,
  },
  "federation, by a program": {
    prepare: async () => {
      const answer = {
        version: 1,
        success: true,
        token_type: "urn:ietf:params:oauth:token-type:jwt",
      };
      const program = await write(
        "give-identity",
        `#!/bin/sh\ncat <<'END'\n${JSON.stringify({ ...answer, id_token: "subject-token" })}\nEND\n`,
      );
      await chmod(program, 0o700);
      vi.stubEnv("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1");
      await useFile(federation({ executable: { command: program } }));
    },
    given: ["exchange of subject-token"],
    identity: `workload identity federation, ${VARIABLE}`,
  },
  "federation, by AWS's variables": {
    prepare: async () => {
      vi.stubEnv("AWS_REGION", "eu-central-1");
      vi.stubEnv("AWS_ACCESS_KEY_ID", "AKIAFEDERATED");
      vi.stubEnv("AWS_SECRET_ACCESS_KEY", "aws-secret");
      const regional_cred_verification_url =
        "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15";
      await useFile(
        federation(
          { environment_id: "aws1", regional_cred_verification_url },
          { subject_token_type: "urn:ietf:params:aws:token-type:aws4_request" },
        ),
      );
    },
    given: ["exchange of AKIAFEDERATED"],
    identity: `workload identity federation, ${VARIABLE}`,
  },
  "workforce federation": {
    prepare: () =>
      useFile({
        ...USER,
        type: "external_account_authorized_user",
        audience: "//iam.googleapis.com/locations/global/workforcePools/p/providers/x",
        token_url: `${google.url}/v1/oauthtoken`,
      }),
    given: ["user"],
    identity: `workforce identity federation, ${VARIABLE}`,
  },
  "impersonation by a key": {
    prepare: () =>
      useFile({
        type: "impersonated_service_account",
        service_account_impersonation_url: impersonation().replace(
          google.url,
          "https://iamcredentials.googleapis.com",
        ),
        source_credentials: google.makeKey(),
      }),
    given: ["key", "impersonation"],
    identity: `an impersonated service account, ${VARIABLE}`,
  },
  "the metadata server": {
    prepare: async () => {
      vi.stubEnv("HTTPS_PROXY", "");
      vi.stubEnv("METADATA_SERVER_DETECTION", "assume-present");
    },
    given: ["metadata"],
    identity: "the metadata server's service account",
  },
};

const way = (name: string) => WAYS[name] as Way;

async function open() {
  const opened = await openSource(gcs("gs://bucket/", { endpoint: server.endpoint }), {
    credentials: { caFile: join(folder, "ca.pem") },
  });
  onTestFinished(() => opened.close());
  return opened;
}

test.each(Object.entries(WAYS))("signs in by %s", async (_, { prepare, given, identity }) => {
  await prepare();
  const { source, requests } = await open();
  const entry = (await listAll(source)).file("file");
  expect(String(await readAll(source, entry))).toBe("content");
  expect(google.given).toEqual(given);
  // Proxy, authorities and timeouts are ours then. Only the metadata server is asked by the library itself.
  expect(requests.includes("sign-in")).toBe(given[0] !== "metadata");
  expect(await source.identity?.(signal)).toBe(identity);
});

describe("tokens that live for two seconds are renewed in the middle of a sync", () => {
  test.each(Object.entries(WAYS))("%s", (_, { prepare, given }) =>
    expect(
      syncThroughRenewals({
        put: (key, content) => server.put("bucket", key, content),
        async prepare() {
          google.expiresIn = 2;
          await prepare();
          return { caFile: join(folder, "ca.pem") };
        },
        beforeEach: (pass) => (server.intercept = pass),
        source: () => gcs("gs://bucket/", { endpoint: server.endpoint }),
        folder,
        given: () => google.given.filter((each) => each === given.at(-1)).length,
      }),
    ).resolves.toSatisfy(RENEWALS),
  );
});

/** What is wrong, as it is made; what people are told of it. */
const FAILURES: Record<string, Told & { readonly prepare: () => Promise<unknown> }> = {
  "an identity that is not there": {
    prepare: async () => {
      await way("federation, by a file").prepare();
      await rm(join(folder, "identity"));
    },
    told: /the token file \S+\/identity cannot be read \(ENOENT\)/,
  },
  "an identity that has expired": {
    prepare: async () => {
      await way("federation, by a file").prepare();
      const body = { error: "invalid_grant", error_description: "subject-token has expired" };
      google.refusal = { status: 400, body: JSON.stringify(body) };
    },
    told: /answered 400 \(invalid_grant\)/,
    hint: /has expired/,
  },
  "a program that is not allowed": {
    prepare: async () => {
      await way("federation, by a program").prepare();
      vi.stubEnv("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", undefined);
    },
    told: /the program for it gave no token/,
    hint: /GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES=1/,
  },
  "a program that fails": {
    prepare: async () => {
      await way("federation, by a program").prepare();
      await write("give-identity", "#!/bin/sh\necho subject-token >&2; exit 3\n");
    },
    told: /the program for it gave no token/,
  },
  "a consent that has ended": {
    prepare: async () => {
      await way("a user's consent that gcloud left").prepare();
      google.refusal = { status: 400, body: '{"error":"invalid_grant"}' };
    },
    told: /answered 400 \(invalid_grant\)/,
    hint: /gcloud auth application-default login/,
  },
  "a machine without a service account": {
    prepare: async () => {
      await way("the metadata server").prepare();
      google.refusal = { status: 404, body: "" };
    },
    told: /the metadata server gave no token \(404\)/,
  },
  "nobody at the port, of the token exchange": {
    prepare: async () => {
      const file = await write("identity", "subject-token");
      await useFile(federation({ file }, { token_url: "http://127.0.0.1:9/" }));
    },
    code: "unavailable",
    told: /the connection was refused/,
  },
  "nobody at the port, of the metadata server": {
    prepare: async () => {
      await way("the metadata server").prepare();
      vi.stubEnv("GCE_METADATA_HOST", "127.0.0.1:9");
    },
    code: "unavailable",
    told: /the connection was refused/,
  },
};

test.each(Object.entries(FAILURES))("says what is wrong: %s", async (_, { prepare, ...told }) => {
  await prepare();
  const { source } = await open();
  await expectRefusedListing(source, told, /subject-token|ya29|a-refresh-token/);
  expect(server.log).toEqual([]);
});
