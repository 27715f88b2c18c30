/** Objects that lanes fetch: what is published is what the adapter's own reads would have published. */
import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sync, verify } from "@pannier/core";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type S3Server, startS3Server } from "./s3-server.ts";
import { s3 } from "../src/index.ts";
import { COMPILE_CACHE, FROM_SOURCES } from "../../../test/support/from-sources.ts";

let server: S3Server;
let target: string;
/** Keys that were asked for, by whom. Only undici says `connection: keep-alive`. */
let asked: { lane: string[]; read: string[] };
let before: S3Server["before"];

beforeEach(async () => {
  target = await mkdtemp(join(tmpdir(), "pannier-s3-lane-"));
  server = await startS3Server();
  server.createBucket("bucket");
  server.keys.set("AKIAEXAMPLE", { secret: "a-secret", token: "a-token" });
  asked = { lane: [], read: [] };
  before = () => false;
  server.before = (request, response) => {
    const key = decodeURIComponent((request.url as string).split("?")[0] as string).slice(8);
    if (key !== "" && request.method === "GET")
      asked[isOfLane(request) ? "lane" : "read"].push(key);
    return before(request, response);
  };
  for (const name of ["AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"]) vi.stubEnv(name, undefined);
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
  vi.stubEnv("AWS_CONFIG_FILE", join(target, "none"));
  vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", join(target, "none"));
  vi.stubEnv("AWS_ENDPOINT_URL_S3", `http://127.0.0.1:${server.port}`);
  vi.stubEnv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE");
  vi.stubEnv("AWS_SECRET_ACCESS_KEY", "a-secret");
  vi.stubEnv("AWS_SESSION_TOKEN", "a-token");
  vi.stubEnv("PANNIER_TEST_LANES", "always");
});

afterEach(async () => {
  await server.close();
  await rm(target, { recursive: true });
  vi.unstubAllEnvs();
});

function isOfLane({ headers, url }: IncomingMessage): boolean {
  return headers.connection === undefined && url?.startsWith("/bucket/") === true;
}

const KEYS = ["a", "b/c", "b/with blank", "b/+plus", "b/100%", "b/it's(*)!", "ü/é", "empty", "~"];
const textOf = (key: string) =>
  key === "empty" ? "" : `this is ${key}`.repeat(1 + (key.length % 3));

function fill(): void {
  for (const key of KEYS) server.put("bucket", key, Buffer.from(textOf(key)));
}

const run = (options: Parameters<typeof s3>[1] = {}) =>
  sync({ sources: [s3("s3://bucket/", options)], target, maxDelete: "100%" });

const published = async () =>
  Object.fromEntries(
    await Promise.all(
      KEYS.map(async (key) => [key, await readFile(join(target, "current", key), "utf8")] as const),
    ),
  );
const wanted = () => Object.fromEntries(KEYS.map((key) => [key, textOf(key)]));

test.each([
  ["by ETag", {}],
  ["by version", { versions: true }],
  ["with payment", { requesterPays: true }],
])("objects of all names, signed, %s", async (_, options) => {
  fill();
  server.put("bucket", "large", Buffer.alloc(3_000_000, "x"));
  await run(options);
  expect(await published()).toEqual(wanted());
  expect((await readFile(join(target, "current/large"))).length).toBe(3_000_000);
  expect(asked.lane.toSorted()).toEqual([...KEYS, "large"].toSorted());
  expect(asked.read).toEqual([]);
});

test("nothing is signed where the source is anonymous", async () => {
  server.keys.clear();
  fill();
  before = ({ headers }, response) => {
    if (headers.authorization === undefined) return false;
    response.writeHead(400).end();
    return true;
  };
  await run({ anonymous: true });
  expect(await published()).toEqual(wanted());
  expect(asked.read).toEqual([]);
});

test("an object of parts, whose digest takes requests of its own, is none of theirs", async () => {
  fill();
  server.put("bucket", "parts", Buffer.alloc(20, "x"), {
    etag: "0123456789abcdef0123456789abcdef-2",
    parts: [16, 4],
  });
  before = (request) => request.url?.startsWith("/bucket/parts") === true && isOfLane(request);
  await expect(run()).rejects.toThrow('"parts" has the MD5');
  expect(asked.lane).not.toContain("parts");
});

/** What a lane is told of an object the first time; everybody else is told the truth. */
test.each<[string, (request: IncomingMessage, response: ServerResponse) => void]>([
  ["other bytes", (_, response) => lie(response, { content: "that is b/c" })],
  ["another version", (_, response) => lie(response, { etag: '"0"' })],
  ["no version", (_, response) => lie(response, {})],
  ["an error", (_, response) => response.writeHead(500).end()],
  [
    "a throttle",
    (_, response) => response.writeHead(503).end("<Error><Code>SlowDown</Code></Error>"),
  ],
  [
    "another place",
    (_, response) => response.writeHead(307, { location: "http://127.0.0.1:1/" }).end(),
  ],
  ["nothing", (_, response) => response.destroy()],
])("where an object is answered with %s, the adapter reads it", async (_, say) => {
  fill();
  before = (request, response) => {
    if (!isOfLane(request) || request.url !== "/bucket/b/c") return false;
    say(request, response);
    return true;
  };
  await run();
  expect(await published()).toEqual(wanted());
  expect(asked.read).toEqual(["b/c"]);
});

function lie(
  response: ServerResponse,
  { content = textOf("b/c"), etag }: { readonly content?: string; readonly etag?: string },
): void {
  const right = content === textOf("b/c") ? undefined : '"65c52f0bf57f5f0b6ef2da3b9f0e9b7e"';
  const tag = etag ?? right;
  const body = content.padEnd(textOf("b/c").length).slice(0, textOf("b/c").length);
  response.writeHead(200, {
    "content-length": body.length,
    ...(tag === undefined ? {} : { etag: tag }),
  });
  response.end(body);
}

test("an object that is replaced meanwhile is found out, and the bucket listed again", async () => {
  fill();
  let replaced = false;
  before = (request) => {
    if (!replaced && isOfLane(request)) {
      replaced = true;
      server.put("bucket", "~", Buffer.from("new"));
    }
    return false;
  };
  await run();
  expect(await readFile(join(target, "current/~"), "utf8")).toBe("new");
});

const isPart = ({ url, headers }: IncomingMessage) =>
  url?.startsWith("/bucket/large") === true && headers.range !== undefined;

const get = () => readFile(join(target, "current/large"));

const md5 = (bytes: Uint8Array) => createHash("md5").update(bytes).digest();

const etag = (digest: Buffer) => `${digest.toString("hex")}-8`;

describe("a large object", () => {
  const MiB = 2 ** 20;
  const large = Buffer.alloc(80 * MiB, Array.from({ length: 997 }, (_, i) => String(i)).join());

  beforeEach(() => server.put("bucket", "large", large));

  test("comes in parts, signed, but for the first, which tells of it", async () => {
    await run();
    expect((await get()).equals(large)).toBe(true);
    expect(asked).toEqual({ lane: Array(5).fill("large"), read: ["large"] });
    expect((await verify(target)).changed).toBe(0);
  });

  test("is checked by the digest of its parts", async () => {
    const sizes = Array.from({ length: 8 }, () => 10 * MiB);
    const all = md5(
      Buffer.concat(sizes.map((size, i) => md5(large.subarray(i * size, (i + 1) * size)))),
    );
    server.put("bucket", "large", large, { etag: etag(all), parts: sizes });
    await run();
    expect((await get()).equals(large)).toBe(true);
    expect(asked.lane).toHaveLength(5);
    server.put("bucket", "large", large, { etag: etag(md5(large)), parts: sizes });
    await expect(run()).rejects.toThrow('"large" has the MD5');
  });

  test("that is another in one part only is found out by its digest, and read once more without lanes", async () => {
    let lied = 0;
    before = (request, response) => {
      if (!isOfLane(request) || !isPart(request) || lied++ > 0) return false;
      const [, start = 0, end = 0] = (/=(\d+)-(\d+)/.exec(request.headers.range ?? "") ?? []).map(
        Number,
      );
      const bytes = Buffer.from(large.subarray(start, end + 1));
      bytes[7] = 1;
      response.writeHead(206, {
        etag: `"${createHash("md5").update(large).digest("hex")}"`,
        "content-length": bytes.length,
        "content-range": `bytes ${start}-${end}/${large.length}`,
      });
      response.end(bytes);
      return true;
    };
    await run();
    expect((await get()).equals(large)).toBe(true);
    expect(asked.lane).toHaveLength(5);
    expect(asked.read).toHaveLength(6);
  });

  test("that is replaced between two parts is found out, and the bucket listed again", async () => {
    const next = Buffer.alloc(large.length, "next");
    let parts = 0;
    before = (request) => {
      if (isPart(request) && isOfLane(request) && ++parts === 2)
        server.put("bucket", "large", next);
      return false;
    };
    await run();
    expect((await get()).equals(next)).toBe(true);
  });

  test("of which the process is killed in the middle is not published, and comes whole the next time", async () => {
    const child = fork(join(import.meta.dirname, "sync-child.ts"), [target], {
      execArgv: [...FROM_SOURCES],
      env: { ...process.env, ...COMPILE_CACHE },
      stdio: "inherit",
    });
    const exit = once(child, "exit");
    let parts = 0;
    before = (request) => {
      if (isPart(request) && isOfLane(request) && ++parts === 3) child.kill("SIGKILL");
      return false;
    };
    expect((await exit)[1]).toBe("SIGKILL");
    expect(existsSync(join(target, "current"))).toBe(false);
    before = () => false;
    await run();
    expect((await get()).equals(large)).toBe(true);
    expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
    expect(await readdir(join(target, ".pannier/generations"))).toHaveLength(1);
  });

  test("of which a limit allows less is not begun", async () => {
    const sources = [s3("s3://bucket/")];
    await expect(sync({ sources, target, maxFileBytes: 70 * MiB })).rejects.toThrow("for one file");
    await expect(sync({ sources, target, maxBytes: 70 * MiB })).rejects.toThrow("--max-bytes");
    expect(asked).toEqual({ lane: [], read: [] });
  });

  test("is read here where bandwidth has a ceiling", async () => {
    await sync({ sources: [s3("s3://bucket/")], target, bandwidth: 2 ** 40 });
    expect((await get()).equals(large)).toBe(true);
    expect(asked.lane).toEqual([]);
  });
});
