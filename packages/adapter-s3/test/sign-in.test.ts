/** Each way of AWS's chain, at a server on 127.0.0.1 that is reached by the variables which AWS's library reads. */
import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import type { Credentials } from "@pannier/core/adapter";
import { generate } from "selfsigned";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import {
  clearVariables,
  expectRefusedListing,
  RENEWALS,
  syncThroughRenewals,
  type Told,
} from "../../../test/support/sign-in.ts";
import { type AwsServer, startAwsServer } from "./aws-server.ts";
import { type S3Server, startS3Server } from "./s3-server.ts";
import { s3 } from "../src/index.ts";

const ID = "AKIAFIXED00000000000";
const SECRET = "fixed-secret";
const ROLE = "arn:aws:iam::123456789012:role/reader";
const { signal } = new AbortController();

let server: S3Server;
let aws: AwsServer;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "pannier-s3-"));
  server = await startS3Server();
  server.createBucket("bucket");
  server.put("bucket", "file", Buffer.from("content"));
  server.keys.set(ID, { secret: SECRET });
  aws = await startAwsServer(({ id, ...key }) => void server.keys.set(id, key));
  clearVariables(/^AWS_/);
  vi.stubEnv("HOME", folder);
  vi.stubEnv("AWS_REGION", "us-east-1");
  vi.stubEnv("AWS_ENDPOINT_URL_S3", `http://127.0.0.1:${server.port}`);
  for (const service of ["STS", "SSO", "SSO_OIDC"]) {
    vi.stubEnv(`AWS_ENDPOINT_URL_${service}`, aws.url);
  }
  // In every test: what nobody answers for would be asked of a link-local address.
  vi.stubEnv("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.url);
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
});

afterEach(async () => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
  await server.close();
  await aws.close();
  await rm(folder, { recursive: true });
});

/** @returns its path */
async function write(name: string, content: string): Promise<string> {
  const path = join(folder, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
  return path;
}

const config = (...lines: string[]) => write(".aws/config", `${lines.join("\n")}\n`);

/** The session of single sign-on as `aws sso login` leaves it. */
function session(name: string, life: number) {
  const file = createHash("sha1").update(name).digest("hex");
  const content = {
    accessToken: "sso-session-1",
    expiresAt: new Date(Date.now() + life).toISOString(),
    refreshToken: "sso-refresh",
    clientId: "sso-client",
    clientSecret: "sso-client-secret",
  };
  return write(`.aws/sso/cache/${file}.json`, JSON.stringify(content));
}

/** What a program prints that gives keys, new ones each time. */
async function credentialProcess(): Promise<string> {
  const program = await write(
    "give-keys",
    `#!/bin/sh\nexec '${process.execPath}' -e 'fetch("${aws.url}/pod", { headers: { authorization: "process" } }).then((answer) => answer.json()).then(({ Token, ...keys }) => console.log(JSON.stringify({ Version: 1, SessionToken: Token, ...keys })))'\n`,
  );
  await chmod(program, 0o700);
  return program;
}

interface Way {
  /** Makes it the one that is found. */
  readonly prepare: () => Promise<unknown>;
  readonly profile?: string;
  /** What the servers of keys were shown, from which way to which. */
  readonly given: readonly string[];
  /** As `pannier doctor` has it. */
  readonly identity: string;
}

const useRole = ["[profile reader]", `role_arn = ${ROLE}`];
const useSso = ["sso_account_id = 123456789012", "sso_role_name = reader"];
const START = ["sso_start_url = https://sso.invalid/start", "sso_region = us-east-1"];

const FIXED: Record<string, Way> = {
  variables: {
    prepare: async () => {
      vi.stubEnv("AWS_ACCESS_KEY_ID", ID);
      vi.stubEnv("AWS_SECRET_ACCESS_KEY", SECRET);
    },
    given: [],
    identity: "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
  },
  "a profile with a key": {
    prepare: () =>
      write(
        ".aws/credentials",
        `[reader]\naws_access_key_id = ${ID}\naws_secret_access_key = ${SECRET}\n`,
      ),
    profile: "reader",
    given: [],
    identity: "a profile (reader)",
  },
};

const TEMPORARY: Record<string, Way> = {
  "a role that a profile assumes by another": {
    prepare: async () => {
      await config(...useRole, "source_profile = base", "[profile base]", "region = us-east-1");
      await write(
        ".aws/credentials",
        `[base]\naws_access_key_id = ${ID}\naws_secret_access_key = ${SECRET}\n`,
      );
    },
    profile: "reader",
    given: [`reader for ${ID}`],
    identity: "a role assumed by a profile (reader)",
  },
  "a role that a profile assumes by variables": {
    prepare: async () => {
      await config(...useRole, "credential_source = Environment");
      vi.stubEnv("AWS_PROFILE", "reader");
      vi.stubEnv("AWS_ACCESS_KEY_ID", ID);
      vi.stubEnv("AWS_SECRET_ACCESS_KEY", SECRET);
    },
    given: [`reader for ${ID}`],
    identity: "a role assumed by a profile (reader)",
  },
  "single sign-on": {
    prepare: async () => {
      await config(
        "[profile reader]",
        "sso_session = ours",
        ...useSso,
        "[sso-session ours]",
        ...START,
      );
      await session("ours", 3600_000);
    },
    profile: "reader",
    given: ["reader for sso-session-1"],
    identity: "single sign-on by a profile (reader)",
  },
  "single sign-on, its session renewed": {
    prepare: async () => {
      // The library asks for a session's renewal once in 30 seconds.
      const name = basename(folder);
      const named = [`sso_session = ${name}`, ...useSso, `[sso-session ${name}]`, ...START];
      await config("[profile reader]", ...named);
      await session(name, -1000);
    },
    profile: "reader",
    given: ["session renewed by sso-refresh", "reader for sso-session-2"],
    identity: "single sign-on by a profile (reader)",
  },
  "single sign-on without a session": {
    prepare: async () => {
      await config("[profile reader]", ...useSso, ...START);
      await session("https://sso.invalid/start", 3600_000);
    },
    profile: "reader",
    given: ["reader for sso-session-1"],
    identity: "single sign-on by a profile (reader)",
  },
  "web identity (IRSA)": {
    prepare: async () => {
      vi.stubEnv("AWS_WEB_IDENTITY_TOKEN_FILE", await write("token", "web-identity-token"));
      vi.stubEnv("AWS_ROLE_ARN", ROLE);
    },
    given: ["reader for web-identity-token"],
    identity: "a role assumed by web identity (AWS_WEB_IDENTITY_TOKEN_FILE)",
  },
  "web identity by a profile": {
    prepare: async () => {
      const token = await write("token", "web-identity-token");
      await config(...useRole, `web_identity_token_file = ${token}`);
    },
    profile: "reader",
    given: ["reader for web-identity-token"],
    identity: "a role assumed by a profile's web identity (reader)",
  },
  "the container's credentials (Pod Identity)": {
    prepare: async () => {
      vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", `${aws.url}/pod`);
      vi.stubEnv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", await write("pod", "pod-token"));
    },
    given: ["pod for pod-token"],
    identity: "the container's credentials (Pod Identity, ECS)",
  },
  "the instance's metadata": {
    prepare: async () => vi.stubEnv("AWS_EC2_METADATA_DISABLED", "false"),
    given: ["instance"],
    identity: "the instance's metadata",
  },
  "a process": {
    prepare: async () =>
      config("[profile reader]", `credential_process = ${await credentialProcess()}`),
    profile: "reader",
    given: ["pod for process"],
    identity: "a process that a profile names (reader)",
  },
};

const way = (name: string) => TEMPORARY[name] as Way;

async function open(options: Parameters<typeof s3>[1] = {}, credentials: Credentials = {}) {
  const { source, close } = await openSource(s3("s3://bucket", options), { credentials });
  onTestFinished(close);
  return source;
}

test.each(Object.entries({ ...FIXED, ...TEMPORARY }))(
  "signs in by %s",
  async (_, { prepare, profile, given, identity }) => {
    await prepare();
    const source = await open({ profile });
    const entry = (await listAll(source)).file("file");
    expect(String(await readAll(source, entry))).toBe("content");
    expect(aws.given).toEqual(given);
    expect(await source.identity?.(signal)).toBe(identity);
  },
);

describe("keys that live for two seconds are renewed in the middle of a sync", () => {
  test.each(Object.entries(TEMPORARY))("%s", (_, { prepare, profile, given }) =>
    expect(
      syncThroughRenewals({
        put: (key, content) => server.put("bucket", key, Buffer.from(content)),
        async prepare() {
          aws.life = 2000;
          await prepare();
          return {};
        },
        beforeEach: (pass) => (server.before = pass),
        source: () => s3("s3://bucket", { profile }),
        folder,
        given: () => aws.given.filter((each) => each === given.at(-1)).length,
      }),
    ).resolves.toSatisfy(RENEWALS),
  );
});

test("keys that live for an hour are renewed before the server refuses them", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  await way("web identity (IRSA)").prepare();
  const source = await open();
  const pass = async (minutes: number) => {
    vi.setSystemTime(Date.now() + minutes * 60_000);
    // Nothing is tried twice here.
    await listAll(source);
  };
  await pass(0);
  await pass(54);
  expect(aws.given).toHaveLength(1);
  await pass(2);
  await expect.poll(() => aws.given.length).toBe(2);
  await pass(2);
  await pass(4);
  expect(aws.given).toHaveLength(2);
});

const CLOSED = "http://127.0.0.1:9";
/** What is wrong, as it is made; what people are told of it. */
const FAILURES: Record<
  string,
  Told & { readonly prepare: () => Promise<unknown>; readonly profile?: string }
> = {
  nothing: { prepare: async () => {}, told: /^there are no credentials/ },
  "a profile that is not there": {
    prepare: async () => {},
    profile: "absent",
    told: /no such profile/,
  },
  "a process that fails": {
    prepare: () =>
      config("[profile reader]", "credential_process = sh -c 'echo given-secret >&2; exit 3'"),
    profile: "reader",
    told: /credential_process .* gave no keys/,
  },
  "a process that prints something else": {
    prepare: () => config("[profile reader]", "credential_process = echo given-secret"),
    profile: "reader",
    told: /credential_process .* gave no keys/,
  },
  "nobody signed in": {
    prepare: async () => {
      await way("single sign-on").prepare();
      await rm(join(folder, ".aws/sso"), { recursive: true });
    },
    profile: "reader",
    told: /single sign-on is missing, or has expired/,
  },
  "a session that was ended": {
    prepare: async () => {
      await way("single sign-on").prepare();
      aws.refusal = { status: 401, code: "UnauthorizedException" };
    },
    profile: "reader",
    told: /single sign-on is missing, or has expired/,
  },
  "a device that has to be asked": {
    prepare: async () => {
      await way("a role that a profile assumes by another").prepare();
      await config(...useRole, "source_profile = base", "mfa_serial = arn:aws:iam::1:mfa/x");
    },
    profile: "reader",
    told: /multi-factor/,
  },
  "a role that may not be assumed": {
    prepare: async () => {
      await way("a role that a profile assumes by another").prepare();
      aws.refusal = { status: 403, code: "AccessDenied" };
    },
    profile: "reader",
    told: /^signing in failed \(AccessDenied\)/,
  },
  "an identity that has expired": {
    prepare: async () => {
      await way("web identity (IRSA)").prepare();
      aws.refusal = { status: 400, code: "ExpiredTokenException" };
    },
    told: /^signing in failed \(ExpiredTokenException\)/,
  },
  "a token file that is not there": {
    prepare: async () => {
      await way("web identity (IRSA)").prepare();
      await rm(join(folder, "token"));
    },
    told: /the token file \S+\/token cannot be read \(ENOENT\)/,
  },
  "a pod without a role": {
    prepare: async () => {
      await way("the container's credentials (Pod Identity)").prepare();
      aws.refusal = { status: 403, code: "AccessDenied" };
    },
    told: /AWS_CONTAINER_CREDENTIALS_FULL_URI .* gave no keys/,
  },
  "a server that is down": {
    prepare: async () => {
      await way("web identity (IRSA)").prepare();
      aws.refusal = { status: 503, code: "ServiceUnavailable" };
    },
    code: "unavailable",
    told: /answered 503/,
  },
  "nobody at the port, of STS": {
    prepare: async () => {
      await way("web identity (IRSA)").prepare();
      vi.stubEnv("AWS_ENDPOINT_URL_STS", CLOSED);
    },
    code: "unavailable",
    told: /^signing in: the connection was refused/,
  },
  "nobody at the port, of single sign-on": {
    prepare: async () => {
      await way("single sign-on").prepare();
      vi.stubEnv("AWS_ENDPOINT_URL_SSO", CLOSED);
    },
    profile: "reader",
    code: "unavailable",
    told: /cannot be reached \(ECONNREFUSED\)/,
  },
  "nobody at the port, of the container": {
    prepare: async () => {
      await way("the container's credentials (Pod Identity)").prepare();
      vi.stubEnv("AWS_CONTAINER_CREDENTIALS_FULL_URI", CLOSED);
    },
    code: "unavailable",
    told: /cannot be reached \(ECONNREFUSED\)/,
  },
};

test.each(Object.entries(FAILURES))(
  "says what is wrong: %s",
  async (_, { prepare, profile, ...told }) => {
    await prepare();
    await expectRefusedListing(
      await open({ profile }),
      told,
      /(given|fixed)-(secret|token)|web-identity-token|sso-session|sso-refresh/,
    );
    expect(server.requests).toEqual([]);
  },
);

test("a role is assumed over the connections of every other request, with their authorities", async () => {
  const { private: key, cert } = await generate([{ name: "commonName", value: "127.0.0.1" }], {
    extensions: [{ name: "subjectAltName", altNames: [{ type: 7, ip: "127.0.0.1" }] }],
  });
  const sts = await startAwsServer(({ id, ...more }) => void server.keys.set(id, more), {
    key,
    cert,
  });
  onTestFinished(() => sts.close());
  await way("web identity (IRSA)").prepare();
  vi.stubEnv("AWS_ENDPOINT_URL_STS", sts.url);
  await expect(listAll(await open())).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringMatching(/^signing in: the server's certificate is not trusted/),
  });
  const credentials = { caFile: await write("ca.pem", cert) };
  const { source, requests, close } = await openSource(s3("s3://bucket"), { credentials });
  onTestFinished(close);
  expect((await listAll(source)).paths).toEqual(["file"]);
  expect(requests).toEqual(["sign-in", "list"]);
});

test("a role is assumed where no region is named", async () => {
  await way("web identity (IRSA)").prepare();
  vi.stubEnv("AWS_REGION", undefined);
  server.region = "eu-central-1";
  expect((await listAll(await open())).paths).toEqual(["file"]);
});

test("a token that has expired is told from one that is refused, and is not tried again", async () => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", ID);
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", SECRET);
  vi.stubEnv("AWS_SESSION_TOKEN", "session");
  server.keys.set(ID, { secret: SECRET, token: "session", expires: 0 });
  const source = await open({ marker: "file" });
  for (const asked of [listAll(source), source.probe(signal)]) {
    await expect(asked).rejects.toMatchObject({
      code: "auth",
      transient: false,
      message: expect.stringContaining("have expired"),
    });
  }
});

test("a file of keys is read again where its keys are refused after they were good", async () => {
  const keys = (id: string) =>
    write(
      ".aws/credentials",
      `[default]\naws_access_key_id = ${id}\naws_secret_access_key = ${SECRET}\n`,
    );
  await keys(ID);
  const source = await open({ marker: "file" });
  await source.probe(signal);
  server.keys.clear();
  server.keys.set("AKIASECOND0000000000", { secret: SECRET });
  await expect(listAll(source)).rejects.toMatchObject({ code: "auth", transient: false });
  await keys("AKIASECOND0000000000");
  // A HEAD is refused without a word, too.
  await expect(source.probe(signal)).rejects.toMatchObject({ code: "auth", transient: true });
  expect((await listAll(source)).paths).toEqual(["file"]);
});

test("keys that never were good are not asked for again", async () => {
  await way("the instance's metadata").prepare();
  server.before = () => {
    server.keys.clear();
    server.keys.set(ID, { secret: SECRET });
    return false;
  };
  const source = await open();
  await expect(listAll(source)).rejects.toMatchObject({ code: "auth", transient: false });
  expect(aws.given).toEqual(["instance"]);
});

test("what gives the same keys until their end is not asked for each request", async () => {
  const runs = join(folder, "runs");
  const keys = {
    Version: 1,
    AccessKeyId: ID,
    SecretAccessKey: SECRET,
    Expiration: new Date(Date.now() + 60_000),
  };
  const file = await write("keys.json", JSON.stringify(keys));
  await config("[profile reader]", `credential_process = sh -c 'echo run >> ${runs}; cat ${file}'`);
  const source = await open({ profile: "reader" });
  for (let i = 0; i < 10; i++) await listAll(source);
  expect(await readFile(runs, "utf8")).toBe("run\n");
});

test("an empty chain is gone through once, where keys were given to Pannier", async () => {
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "false");
  aws.refusal = { status: 404, code: "" };
  const passwordFile = await write("password", `${SECRET}\n`);
  const source = await open({}, { username: ID, passwordFile });
  await listAll(source);
  const asked = aws.requests;
  expect(asked).toBeGreaterThan(0);
  await listAll(source);
  expect(aws.requests).toBe(asked);
  expect(await source.identity?.(signal)).toBe("credentials.username and its password");
  server.keys.set(ID, { secret: "rotated" });
  await writeFile(passwordFile, "rotated");
  expect((await listAll(source)).paths).toEqual(["file"]);
});
