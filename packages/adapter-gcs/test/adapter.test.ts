import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { sync } from "@pannier/core";
import { UsageError } from "@pannier/core/adapter";
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { serveProxy } from "../../http-client/test/servers.ts";
import { crc32c } from "./crc32c.ts";
import { fail, type GcsServer, startGcsServer } from "./gcs-server.ts";
import { gcs } from "../src/index.ts";

let server: GcsServer;

beforeAll(async () => {
  server = await startGcsServer();
  vi.stubEnv("STORAGE_EMULATOR_HOST", undefined);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await server.close();
});
beforeEach(() => {
  server.createBucket("bucket");
  server.log.length = 0;
  server.intercept = undefined;
});

function spec(url = "gs://bucket/", options: Record<string, unknown> = {}) {
  return gcs(url, { endpoint: server.endpoint, anonymous: true, ...options });
}

async function open(url?: string, options?: Record<string, unknown>) {
  const opened = await openSource(spec(url, options), { idleTimeout: 1000 });
  onTestFinished(() => opened.close());
  return opened;
}

async function target(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "pannier-gcs-"));
  onTestFinished(() => rm(path, { recursive: true }));
  return path;
}

const md5 = (content: string) => createHash("md5").update(content).digest("hex");

test("an entry has the object's size, time, digest and generation", async () => {
  server.put("bucket", "file", "content");
  server.put("bucket", "composed", "of parts", { composite: true });
  const { source } = await open();
  const listed = await listAll(source);
  expect(listed.file("file")).toMatchObject({
    size: 7,
    fingerprint: `md5:${md5("content")}`,
    digest: { algorithm: "md5", value: md5("content") },
    ref: expect.stringMatching(/^\d{16}$/),
  });
  expect(Math.abs((listed.file("file").mtime ?? 0) - Date.now())).toBeLessThan(60_000);
  const composed = listed.file("composed");
  const value = crc32c(Buffer.from("of parts")).toString("hex");
  expect(composed.digest).toEqual({ algorithm: "crc32c", value });
  expect(composed.fingerprint).toBe(`generation:${composed.ref}`);
});

test("the same content written again is no change", async () => {
  server.put("bucket", "file", "content");
  const { source } = await open();
  const first = (await listAll(source)).file("file");
  server.put("bucket", "file", "content");
  const second = (await listAll(source)).file("file");
  expect(second.fingerprint).toBe(first.fingerprint);
  expect(second.ref).not.toBe(first.ref);
});

test("asks for the fields that are used, a thousand objects at a time", async () => {
  for (let i = 0; i < 2500; i++) server.put("bucket", `site/${i}`, "x");
  server.put("bucket", "site-old/file", "x");
  const { source } = await open("gs://bucket/site/");
  expect((await listAll(source)).paths).toHaveLength(2500);
  for (const { url } of server.log) {
    expect(url.searchParams.get("fields")).toMatch(/^nextPageToken,items\(name,size,/);
    expect(url.searchParams.get("maxResults")).toBe("1000");
    expect(url.searchParams.get("prefix")).toBe("site/");
  }
});

test("a small object is one request, pinned to its generation", async () => {
  server.put("bucket", "dir/file", "content");
  const { source, requests } = await open();
  const entry = (await listAll(source)).file("dir/file");
  expect(String(await readAll(source, entry))).toBe("content");
  expect(String(await readAll(source, entry, { offset: 2, length: 3 }))).toBe("nte");
  expect(requests).toEqual(["list", "read", "read"]);
  const { url } = server.log[1] ?? {};
  expect(url?.pathname).toBe("/storage/v1/b/bucket/o/dir%2Ffile");
  expect(url?.searchParams.get("generation")).toBe(entry.ref);
});

test("what is stored as gzip comes as it is stored", async () => {
  const packed = gzipSync("content ".repeat(100));
  server.put("bucket", "file", packed, { contentEncoding: "gzip" });
  const { source } = await open();
  const entry = (await listAll(source)).file("file");
  expect(entry.size).toBe(packed.length);
  expect((await readAll(source, entry)).equals(packed)).toBe(true);
  const part = await readAll(source, entry, { offset: 5, length: 10 });
  expect(part.equals(packed.subarray(5, 15))).toBe(true);
  const path = await target();
  await sync({ sources: [spec()], target: path });
  const published = await readFile(join(path, "current/file"));
  expect(String(gunzipSync(published))).toBe("content ".repeat(100));
});

test("the project that pays is named in each request", async () => {
  server.put("bucket", "file", "content");
  const { source } = await open("gs://bucket/?userProject=billed&marker=file");
  await source.probe(new AbortController().signal);
  await readAll(source, (await listAll(source)).file("file"));
  const named = server.log.map(({ url }) => url.searchParams.get("userProject"));
  expect(named).toEqual(["billed", "billed", "billed"]);
});

test("with a marker a poll is one question about one object", async () => {
  const { signal } = new AbortController();
  server.put("bucket", "site/file", "1");
  const { source, requests } = await open("gs://bucket/site/?marker=.published");
  await expect(source.probe(signal)).rejects.toMatchObject({
    code: "not-found",
    message: "site/.published: there is no such object",
  });
  server.put("bucket", "site/.published", "1");
  const first = await source.probe(signal);
  server.put("bucket", "site/file", "2");
  expect(await source.probe(signal)).toEqual(first);
  server.put("bucket", "site/.published", "1");
  expect(await source.probe(signal)).not.toEqual(first);
  expect(requests).toEqual(Array.from({ length: 4 }, () => "probe"));
});

test("the SDK asks about a marker of any name, at the endpoint that was given, whatever the variable says", async () => {
  vi.stubEnv("STORAGE_EMULATOR_HOST", "127.0.0.1:9");
  onTestFinished(() => void vi.stubEnv("STORAGE_EMULATOR_HOST", undefined));
  const { signal } = new AbortController();
  for (const key of ["/first", "a b+ü%2F#?&=", ":list", "{{projectId}}", "../x", "a//b/"]) {
    server.put("bucket", `site/${key}`, "1");
    const { source } = await open("gs://bucket/site/", { marker: key });
    expect(await source.probe(signal)).toMatchObject({
      token: expect.stringMatching(/^marker \d/),
    });
  }
});

test("the SDK tries nothing again, nor does it outlive an abort", async () => {
  const { source, requests } = await open("gs://bucket/?marker=file");
  server.intercept = (_, response) => {
    fail(response, 503, "backendError", "secret words");
    return true;
  };
  await expect(source.probe(new AbortController().signal)).rejects.toMatchObject({
    code: "throttled",
    message: expect.not.stringContaining("secret words"),
  });
  expect(requests).toEqual(["probe"]);
  const stop = new AbortController();
  server.intercept = () => {
    stop.abort(new Error("enough"));
    return true;
  };
  await expect(source.probe(stop.signal)).rejects.toThrow("enough");
  expect(requests).toEqual(["probe", "probe"]);
});

test.each([
  [401, "authError", "", "auth", /401/],
  [403, "forbidden", "secret words", "auth", /403 Forbidden \(forbidden\)$/],
  [403, "rateLimitExceeded", "", "throttled", /fewer requests/],
  [429, "rateLimitExceeded", "", "throttled", /fewer requests/],
  [503, "backendError", "", "throttled", /fewer requests/],
  [500, "internalError", "", "unavailable", /500/],
  [404, "notFound", "The specified bucket does not exist.", "not-found", /bucket does not exist/],
  [
    400,
    "required",
    "Bucket is a requester pays bucket but no user project provided.",
    "auth",
    /pay/,
  ],
  [302, "", "", "invalid", /302/],
])("a listing answered %i %s is %s", async (status, reason, message, code, text) => {
  server.intercept = (_, response) => {
    fail(response, status, reason, message, { "retry-after": "3" });
    return true;
  };
  const { source } = await open();
  const error = await listAll(source).then(
    () => undefined,
    (thrown: Error) => thrown,
  );
  expect(error).toMatchObject({ code, message: expect.stringMatching(text) });
  expect(error?.message).not.toContain("secret words");
  const transient = code === "throttled" || code === "unavailable";
  expect(error).toMatchObject({ transient, retryAfter: transient ? 3000 : undefined });
});

test.each([
  [404, "No such object: bucket/file", "changed", /^file: generation \d+ is gone/],
  [404, "The specified bucket does not exist.", "not-found", /^the bucket/],
  [412, "conditionNotMet", "changed", /^file: .*changed/],
  [
    400,
    "The target object is encrypted by a customer-supplied encryption key.",
    "unsupported",
    /^file: .*encrypted/,
  ],
  [403, "no", "auth", /^file: .*403/],
])("content answered %i %s is %s", async (status, message, code, text) => {
  server.put("bucket", "file", "content");
  const { source } = await open();
  const entry = (await listAll(source)).file("file");
  server.intercept = (_, response) => {
    response.writeHead(status).end(message);
    return true;
  };
  const error = await readAll(source, entry).then(
    () => undefined,
    (thrown: Error) => thrown,
  );
  expect(error).toMatchObject({ code, message: expect.stringMatching(text) });
});

test.each([
  ["a page of something else", "<html></html>"],
  ["nothing", "null"],
  ["a list of nothing", "[]"],
  ["a page that goes on nobody knows where", '{"nextPageToken":{}}'],
  ["objects without names", '{"items":[{"generation":"1"}]}'],
  ["a page that is cut", '{"items":[{"name":"file","gener'],
])("%s is no listing", async (_, body) => {
  server.intercept = (_url, response) => {
    response.end(body);
    return true;
  };
  const { source } = await open();
  await expect(listAll(source)).rejects.toMatchObject({ code: "invalid" });
});

test("a listing that is cut half way deletes nothing", async () => {
  for (let i = 0; i < 2500; i++) server.put("bucket", `file-${i}`, "x");
  const path = await target();
  await sync({ sources: [spec()], target: path });
  // Not transient, so that nothing is waited for.
  server.intercept = ({ searchParams }, response) => {
    if (searchParams.has("pageToken")) response.end('{"items":[{"name":"file-');
    return searchParams.has("pageToken");
  };
  await expect(sync({ sources: [spec()], target: path })).rejects.toThrow(/not one of Google/);
  expect(await readdir(join(path, "current"))).toHaveLength(2500);
});

test("content that is not what its digest says is never published", async () => {
  server.put("bucket", "file", "content");
  server.put("bucket", "composed", "of parts", { composite: true });
  for (const name of ["file", "composed"]) {
    server.intercept = ({ pathname, searchParams }, response) => {
      if (!pathname.endsWith(name) || searchParams.get("alt") !== "media") return false;
      response.end(name === "file" ? "CONTENT" : "OF PARTS");
      return true;
    };
    const path = await target();
    await expect(sync({ sources: [spec()], target: path })).rejects.toThrow(name);
    expect(await readdir(path)).not.toContain("current");
  }
});

test("goes through the proxy that the environment names", async () => {
  const proxy = await serveProxy();
  server.put("bucket", "file", "content");
  vi.stubEnv("http_proxy", proxy.url);
  onTestFinished(() => void vi.stubEnv("http_proxy", undefined));
  const { source } = await open();
  await listAll(source);
  expect(proxy.log).toHaveLength(1);
  expect(proxy.log[0]).toContain(`GET ${server.endpoint}/storage/v1/b/bucket/o?`);
});

test.each([
  ["gs://Bucket/", {}, /is not a valid bucket name/],
  ["gs://bucket:443/", {}, /has no port/],
  ["gs://user:password@bucket/", {}, /has no user or password/],
  ["gs://bucket/?marker=", {}, /"marker" is empty/],
  ["gs://bucket/", { endpoint: "storage.test" }, /"endpoint" must be a URL/],
  ["gs://bucket/", { endpoint: "https://user@storage.test" }, /"endpoint" must be a URL/],
  ["gs://bucket/", { endpoint: "http://storage.test", anonymous: false }, /over plain http/],
])("%s %o is refused before anything is asked", async (url, options, message) => {
  const opening = open(url, options);
  await expect(opening).rejects.toThrow(UsageError);
  await expect(opening).rejects.toThrow(message);
  expect(server.log).toEqual([]);
});
