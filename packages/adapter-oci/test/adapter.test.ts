import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { createFaultProxy, listAll, openSource, readAll } from "@pannier/adapter-kit";
import { type Credentials, filterScope, type Limits, makeFilter, sync } from "@pannier/core";
import { MEDIA } from "@pannier/oci";
import { expect, onTestFinished, test } from "vitest";
import { openRegistry, type RegistryOptions } from "../../../test/support/registry.ts";
import { oci } from "../src/index.ts";
import { gzipLayer, putImage, type TarMember, type TestLayer } from "./images.ts";

const never = new AbortController().signal;

async function registry(options?: RegistryOptions) {
  const made = await openRegistry(options);
  onTestFinished(() => made.close());
  return { ...made, url: `oci+http://127.0.0.1:${made.port}/team/site` };
}

async function open(url: string, options = {}, credentials: Credentials = {}, limits?: Limits) {
  const opened = await openSource(oci(url, options), {
    credentials,
    ...(limits === undefined ? {} : { limits }),
  });
  onTestFinished(() => opened.close());
  return opened;
}

/** What an image shows, as text by path; symlinks as `-> target`. */
async function tree(url: string, options = {}, credentials: Credentials = {}) {
  const { source } = await open(url, options, credentials);
  const { entries } = await listAll(source);
  const shown: Record<string, string> = {};
  for (const [path, entry] of entries) {
    shown[path] =
      entry.kind === "symlink"
        ? `-> ${entry.target}`
        : (await readAll(source, entry)).toString().slice(0, 100);
  }
  return shown;
}

/** A blob that is a file, as ORAS writes it. */
function titled(title: string, content: string): TestLayer {
  return {
    bytes: Buffer.from(content),
    mediaType: "application/vnd.oci.image.layer.v1.tar",
    annotations: { "org.opencontainers.image.title": title },
  };
}

async function treeOf(...layers: readonly (readonly TarMember[])[]) {
  const { url } = await registry();
  await putImage(`${url}:v1`, await Promise.all(layers.map(gzipLayer)));
  return tree(`${url}:v1`);
}

const failure = (what: Promise<unknown>) =>
  what.then(
    () => expect.unreachable(),
    (error: unknown) => error,
  );

test("layers lie one over the other, and whiteouts take away what is below them", async () => {
  const shown = await treeOf(
    [
      { name: "./kept", content: "1" },
      { name: "replaced", content: "1" },
      { name: "gone", content: "1" },
      { name: "gone-not", content: "1" },
      { name: "dir/a", content: "1" },
      { name: "dir/sub/b", content: "1" },
      { name: "opaque/old", content: "1" },
      { name: "file-then-dir", content: "1" },
      { name: "dir-then-file/x", content: "1" },
    ],
    [
      { name: "replaced", content: "2" },
      { name: ".wh.gone" },
      { name: "dir/.wh.sub" },
      { name: "opaque/new", content: "2" },
      { name: "opaque/.wh..wh..opq" },
      { name: "file-then-dir/y", content: "2" },
      { name: "dir-then-file", content: "2" },
      { name: ".wh..wh.plnk/1.2", content: "what a storage driver kept for itself" },
      { name: "link", type: "symlink", linkname: "dir/a" },
    ],
    [
      { name: "gone", content: "3" },
      { name: "hard", content: "3" },
      { name: "harder", type: "link", linkname: "hard" },
    ],
  );
  expect(shown).toEqual({
    kept: "1",
    replaced: "2",
    gone: "3",
    "gone-not": "1",
    "dir/a": "1",
    "opaque/new": "2",
    "file-then-dir/y": "2",
    "dir-then-file": "2",
    link: "-> dir/a",
    hard: "3",
    harder: "3",
  });
});

test("an opaque root leaves nothing of the layers below", async () => {
  expect(
    await treeOf(
      [{ name: "a", content: "1" }],
      [{ name: ".wh..wh..opq" }, { name: "b", content: "2" }],
    ),
  ).toEqual({ b: "2" });
});

test.each([
  "../.wh.etc",
  "/.wh.etc",
  "a/.wh...",
  ".wh..",
  ".wh.",
  ".wh.a/b",
  "a/../../b",
  "/etc/x",
])("an image with %j is refused", async (name) => {
  const error = await failure(treeOf([{ name: "a/b", content: "1" }], [{ name, content: "x" }]));
  expect(error).toMatchObject({ code: "invalid" });
});

test("a device is refused where it is wanted, and passed over elsewhere", async () => {
  const { url } = await registry();
  await putImage(`${url}:v1`, [
    await gzipLayer([
      { name: "dev/null", type: "character-device" },
      { name: "site/page", content: "1" },
    ]),
  ]);
  expect(await failure(tree(`${url}:v1`))).toMatchObject({
    code: "invalid",
    message: expect.stringContaining("character device"),
  });
  expect(await tree(`${url}:v1`, { path: "site" })).toEqual({ page: "1" });
});

const leavingOut = (...patterns: readonly string[]) => filterScope(makeFilter([], patterns));

test.each<[string, TarMember]>([
  ["a device", { name: "x", type: "character-device" }],
  ["a hard link to nothing", { name: "x", type: "link", linkname: "nothing" }],
  ["a name that is not UTF-8", { name: "x\uFFFD", content: "1" }],
  ["what takes away a name that is not UTF-8", { name: ".wh.x\uFFFD" }],
])("%s fails the listing only where it is wanted", async (_, member) => {
  const { url } = await registry();
  await putImage(`${url}:v1`, [await gzipLayer([member, { name: "page", content: "1" }])]);
  const { source } = await open(`${url}:v1`);
  expect(await failure(listAll(source))).toMatchObject({
    code: "invalid",
    hint: expect.stringContaining("--exclude leaves it out"),
  });
  expect((await listAll(source, never, leavingOut("x*"))).paths).toEqual(["page"]);
  expect(await failure(listAll(source, never, leavingOut("page")))).toMatchObject({
    code: "invalid",
  });
});

test("a layer above hides what cannot be published, and a file by its title is judged, too", async () => {
  const shown = await treeOf(
    [{ name: "dev/null", type: "character-device" }],
    [{ name: ".wh.dev" }, { name: "page", content: "1" }],
  );
  expect(shown).toEqual({ page: "1" });
  const { url } = await registry();
  await putImage(`${url}:v1`, [titled("x\uFFFD", "1"), titled("page", "1")]);
  const { source } = await open(`${url}:v1`);
  expect(await failure(listAll(source))).toMatchObject({ code: "invalid" });
  expect((await listAll(source, never, leavingOut("x*"))).paths).toEqual(["page"]);
});

test("an image's own ignore file leaves out what cannot be published", async () => {
  const { url } = await registry();
  const device = { name: "a", type: "character-device" } as const;
  const ignoring = { name: ".pannierignore", content: "a\n" };
  await putImage(`${url}:v1`, [await gzipLayer([device, ignoring, { name: "b", content: "1" }])]);
  const folder = await mkdtemp(join(tmpdir(), "pannier-oci-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await sync({ sources: [oci(`${url}:v1`)], target: folder });
  expect(await readdir(join(folder, "current"))).toEqual(["b"]);
});

test("a file larger than one may be is the engine's to judge, once it is wanted", async () => {
  const { url } = await registry();
  const large = { name: "large", content: "more than eight" };
  const link = { name: "link", type: "link", linkname: "large" } as const;
  await putImage(`${url}:v1`, [await gzipLayer([large, link, { name: "small", content: "1" }])]);
  const folder = await mkdtemp(join(tmpdir(), "pannier-oci-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const settings = { sources: [oci(`${url}:v1`)], target: folder, maxFileBytes: 8 };
  expect(await failure(sync(settings))).toMatchObject({
    message: expect.stringContaining('"large" has 15 bytes'),
  });
  await sync({ ...settings, exclude: ["l*"] });
  expect(await readdir(join(folder, "current"))).toEqual(["small"]);
  await sync({ ...settings, maxFileBytes: 100 });
  expect(await readFile(join(folder, "current", "link"), "utf8")).toBe("more than eight");
});

test("a directory of an image is the root, also where layers above hide or replace it", async () => {
  const { url } = await registry();
  const base = await gzipLayer([
    { name: "srv/models/a", content: "1" },
    { name: "srv/models-old", content: "1" },
  ]);
  await putImage(`${url}:v1`, [base]);
  await putImage(`${url}:v2`, [base, await gzipLayer([{ name: ".wh.srv" }])]);
  await putImage(`${url}:v3`, [
    base,
    await gzipLayer([{ name: "srv/.wh.models" }, { name: "srv/models/b", content: "3" }]),
  ]);
  const options = { path: "/srv/models/" };
  expect(await tree(`${url}:v1`, options)).toEqual({ a: "1" });
  expect(await failure(tree(`${url}:v2`, options))).toMatchObject({ code: "not-found" });
  expect(await tree(`${url}:v3`, options)).toEqual({ b: "3" });
  expect(await failure(tree(`${url}:v1`, { path: "srv/other" }))).toMatchObject({
    code: "not-found",
  });
});

test("files of ORAS are files by their titles; a directory that it packed is unpacked", async () => {
  const { url } = await registry();
  const packed = await gzipLayer([{ name: "docs/.wh.kept", content: "a file of that name" }]);
  await putImage(`${url}:v1`, [
    titled("a.txt", "1"),
    titled("sub/b.tar", "2"),
    {
      ...packed,
      annotations: {
        "org.opencontainers.image.title": "docs",
        "io.deis.oras.content.unpack": "true",
      },
    },
    { bytes: Buffer.from("{}"), mediaType: MEDIA.empty },
  ]);
  expect(await tree(`${url}:v1`)).toEqual({
    "a.txt": "1",
    "sub/b.tar": "2",
    "docs/.wh.kept": "a file of that name",
  });
  await putImage(`${url}:v2`, [titled("../up", "1")]);
  expect(await failure(tree(`${url}:v2`))).toMatchObject({ code: "invalid" });
});

test("a layer of another kind is refused by its type", async () => {
  const { url } = await registry();
  await putImage(`${url}:v1`, [{ bytes: Buffer.from("\0asm"), mediaType: "application/wasm" }]);
  expect(await failure(tree(`${url}:v1`))).toMatchObject({
    code: "unsupported",
    message: expect.stringContaining('"application/wasm"'),
  });
});

test("an index gives the image of the platform; what is attested of the others is passed over", async () => {
  const made = await registry();
  const { url, manifests } = made;
  const images = await Promise.all(
    ["amd64", "arm64"].map(async (architecture) => ({
      mediaType: MEDIA.manifest,
      digest: await putImage(`${url}:${architecture}`, [
        await gzipLayer([{ name: "arch", content: architecture }]),
      ]),
      size: 1,
      platform: { os: "linux", architecture },
    })),
  );
  const attested = { ...images[0], platform: { os: "unknown", architecture: "unknown" } };
  const put = (tag: string, list: readonly unknown[]) =>
    manifests.set(`team/site/${tag}`, {
      bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: list })),
      type: MEDIA.index,
    });
  put("all", [attested, ...images]);
  put("one", [images[1], attested]);
  expect(await tree(`${url}:all`, { platform: "linux/arm64" })).toEqual({ arch: "arm64" });
  expect(await tree(`${url}:one`)).toEqual({ arch: "arm64" });
  expect(await failure(tree(`${url}:all`, { platform: "linux/s390x" }))).toMatchObject({
    code: "not-found",
    hint: expect.stringContaining("linux/amd64, linux/arm64"),
  });
});

test("semver follows the highest version in the range", async () => {
  const { url } = await registry();
  const tags = ["v1.2.0", "1.10.0", "1.11.0-rc.1", "2.0.0", "1.99", "latest", "1.9.3_build.5"];
  for (const tag of tags)
    await putImage(`${url}:${tag}`, [await gzipLayer([{ name: "tag", content: tag }])]);
  expect(await tree(url, { semver: "1.x" })).toEqual({ tag: "1.10.0" });
  expect(await tree(url, { semver: ">=1.11.0-0 <2" })).toEqual({ tag: "1.11.0-rc.1" });
  expect(await tree(url, { semver: "~1.9" })).toEqual({ tag: "1.9.3_build.5" });
  expect(await failure(tree(url, { semver: "3.x" }))).toMatchObject({ code: "not-found" });
  const { source } = await open(url, { semver: "1.x" });
  const before = await source.probe(never);
  await putImage(`${url}:1.12.0`, [await gzipLayer([{ name: "tag", content: "1.12.0" }])]);
  expect((await source.probe(never))?.token).not.toBe(before?.token);
});

test("a digest is taken by itself, and never asked about", async () => {
  const { url, requests } = await registry();
  const digest = await putImage(`${url}:v1`, [await gzipLayer([{ name: "a", content: "1" }])]);
  await putImage(`${url}:v1`, [await gzipLayer([{ name: "a", content: "2" }])]);
  expect(await tree(`${url}@${digest}`)).toEqual({ a: "1" });
  expect(await tree(`${url}:v1@${digest}`)).toEqual({ a: "1" });
  requests.length = 0;
  const { source } = await open(`${url}@${digest}`);
  expect(await source.probe(never)).toEqual({
    token: digest,
    revision: digest.slice("sha256:".length),
    immutable: true,
  });
  expect(requests).toEqual([]);
});

test("a poll is one HEAD, and a change costs the layers that are new", async () => {
  const { url, requests } = await registry();
  const base = await gzipLayer([{ name: "a", content: "1" }]);
  await putImage(`${url}:v1`, [base, await gzipLayer([{ name: "b", content: "1" }])]);
  const { source } = await open(`${url}:v1`);
  const before = await listAll(source);
  requests.length = 0;
  const first = await source.probe(never);
  expect(requests).toEqual(["HEAD /v2/team/site/manifests/v1"]);
  await putImage(`${url}:v1`, [base, await gzipLayer([{ name: "b", content: "2" }])]);
  requests.length = 0;
  const next = await source.probe(never, first?.token);
  const delta = await source.changes?.(before.revision ?? "", next?.revision ?? "", never);
  const changes = [];
  for await (const batch of delta?.changes ?? []) changes.push(...batch);
  expect(changes).toMatchObject([{ kind: "put", entry: { path: "b" } }]);
  expect(requests.map((line) => line.split("/")[4])).toEqual(["manifests", "manifests", "blobs"]);
});

test("a manifest that is another's, or too large, or lists what cannot be, is refused", async () => {
  const { url, manifests } = await registry();
  const digest = await putImage(`${url}:v1`, [await gzipLayer([{ name: "a", content: "1" }])]);
  await putImage(`${url}:v2`, [await gzipLayer([{ name: "a", content: "2" }])]);
  const other = manifests.get("team/site/v2");
  if (other === undefined) throw new Error("no manifest");
  manifests.set(`team/site/${digest}`, other);
  expect(await failure(tree(`${url}@${digest}`))).toMatchObject({
    code: "invalid",
    message: expect.stringContaining("another's"),
  });
  const put = (tag: string, bytes: Buffer) =>
    manifests.set(`team/site/${tag}`, { bytes, type: MEDIA.manifest });
  put("large", Buffer.alloc((4 << 20) + 1, " "));
  put("text", Buffer.from("<html>"));
  put("digest", Buffer.from('{"layers":[{"digest":"sha256:../../etc","size":1}],"config":{}}'));
  put("size", Buffer.from(`{"layers":[{"digest":"${digest}","size":-1}]}`));
  for (const tag of ["large", "text", "digest", "size"]) {
    expect(await failure(tree(`${url}:${tag}`)), tag).toMatchObject({ code: "invalid" });
  }
});

test("a layer that is not what its digest says is refused", async () => {
  const { url, blobs } = await registry();
  const layer = await gzipLayer([{ name: "a", content: "1" }]);
  await putImage(`${url}:v1`, [layer]);
  const other = await gzipLayer([{ name: "a", content: "2" }]);
  for (const [digest, bytes] of blobs)
    if (bytes.equals(layer.bytes)) blobs.set(digest, other.bytes);
  expect(await failure(tree(`${url}:v1`))).toMatchObject({ code: "invalid" });
});

test("a layer that grows to many times its size is given up", async () => {
  const { url } = await registry();
  await putImage(`${url}:v1`, [await gzipLayer([{ name: "a", content: Buffer.alloc(32 << 20) }])]);
  const limits = { maxFiles: 1e6, maxBytes: 1e12, maxFileBytes: 1e12, maxExpansion: 50 };
  const { source } = await open(`${url}:v1`, {}, {}, limits);
  expect(await failure(listAll(source))).toMatchObject({
    code: "invalid",
    message: expect.stringContaining("grows"),
  });
});

/** A token server that takes one user; tokens of its own count until they are forgotten. */
async function tokenServer() {
  const tokens = new Set<string>();
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    const body = (await buffer(request)).toString();
    asked.push(`${request.method} ${request.headers.authorization ?? "nobody"} ${body}`);
    const right =
      request.headers.authorization === `Basic ${btoa("me:s3cret")}` ||
      body.includes("refresh_token=identity");
    const token = `token-${asked.length}`;
    if (right) tokens.add(token);
    response.writeHead(right ? 200 : 401).end(JSON.stringify({ token, expires_in: 300 }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const challenge = `Bearer realm="http://127.0.0.1:${port}/token",service="reg",scope="repository:team/site:pull"`;
  return { tokens, asked, challenge };
}

test("a token is asked for when the registry wants one, used again, and renewed when it no longer counts", async () => {
  const { tokens, asked, challenge } = await tokenServer();
  let locked = false;
  const seen: string[] = [];
  const { url } = await registry({
    before(request, response) {
      const { authorization = "" } = request.headers;
      seen.push(authorization);
      if (!locked || tokens.has(authorization.replace("Bearer ", ""))) return false;
      response.writeHead(401, { "www-authenticate": challenge }).end();
      return true;
    },
  });
  await putImage(`${url}:v1`, [await gzipLayer([{ name: "a", content: "1" }])]);
  locked = true;
  seen.length = 0;
  const credentials = { username: "me", password: "s3cret" };
  const { source } = await open(`${url}:v1`, {}, credentials);
  await listAll(source);
  expect(seen).toEqual(["", "Bearer token-1", "Bearer token-1"]);
  expect(asked).toEqual([`GET Basic ${btoa("me:s3cret")} `]);
  tokens.clear();
  await source.probe(never);
  expect(seen.slice(3)).toEqual(["Bearer token-1", "Bearer token-2"]);

  const wrong = { username: "me", password: "incorrect" };
  expect(await failure(tree(`${url}:v1`, {}, wrong))).toMatchObject({ code: "auth" });
  expect(await failure(tree(`${url}:v1`))).toMatchObject({ code: "auth" });
});

test("what docker and podman know is used: entries, identity tokens, helpers", async () => {
  const { tokens, challenge } = await tokenServer();
  const { url, port } = await registry({
    before(request, response) {
      if (request.method === "PUT" || request.method === "POST") return false;
      if (tokens.has((request.headers.authorization ?? "").replace("Bearer ", ""))) return false;
      response.writeHead(401, { "www-authenticate": challenge }).end();
      return true;
    },
  });
  await putImage(`${url}:v1`, [await gzipLayer([{ name: "a", content: "1" }])]);
  const directory = await mkdtemp(join(tmpdir(), "pannier-docker-"));
  const { DOCKER_CONFIG, PATH, HOME, XDG_RUNTIME_DIR } = process.env;
  onTestFinished(async () => {
    Object.assign(process.env, { DOCKER_CONFIG, PATH, HOME, XDG_RUNTIME_DIR });
    for (const [name, value] of Object.entries({ DOCKER_CONFIG, XDG_RUNTIME_DIR }))
      if (value === undefined) delete process.env[name];
    await rm(directory, { recursive: true });
  });
  Object.assign(process.env, { DOCKER_CONFIG: directory, HOME: directory });
  delete process.env["XDG_RUNTIME_DIR"];
  const configure = (config: unknown) =>
    writeFile(join(directory, "config.json"), JSON.stringify(config));
  const host = `127.0.0.1:${port}`;
  const auth = btoa("me:s3cret");

  await configure({ auths: { [host]: { auth } } });
  expect(await tree(`${url}:v1`)).toEqual({ a: "1" });
  await configure({ auths: { [`https://${host}/v1/`]: { auth } } });
  expect(await tree(`${url}:v1`)).toEqual({ a: "1" });
  await configure({ auths: { [host]: { auth: btoa("me:no") }, [`${host}/team`]: { auth } } });
  expect(await tree(`${url}:v1`)).toEqual({ a: "1" });
  await configure({ auths: { [host]: { identitytoken: "identity" } } });
  expect(await tree(`${url}:v1`)).toEqual({ a: "1" });

  await writeFile(
    join(directory, "docker-credential-test"),
    `#!/bin/sh\nread server\n[ "$1 $server" = "get ${host}" ] && echo '{"Username":"me","Secret":"s3cret"}' || { echo 'credentials not found in native keychain'; exit 1; }\n`,
    { mode: 0o755 },
  );
  process.env["PATH"] = `${directory}:${PATH}`;
  await configure({ credHelpers: { [host]: "test" } });
  expect(await tree(`${url}:v1`)).toEqual({ a: "1" });
  await configure({ credsStore: "test" });
  expect(await tree(`${url}:v1`)).toEqual({ a: "1" });
  await configure({ credsStore: "missing" });
  expect(await failure(tree(`${url}:v1`))).toMatchObject({
    code: "auth",
    message: expect.stringContaining("docker-credential-missing is not installed"),
  });
  const { source } = await open(`${url}:v1`, {}, { username: "me", password: "s3cret" });
  expect(await source.identity?.(never)).toBe("what credentials.password has");
});

test("nothing that signs in follows a redirect to where blobs are stored", async () => {
  const store = await openRegistry();
  onTestFinished(() => store.close());
  const atStore: (string | undefined)[] = [];
  const blobs = createServer((request, response) => {
    atStore.push(request.headers.authorization);
    response.end(store.blobs.get(request.url?.slice(1) ?? ""));
  });
  blobs.listen(0, "127.0.0.1");
  await once(blobs, "listening");
  onTestFinished(() => void blobs.close());
  const { port } = blobs.address() as AddressInfo;
  let locked = false;
  const made = await registry({
    before(request, response) {
      if (!locked) return false;
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { "www-authenticate": 'Basic realm="here"' }).end();
        return true;
      }
      const [, digest] = /\/blobs\/(sha256:.*)$/.exec(request.url ?? "") ?? [];
      if (digest === undefined) return false;
      response.writeHead(307, { location: `http://127.0.0.1:${port}/${digest}` }).end();
      return true;
    },
  });
  await putImage(`${made.url}:v1`, [await gzipLayer([{ name: "a", content: "1" }])]);
  for (const [digest, bytes] of made.blobs) store.blobs.set(digest, bytes);
  locked = true;
  expect(await tree(`${made.url}:v1`, {}, { username: "me", password: "s3cret" })).toEqual({
    a: "1",
  });
  expect(atStore).toEqual([undefined]);
});

test("a listing gives the image of now, also while an older one is still being read", async () => {
  const { url, port, requests } = await registry();
  const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port } });
  onTestFinished(() => proxy.close());
  const push = async (count: number) => {
    // Zeros would be compressed.
    const content = randomBytes(200_000 + count);
    await putImage(`${url}:v1`, [await gzipLayer([{ name: "a", content }])]);
  };
  await push(1);
  await proxy.set({ bytesPerSecond: 200_000 });
  const { source } = await open(`${url}:v1`.replace(String(port), String(proxy.port)));
  const older = listAll(source);
  await expect.poll(() => requests.some((line) => line.includes("/blobs/"))).toBe(true);
  await push(2);
  expect((await listAll(source)).file("a").size).toBe(200_002);
  expect((await older).file("a").size).toBe(200_001);
});

test("what came of a layer before it was cut counts once, and is no part of the next try", async () => {
  const { url, port } = await registry();
  const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port } });
  onTestFinished(() => proxy.close());
  const [a, b, c] = ["a", "b", "c"].map((name) => ({ name, content: randomBytes(300_000) }));
  const early = { name: "early", type: "link", linkname: "b" } as const;
  await putImage(`${url}:v1`, [await gzipLayer([a!, early, b!, c!])]);
  await proxy.set({ cutAfter: 800_000, times: 1 });
  const folder = await mkdtemp(join(tmpdir(), "pannier-oci-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const through = `${url}:v1`.replace(String(port), String(proxy.port));
  const settings = { sources: [oci(through)], target: folder, maxFiles: 5, maxBytes: 1_000_000 };
  // What it leads to is there, from the first try.
  expect(await failure(sync(settings))).toMatchObject({
    message: expect.stringContaining('a layer holds a hard link to "b"'),
  });
  expect(proxy.stats.strikes).toBe(1);
  await proxy.set({ cutAfter: 800_000, times: 1 });
  await sync({ ...settings, exclude: ["early"] });
  expect(await readdir(join(folder, "current"))).toEqual(["a", "b", "c"]);
});

test("a range that a cache answers with the whole is cut out of it", async () => {
  const { url } = await registry({ ranges: false });
  const content = Buffer.from("0123456789".repeat(1000));
  await putImage(`${url}:v1`, [
    {
      bytes: content,
      mediaType: "text/plain",
      annotations: { "org.opencontainers.image.title": "a" },
    },
  ]);
  const { source } = await open(`${url}:v1`);
  const entry = (await listAll(source)).file("a");
  const part = await readAll(source, entry, { offset: 5005, length: 10 });
  expect(part.toString()).toBe("5678901234");
});

test.each([
  ["oci://host/Team/site", "not a valid name of a repository"],
  ["oci:///site:v1", "not a valid name of a repository"],
  ["oci://host/site:a b", "not a valid tag"],
  ["oci://host/site@sha256:12", "not a valid digest"],
  ["oci://host/site:v1?semver=1.x", "chooses the tag"],
  ["oci://host/site?semver=one", "not a valid range"],
  ["oci://host/site?platform=arm64", "not a valid platform"],
  ["oci://host/site?path=../x", 'must not hold ".."'],
])("%s is refused at once", async (url, message) => {
  await expect(open(url)).rejects.toMatchObject({
    name: "UsageError",
    message: expect.stringContaining(message),
  });
});

test("the image that a lock file names is fetched, also where the tag has moved on", async () => {
  const { url } = await registry();
  const work = await mkdtemp(join(tmpdir(), "pannier-oci-lock-"));
  onTestFinished(() => rm(work, { recursive: true, force: true }));
  const lock = join(work, "pannier.lock");
  const run = (target: string, locked: boolean) =>
    sync({ sources: [oci(`${url}:live`)], target: join(work, target), lock, locked });
  await putImage(`${url}:live`, [await gzipLayer([{ name: "a", content: "1" }])]);
  await run("one", false);
  await putImage(`${url}:live`, [await gzipLayer([{ name: "a", content: "2" }])]);
  expect(await run("two", true)).toMatchObject({ result: "published" });
  expect(await readFile(join(work, "two/current/a"), "utf8")).toBe("1");
  expect(await run("two", true)).toMatchObject({ result: "unchanged" });
});
