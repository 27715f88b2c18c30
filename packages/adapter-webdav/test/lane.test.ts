/** Files of a collection that lanes fetch: what is published is what the adapter's own reads would have published. */
import { mkdirSync, writeFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { sync } from "@pannier/core";
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from "vitest";
import { webdav } from "../src/index.ts";
import { type DavServerInit, startDavServer } from "./server.ts";

let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "pannier-dav-lane-"));
  vi.stubEnv("PANNIER_TEST_LANES", "always");
});

afterEach(async () => {
  await rm(root, { recursive: true });
  vi.unstubAllEnvs();
});

const PATHS = ["a", "b/c", "b/with blank", "b/+plus", "b/100%", "b/it's(*)!", "ü/é", "b/#1", "~"];
const textOf = (path: string) => `this is ${path}`;

type Answer = (name: string, response: ServerResponse, request: IncomingMessage) => boolean;

/** @param lie answers a lane in the server's place; everybody else is told the truth */
async function start(init: Partial<DavServerInit> = {}, lie: Answer = () => false) {
  const share = join(root, "share");
  for (const path of PATHS) {
    mkdirSync(dirname(join(share, path)), { recursive: true });
    await writeFile(join(share, path), textOf(path));
  }
  const server = await startDavServer({ infinity: "listed", etags: true, ...init });
  onTestFinished(() => server.close());
  // Only undici says `connection: keep-alive`.
  const asked: { lane: string[]; read: string[] } = { lane: [], read: [] };
  server.override = (request, response) => {
    if (request.method !== "GET") return false;
    const name = decodeURIComponent(request.url as string).slice(share.length + 1);
    const isOfLane = request.headers.connection === undefined;
    asked[isOfLane ? "lane" : "read"].push(name);
    return isOfLane && lie(name, response, request);
  };
  const target = join(root, "target");
  return {
    share,
    asked,
    run: (credentials: { username?: string; password?: string; cookieFile?: string } = {}) =>
      sync({ sources: [webdav(`dav://127.0.0.1:${server.port}${share}/`)], target, credentials }),
    published: async () =>
      Object.fromEntries(
        await Promise.all(
          PATHS.map(async (path) => [path, await readFile(join(target, "current", path), "utf8")]),
        ),
      ),
    read: (path: string) => readFile(join(target, "current", path)),
  };
}

const wanted = () => Object.fromEntries(PATHS.map((path) => [path, textOf(path)]));
const signIn = { user: "me", password: "pass word%" };
const credentials = { username: signIn.user, password: signIn.password };

test.each<[string, Partial<DavServerInit>]>([
  ["by ETag, signed in", { signIn: { by: "basic", ...signIn } }],
  ["by date", { etags: false, infinity: "refused" }],
])("files of all names, %s", async (_, init) => {
  const { run, asked, published } = await start(init);
  await run(init.signIn === undefined ? {} : credentials);
  expect(await published()).toEqual(wanted());
  expect(asked.lane.toSorted()).toEqual(PATHS.toSorted());
  expect(asked.read).toEqual([]);
});

test("what is signed in by digests, or with cookies, is none of theirs", async () => {
  const { run, asked, published } = await start({ signIn: { by: "digest", ...signIn } });
  await run(credentials);
  expect(await published()).toEqual(wanted());
  expect(asked.lane).toEqual([]);
  const cookieFile = join(root, "cookies");
  await writeFile(cookieFile, "");
  const plain = await start();
  await plain.run({ cookieFile });
  expect(plain.asked.lane).toEqual([]);
});

test("a file that may change while it is sent is left to the adapter, which looks again", async () => {
  const { share, run, asked, read } = await start();
  const large = Buffer.alloc(65_537, "x");
  await writeFile(join(share, "large"), large);
  await run();
  expect(asked.read).toEqual(["large"]);
  expect(await read("large")).toEqual(large);
});

const text = textOf("b/c");
const ok = { "content-length": text.length };
test.each<[string, (response: ServerResponse) => void]>([
  ["another version", (response) => response.writeHead(200, { ...ok, etag: '"0"' }).end(text)],
  ["no version", (response) => response.writeHead(200, ok).end(text)],
  ["a part", (response) => response.writeHead(206, ok).end(text)],
  ["a failed condition", (response) => response.writeHead(412).end()],
  ["an error", (response) => response.writeHead(500).end()],
  ["a wish to be left alone", (response) => response.writeHead(503).end()],
  ["a wish for a password", (response) => response.writeHead(401).end()],
  ["nothing", (response) => response.destroy()],
])("where a file is answered with %s, the adapter reads it", async (_, say) => {
  const { run, asked, published } = await start({}, (name, response) => {
    if (name !== "b/c") return false;
    say(response);
    return true;
  });
  await run();
  expect(await published()).toEqual(wanted());
  expect(asked.read).toEqual(["b/c"]);
});

test("a file that is replaced meanwhile is found out, and the server listed again", async () => {
  let replaced = false;
  const { share, run, read } = await start({}, () => {
    if (!replaced) writeFileSync(join(share, "~"), "new content");
    replaced = true;
    return false;
  });
  await run();
  expect(String(await read("~"))).toBe("new content");
});
