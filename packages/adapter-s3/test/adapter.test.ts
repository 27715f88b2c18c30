import { createHash } from "node:crypto";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sync } from "@pannier/core";
import {
  type Digest,
  type FileEntry,
  parseLocation,
  type Source,
  UsageError,
} from "@pannier/core/adapter";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { createHttpClient } from "@pannier/http-client";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { minisign, minisignKey } from "../../../test/support/minisign.ts";
import { type S3Server, startS3Server } from "./s3-server.ts";
import { connect } from "../src/connection.ts";
import { s3 } from "../src/index.ts";
import { checkSettings } from "../src/options.ts";

const ID = "AKIAEXAMPLEEXAMPLE00";
const SECRET = "a-secret";
const { signal } = new AbortController();

let server: S3Server;
let folder: string;
const opened: { close(): Promise<void> }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "pannier-s3-"));
});

beforeEach(async () => {
  server = await startS3Server();
  server.createBucket("bucket");
  server.keys.set(ID, { secret: SECRET });
  for (const name of ["AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_SESSION_TOKEN"]) {
    vi.stubEnv(name, undefined);
  }
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
  vi.stubEnv("AWS_CONFIG_FILE", join(folder, "config"));
  vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", join(folder, "credentials"));
  vi.stubEnv("AWS_ENDPOINT_URL_S3", `http://127.0.0.1:${server.port}`);
  vi.stubEnv("AWS_ACCESS_KEY_ID", ID);
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", SECRET);
});

afterEach(async () => {
  for (const source of opened.splice(0)) await source.close();
  await server.close();
  vi.unstubAllEnvs();
});

afterAll(() => rm(folder, { recursive: true }));

async function open(
  url: string,
  options: Parameters<typeof s3>[1] = {},
  context: Parameters<typeof openSource>[1] = {},
) {
  const source = await openSource(s3(url, options), context);
  opened.push(source);
  return source;
}

async function digestOf(
  source: Source,
  entry: FileEntry,
  range?: { offset: number; length: number },
) {
  const body = await source.read(entry, range, signal);
  const { digest } = body;
  if (!(body instanceof Uint8Array)) for await (const _ of body);
  return digest;
}

const md5 = (...parts: Uint8Array[]) => {
  const hash = createHash("md5");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

describe("what an object is checked against", () => {
  const content = Buffer.alloc(11, "x");
  const plain: Digest = { algorithm: "md5", value: md5(content).toString("hex") };
  const crc = Buffer.from("01020304", "hex").toString("base64");
  const slow = () => ({ "x-amz-checksum-crc64nvme": crc });

  test.each<[what: string, headers: Record<string, string>, digest: Digest | undefined]>([
    ["the MD5 that its ETag is", {}, plain],
    ["the same with SSE-S3", { "x-amz-server-side-encryption": "AES256" }, plain],
    ["nothing, encrypted by KMS", { "x-amz-server-side-encryption": "aws:kms" }, undefined],
    [
      "nothing, encrypted by the customer",
      { "x-amz-server-side-encryption-customer-algorithm": "AES256" },
      undefined,
    ],
    ["a checksum", { "x-amz-checksum-crc32": crc }, { algorithm: "crc32", value: "01020304" }],
    [
      "a checksum, encrypted by KMS",
      { "x-amz-checksum-crc32c": crc, "x-amz-server-side-encryption": "aws:kms" },
      { algorithm: "crc32c", value: "01020304" },
    ],
    [
      "no checksum of parts for the whole",
      { "x-amz-checksum-crc32": crc, "x-amz-checksum-type": "COMPOSITE" },
      plain,
    ],
  ])("%s", async (_what, headers, digest) => {
    server.put("bucket", "a", content, { headers });
    const { source } = await open("s3://bucket");
    const entry = (await listAll(source)).file("a");
    expect(await digestOf(source, entry)).toEqual(digest);
  });

  test("a part's answer is not taken for the whole's", async () => {
    server.put("bucket", "a", content, { headers: { "x-amz-checksum-crc32": crc } });
    const { source } = await open("s3://bucket");
    const entry = (await listAll(source)).file("a");
    expect(await digestOf(source, entry, { offset: 0, length: 5 })).toEqual(plain);
  });

  test("in ranges, what a HEAD knows of an object whose ETag is no MD5", async () => {
    const kms = { "x-amz-server-side-encryption": "aws:kms" };
    const etag = "0".repeat(32);
    server.put("bucket", "a", content, { etag, headers: { ...kms, "x-amz-checksum-crc32": crc } });
    server.put("bucket", "b", content, { etag, headers: kms });
    const { source } = await open("s3://bucket");
    const { file } = await listAll(source);
    const digests = [
      await digestOf(source, file("a"), { offset: 0, length: 5 }),
      await digestOf(source, file("a"), { offset: 5, length: 6 }),
      await digestOf(source, file("b"), { offset: 0, length: 5 }),
    ];
    expect(digests).toEqual([{ algorithm: "crc32", value: "01020304" }, undefined, undefined]);
    const asked = server.requests.filter((request) => request.startsWith("HEAD"));
    expect(asked).toEqual(["HEAD /bucket/a", "HEAD /bucket/b"]);
  });

  test("the digest of the digests of even parts, in one or in ranges", async () => {
    const parts = [content.subarray(0, 4), content.subarray(4, 8), content.subarray(8)];
    const value = md5(...parts.map((part) => md5(part))).toString("hex");
    server.put("bucket", "a", content, { etag: `${value}-3`, parts: [4, 4, 3] });
    const { source } = await open("s3://bucket");
    const entry = (await listAll(source)).file("a");
    const composite = { algorithm: "md5", value, partSize: 4 };
    expect(await digestOf(source, entry)).toEqual(composite);
    expect(await digestOf(source, entry, { offset: 0, length: 5 })).toEqual(composite);
    expect(await digestOf(source, entry, { offset: 5, length: 6 })).toBeUndefined();
  });

  test.each<[what: string, headers: Record<string, string>, parts: number[], found: string]>([
    ["the parts' MD5s where the checksum is slow to take", slow(), [], "md5"],
    ["a checksum that is quick to take", { "x-amz-checksum-crc32": crc }, [], "crc32"],
    ["a slow checksum where parts are uneven", slow(), [4, 4, 2, 1], "crc64nvme"],
    [
      "a slow checksum where the ETag is no MD5",
      { ...slow(), "x-amz-server-side-encryption": "aws:kms" },
      [],
      "crc64nvme",
    ],
  ])("of a large one: %s", async (_what, headers, uneven, found) => {
    const large = Buffer.alloc(65 * 2 ** 20);
    const parts = uneven.length > 0 ? uneven : [40 * 2 ** 20, 25 * 2 ** 20];
    const etag = `${"0".repeat(32)}-${parts.length}`;
    server.put("bucket", "a", large, { etag, parts, headers });
    const { source } = await open("s3://bucket");
    const entry = (await listAll(source)).file("a");
    const digest = await digestOf(source, entry, { offset: 0, length: 5 });
    expect(digest?.algorithm).toBe(found);
  });

  test("the digest of the one part that nothing was uploaded in", async () => {
    const value = md5(md5()).toString("hex");
    server.put("bucket", "a", Buffer.alloc(0), { etag: `${value}-1`, parts: [0] });
    const { source } = await open("s3://bucket");
    const digest = await digestOf(source, (await listAll(source)).file("a"));
    expect(digest).toEqual({ algorithm: "md5", value, partSize: 1 });
  });

  test("nothing, where parts are uneven", async () => {
    server.put("bucket", "a", content, { etag: `${"0".repeat(32)}-3`, parts: [4, 5, 2] });
    const { source } = await open("s3://bucket");
    expect(await digestOf(source, (await listAll(source)).file("a"))).toBeUndefined();
  });
});

test.each<
  [what: string, stored: { etag?: string; headers?: Record<string, string>; parts?: number[] }]
>([
  ["its MD5", { etag: "0".repeat(32) }],
  ["the MD5 of its parts' MD5s", { etag: `${"0".repeat(32)}-3`, parts: [4, 4, 3] }],
  ["its checksum", { headers: { "x-amz-checksum-crc32": "AQIDBA==" } }],
])("content that is not what %s says is never published", async (_, stored) => {
  server.put("bucket", "fine", Buffer.from("1"));
  server.put("bucket", "damaged", Buffer.alloc(11, "x"), stored);
  const target = await mkdtemp(join(folder, "target-"));
  await expect(sync({ sources: [s3("s3://bucket/")], target })).rejects.toMatchObject({
    message: expect.stringContaining("damaged"),
    cause: { code: "invalid" },
  });
  expect(await readdir(target)).not.toContain("current");
});

test("finds the region that the server names, once", async () => {
  server.region = "eu-central-1";
  server.put("bucket", "a", Buffer.from("A"));
  const { source } = await open("s3://bucket");
  const entry = (await listAll(source)).file("a");
  await source.read(entry, undefined, signal);
  expect(server.requests).toHaveLength(3);
});

test("goes where a redirect says that the bucket is, by its region and not by its address", async () => {
  const regions: (string | undefined)[] = [];
  server.put("bucket", "a", Buffer.from("A"));
  server.before = ({ headers, method }, response) => {
    const region = /\/([^/]+)\/s3\/aws4_request/.exec(headers.authorization ?? "")?.[1];
    regions.push(region);
    if (region === "eu-central-1") return false;
    response.writeHead(301, {
      "x-amz-bucket-region": "eu-central-1",
      location: "http://127.0.0.1:1/",
    });
    response.end(method === "HEAD" ? "" : "<Error><Code>PermanentRedirect</Code></Error>");
    return true;
  };
  const { source } = await open("s3://bucket", { marker: "a" });
  await source.probe(signal);
  expect((await listAll(source)).paths).toEqual(["a"]);
  expect(regions).toEqual(["us-east-1", "eu-central-1", "eu-central-1"]);
});

test.each([
  ["a bucket", "plain-bucket", "https://plain-bucket.s3.eu-west-1.amazonaws.com/"],
  ["dots, which no certificate covers", "a.b", "https://s3.eu-west-1.amazonaws.com/a.b/"],
  [
    "the alias of an access point",
    "name-hash-s3alias",
    "https://name-hash-s3alias.s3.eu-west-1.amazonaws.com/",
  ],
])("addresses %s", async (_, bucket, base) => {
  vi.stubEnv("AWS_ENDPOINT_URL_S3", undefined);
  expect(await placeOf(bucket)).toEqual({ base, region: "eu-west-1", service: "s3" });
});

const OWN = "https://minio.test:9000";
const AWS = "s3.eu-west-1.amazonaws.com";

test.each<[where: Parameters<typeof placeOf>[1], base: string]>([
  [{}, `https://bucket.${AWS}/`],
  [{ pathStyle: false }, `https://bucket.${AWS}/`],
  [{ pathStyle: true }, `https://${AWS}/bucket/`],
  [{ endpoint: OWN }, `${OWN}/bucket/`],
  [{ endpoint: OWN, pathStyle: true }, `${OWN}/bucket/`],
  [{ endpoint: OWN, pathStyle: false }, "https://bucket.minio.test:9000/"],
  [{ endpoint: "https://gateway.test/s3/" }, "https://gateway.test/s3/bucket/"],
  [{ endpoint: "http://127.0.0.1:9000" }, "http://127.0.0.1:9000/bucket/"],
])("%j: the bucket is at %s", async (where, base) => {
  vi.stubEnv("AWS_ENDPOINT_URL_S3", undefined);
  expect(await placeOf("bucket", where)).toMatchObject({ base });
});

test("the option endpoint comes before AWS's variables, and the one for S3 before the other", async () => {
  vi.stubEnv("AWS_ENDPOINT_URL", "https://all.test");
  vi.stubEnv("AWS_ENDPOINT_URL_S3", "https://s3.test");
  expect(await placeOf("bucket", { endpoint: OWN })).toMatchObject({ base: `${OWN}/bucket/` });
  expect(await placeOf("bucket")).toMatchObject({ base: "https://s3.test/bucket/" });
  vi.stubEnv("AWS_ENDPOINT_URL_S3", undefined);
  expect(await placeOf("bucket")).toMatchObject({ base: "https://all.test/bucket/" });
});

test.each([
  [
    "by AWS",
    "arn:aws:s3:eu-central-1:123456789012:accesspoint/name",
    {},
    "https://name-123456789012.s3-accesspoint.eu-central-1.amazonaws.com/",
  ],
  [
    "in China",
    "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint:name",
    {},
    "https://name-123456789012.s3-accesspoint.cn-north-1.amazonaws.com.cn/",
  ],
  [
    "by an endpoint",
    "arn:aws:s3:eu-central-1:123456789012:accesspoint/name",
    { endpoint: OWN },
    "https://name-123456789012.minio.test:9000/",
  ],
])("addresses an access point by its ARN, %s", async (_, arn, where, base) => {
  vi.stubEnv("AWS_ENDPOINT_URL_S3", undefined);
  const region = arn.split(":")[3];
  expect(await placeOf(arn, { region: undefined, ...where })).toEqual({
    base,
    region,
    service: "s3",
  });
});

test("a multi-region access point is signed in to in another way, too", async () => {
  vi.stubEnv("AWS_ENDPOINT_URL_S3", undefined);
  await expect(placeOf("arn:aws:s3::123456789012:accesspoint/abc.mrap")).rejects.toThrow(
    /wants another kind of signature \(sigv4a\)/,
  );
});

test("a directory bucket is signed in to in another way", async () => {
  vi.stubEnv("AWS_ENDPOINT_URL_S3", undefined);
  await expect(placeOf("name--euw1-az1--x-s3")).rejects.toThrow(
    /wants another kind of signature \(sigv4-s3express\)/,
  );
});

/** Without a request. */
function placeOf(
  bucket: string,
  where: { endpoint?: string; pathStyle?: boolean; region?: undefined } = {},
) {
  const options = { anonymous: false, requesterPays: false, versions: false, region: "eu-west-1" };
  const location = parseLocation(`s3://${bucket}/`);
  const settings = checkSettings(location, { ...options, ...where } as never);
  const http = createHttpClient({ idleTimeout: 1000 });
  opened.push(http);
  return connect(settings, { username: undefined, password: undefined }, {}, http).place();
}

test("a bucket that is elsewhere and nobody says where asks for its region", async () => {
  server.before = (_request, response) => {
    response.writeHead(301).end("<Error><Code>PermanentRedirect</Code></Error>");
    return true;
  };
  const { source } = await open("s3://bucket");
  await expect(listAll(source)).rejects.toMatchObject({
    code: "unavailable",
    transient: false,
    hint: expect.stringContaining("region="),
  });
});

test("signs with a session's token, and takes another where it has expired", async () => {
  const keys = join(folder, "keys.json");
  const write = (SessionToken: string) =>
    writeFile(
      keys,
      JSON.stringify({
        Version: 1,
        AccessKeyId: ID,
        SecretAccessKey: SECRET,
        SessionToken,
        Expiration: "2099-01-01T00:00:00Z",
      }),
    );
  // The SDK remembers a configuration file by its path.
  vi.stubEnv("AWS_CONFIG_FILE", join(folder, "rotating"));
  await writeFile(
    join(folder, "rotating"),
    `[profile rotating]\ncredential_process = cat ${keys}\n`,
  );
  vi.stubEnv("AWS_ACCESS_KEY_ID", undefined);
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", undefined);
  await write("first");
  server.keys.set(ID, { secret: SECRET, token: "first" });
  const { source } = await open("s3://bucket", { profile: "rotating", region: "us-east-1" });
  expect((await listAll(source)).paths).toEqual([]);
  server.keys.set(ID, { secret: SECRET, token: "second" });
  await write("second");
  await expect(listAll(source)).rejects.toMatchObject({ code: "auth", transient: true });
  expect((await listAll(source)).paths).toEqual([]);
  expect(await source.identity?.(signal)).toBe("a process that a profile names (rotating)");
});

test("says where keys were found, and never which", async () => {
  const { source } = await open("s3://bucket");
  expect(await source.identity?.(signal)).toBe("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
  const url = await open(`s3://${ID}:${SECRET}@bucket`);
  expect(await url.source.identity?.(signal)).toBe("the key in the URL");
  const anonymous = await open("s3://bucket", { anonymous: true });
  expect(await anonymous.source.identity?.(signal)).toMatch(/^nothing/);
});

test("takes PANNIER_USERNAME and its password where AWS's chain has nothing", async () => {
  vi.stubEnv("AWS_ACCESS_KEY_ID", undefined);
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", undefined);
  const credentials = { username: ID, password: SECRET };
  const { source } = await open("s3://bucket", {}, { credentials });
  expect((await listAll(source)).paths).toEqual([]);
  const none = await open("s3://bucket");
  await expect(listAll(none.source)).rejects.toMatchObject({
    code: "auth",
    message: "there are no credentials",
  });
});

test("a bucket whose requester has to pay says so to who does not", async () => {
  server.put("bucket", "a", Buffer.from("A"));
  server.before = ({ headers }, response) => {
    if (headers["x-amz-request-payer"] === "requester") return false;
    response.writeHead(403).end("<Error><Code>AccessDenied</Code></Error>");
    return true;
  };
  await expect(listAll((await open("s3://bucket")).source)).rejects.toMatchObject({
    code: "auth",
    hint: expect.stringContaining("requesterPays=true"),
  });
  const { source } = await open("s3://bucket", { requesterPays: true });
  expect(String(await readAll(source, (await listAll(source)).file("a")))).toBe("A");
});

test("signs nothing where it is to be anonymous, and says who pays where it is told to", async () => {
  const headers: Record<string, unknown>[] = [];
  server.keys.clear();
  server.before = (request) => {
    headers.push(request.headers);
    return false;
  };
  await listAll((await open("s3://bucket", { anonymous: true })).source);
  expect(headers.pop()?.["authorization"]).toBeUndefined();
  await listAll((await open("s3://bucket", { requesterPays: true })).source);
  expect(headers.pop()).toMatchObject({
    "x-amz-request-payer": "requester",
    authorization: expect.stringContaining("x-amz-request-payer") as string,
  });
});

test("asks the marker alone whether anything changed, by one HEAD", async () => {
  server.put("bucket", "site/.done", Buffer.from("1"));
  const { source } = await open("s3://bucket/site", { marker: ".done" });
  const first = await source.probe(signal);
  expect(server.requests).toEqual(["HEAD /bucket/site/.done"]);
  expect(await source.probe(signal)).toEqual(first);
  server.put("bucket", "site/.done", Buffer.from("2"));
  expect(await source.probe(signal)).not.toEqual(first);
});

test("sees a marker written again where versions are suspended, and each has the same id", async () => {
  const headers = { "x-amz-version-id": "null" };
  server.put("bucket", ".done", Buffer.from("1"), { headers });
  const { source } = await open("s3://bucket", { marker: ".done" });
  const first = await source.probe(signal);
  server.put("bucket", ".done", Buffer.from("2"), { headers });
  expect(await source.probe(signal)).not.toEqual(first);
});

test("lists again where an object is deleted before it is read", async () => {
  for (const key of ["a", "b", "c"]) server.put("bucket", key, Buffer.from(key));
  server.before = ({ url }) => {
    if (url === "/bucket/b") server.remove("bucket", "b");
    return false;
  };
  const target = await mkdtemp(join(folder, "target-"));
  await sync({ sources: [s3("s3://bucket/")], target });
  expect(await readdir(join(target, "current"))).toEqual(["a", "c"]);
});

test("reads versions by their id, and names them", async () => {
  server.put("bucket", "a", Buffer.from("old"));
  server.put("bucket", "gone", Buffer.from("gone"));
  server.remove("bucket", "gone");
  const { source } = await open("s3://bucket", { versions: true });
  const listed = await listAll(source);
  expect(listed.paths).toEqual(["a"]);
  expect(source.version?.(listed.file("a"))).toBe("v1");
  server.put("bucket", "a", Buffer.from("new"));
  expect(String(await source.read(listed.file("a"), undefined, signal))).toBe("old");
});

test("a listing that is cut half way deletes nothing", async () => {
  const names = Array.from({ length: 30 }, (_, i) => `f${String(i).padStart(2, "0")}`);
  for (const name of names) server.put("bucket", name, Buffer.from(name));
  server.pageSize = 10;
  const target = await mkdtemp(join(folder, "target-"));
  const sources = [s3("s3://bucket/")];
  await sync({ sources, target });
  const whole = "<ListBucketResult><IsTruncated>true</IsTruncated>";
  for (const answer of [
    "",
    `${whole}<Contents><Key>f1`,
    `${whole}</ListBucketResult>`,
    undefined,
  ]) {
    server.before = ({ url }, response) => {
      if (url?.includes("continuation-token") !== true) return false;
      if (answer === undefined) response.destroy();
      else response.end(answer);
      return true;
    };
    await expect(sync({ sources, target, attempts: 1 })).rejects.toMatchObject({
      cause: { code: expect.stringMatching(/invalid|unavailable/) },
    });
    expect(await readdir(join(target, "current"))).toEqual(names);
  }
});

test.each([["../x"], ["a/../../x"], ["/x"], ["a/./b"]])("refuses a tree with %s", async (key) => {
  server.put("bucket", "ok", Buffer.from("1"));
  server.put("bucket", key, Buffer.from("2"));
  const target = await mkdtemp(join(folder, "target-"));
  await expect(sync({ sources: [s3("s3://bucket/")], target })).rejects.toThrow(
    /path|unsafe|absolute/i,
  );
  expect(await readdir(target)).not.toContain("current");
  expect(await readdir(folder)).not.toContain("x");
});

test("an archived object that cannot be read is named with others that are archived, five at most", async () => {
  for (let i = 0; i < 9; i++) {
    server.put("bucket", `cold/${i}`, Buffer.from("x"), { storageClass: "GLACIER" });
  }
  server.put("bucket", "cold/warm", Buffer.from("x"));
  const target = await mkdtemp(join(folder, "target-"));
  const failure: Error = await sync({ sources: [s3("s3://bucket/")], target, concurrency: 1 }).then(
    () => expect.unreachable(),
    (error: Error) => error,
  );
  expect(failure).toMatchObject({
    message: "cold/0: the object is archived and cannot be read",
    cause: {
      code: "unsupported",
      hint: expect.stringMatching(/too: "cold\/1", "cold\/2", "cold\/3", "cold\/4"$/),
    },
  });
  // What is left out is in nobody's way.
  await sync({ sources: [s3("s3://bucket/")], target, exclude: ["cold/[0-9]"] });
  expect(await readdir(join(target, "current/cold"))).toEqual(["warm"]);
});

describe("an answer that is none", () => {
  test.each<[status: number, code: string, error: Record<string, unknown>]>([
    [503, "SlowDown", { code: "throttled", transient: true, retryAfter: 3000 }],
    [429, "", { code: "throttled", transient: true }],
    [500, "InternalError", { code: "unavailable", transient: true }],
    [403, "AccessDenied", { code: "auth", transient: false }],
    [404, "NoSuchKey", { code: "changed", transient: false }],
    [404, "NoSuchBucket", { code: "not-found", transient: false }],
    [403, "RequestTimeTooSkewed", { code: "auth", message: expect.stringContaining("clock") }],
    [412, "PreconditionFailed", { code: "changed" }],
    [
      403,
      "InvalidObjectState",
      { code: "unsupported", message: "cold.bin: the object is archived and cannot be read" },
    ],
  ])("%i %s", async (status, code, error) => {
    server.put("bucket", "cold.bin", Buffer.from("x"));
    const { source } = await open("s3://bucket");
    const entry = (await listAll(source)).file("cold.bin");
    const before = server.requests.length;
    server.before = (_request, response) => {
      response.writeHead(status, status === 503 ? { "retry-after": "3" } : {});
      response.end(`<Error><Code>${code}</Code><Message>${SECRET}</Message></Error>`);
      return true;
    };
    await expect(source.read(entry, undefined, signal)).rejects.toMatchObject(error);
    // Where a condition is not met, it is asked without: servers compare with other tags than they list.
    expect(server.requests).toHaveLength(before + (status === 412 ? 2 : 1));
  });

  test.each([
    [
      "a listing",
      "InvalidRequest",
      /^the server refuses the request \(400 InvalidRequest\)$/,
      /endpoint/,
    ],
    ["a listing", "", /^the server refuses the request \(400\)$/, /endpoint/],
    ["an object", "InvalidRequest", /^cold\.bin: the server refuses/, /SSE-C/],
  ])("%s that is answered 400 %s says what may be wrong", async (what, code, message, hint) => {
    server.put("bucket", "cold.bin", Buffer.from("x"));
    const { source } = await open("s3://bucket");
    const entry = (await listAll(source)).file("cold.bin");
    server.before = (_request, response) => {
      response.writeHead(400).end(`<Error><Code>${code}</Code></Error>`);
      return true;
    };
    const asked = what === "a listing" ? listAll(source) : source.read(entry, undefined, signal);
    await expect(asked).rejects.toMatchObject({
      code: "unsupported",
      message: expect.stringMatching(message),
      hint: expect.stringMatching(hint),
    });
  });

  test.each([
    ["a page that is cut", "<ListBucketResult><IsTruncated>false</IsTruncated><Contents>"],
    ["a page of something else", "<html></html>"],
    [
      "a page that goes on nobody knows where",
      "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
    ],
  ])("%s is no listing", async (_what, page) => {
    const { source } = await open("s3://bucket");
    server.before = (_request, response) => {
      response.end(page);
      return true;
    };
    await expect(listAll(source)).rejects.toMatchObject({ code: "invalid" });
  });
});

test.each<[url: string, options: Record<string, unknown>]>([
  ["s3://bucket:80/", {}],
  ["s3://b/", {}],
  ["s3://user@bucket/", {}],
  ["s3://bucket/", { endpoint: "ftp://host" }],
  ["s3://bucket/", { anonymous: true, profile: "p" }],
  ["s3://bucket/", { region: "no region" }],
  ["s3://bucket/", { marker: "" }],
])("%s %j is a mistake", async (url, options) => {
  await expect(openSource(s3(url, options))).rejects.toThrow(UsageError);
});

test("one object that has to have its signature beside it", async () => {
  const ada = minisignKey();
  const target = join(folder, "signed");
  const run = () =>
    sync({
      sources: [s3("s3://bucket/dir/app.json")],
      target,
      signedBy: [`minisign:${ada.publicKey}`],
    });
  const put = server.put.bind(server, "bucket");
  put("dir/app.json", Buffer.from("1"));
  await expect(run()).rejects.toMatchObject({ exitCode: 6 });
  put("dir/app.json.minisig", Buffer.from(minisign(ada, "1")));
  expect(await run()).toMatchObject({ result: "published", files: 1 });
  put("dir/app.json", Buffer.from("2"));
  await expect(run()).rejects.toMatchObject({ exitCode: 6 });
  put("dir/app.json.minisig", Buffer.from(minisign(ada, "2")));
  expect(await run()).toMatchObject({ result: "published" });
});
