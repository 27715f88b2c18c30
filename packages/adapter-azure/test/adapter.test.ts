/** What a source does with the answers of the service, alone and in the engine's hands. */
import { renameSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { listAll, readAll } from "@pannier/adapter-kit";
import { sync, type SyncOptions } from "@pannier/core";
import type { Credentials } from "@pannier/core/adapter";
import { expect, onTestFinished, test } from "vitest";
import { ACCOUNT, makeBlob } from "./blob-server.ts";
import { type Container, contents, openContainer } from "./open.ts";
import { azure } from "../src/index.ts";

const { signal } = new AbortController();
const SAS = "sv=2024-11-04&sp=rl&sig=a%2Fsignature%2Fthat%2Fnobody%2Fmay%2Fsee";

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), "pannier-azure-"));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return made;
}

function syncOnce(
  { endpoint }: Container,
  target: string,
  credentials: Credentials,
  more: Partial<SyncOptions> = {},
) {
  const source = azure(`az://${ACCOUNT}/box/`, { endpoint });
  return sync({ sources: [source], target, credentials, attempts: 2, ...more });
}

test("tells doctor where its credentials come from, and people which version there is", async () => {
  const container = await openContainer({ a: makeBlob("1", { etag: "0x1" }) });
  const { source } = await container.open();
  expect(await source.identity?.(signal)).toBe("credentials.password (the account's key)");
  expect(source.version?.((await listAll(source)).file("a"))).toBe("0x1");
});

test("an idle poll with a marker is one HEAD", async () => {
  const container = await openContainer({ "site/a": "1", "site/.done": "1" });
  const opened = await container.open("site/", { marker: ".done" });
  const first = await opened.source.probe(signal);
  container.blobs.set("site/a", makeBlob("2"));
  expect(await opened.source.probe(signal)).toEqual(first);
  container.blobs.set("site/.done", makeBlob("2"));
  expect((await opened.source.probe(signal))?.token).not.toBe(first?.token);
  expect(container.log.map(({ method, url }) => `${method} ${url}`)).toEqual(
    Array.from({ length: 3 }, () => `HEAD /${ACCOUNT}/box/site/.done`),
  );
  container.blobs.delete("site/.done");
  await expect(opened.source.probe(signal)).rejects.toMatchObject({ code: "not-found" });
  expect(await (await container.open("site/")).source.probe(signal)).toBeUndefined();
});

test("a marker without a name is refused before anything is asked", async () => {
  const container = await openContainer({ a: "1" });
  await expect(container.open("", { marker: "" })).rejects.toThrow('option "marker" is empty');
  expect(container.log).toEqual([]);
});

test("the SDK asks about a marker of any name, and what it asks is signed", async () => {
  for (const marker of ["a b+ü%2F#?&=", "a//b/", ":list", "/x"]) {
    const container = await openContainer({ [`site/${marker}`]: "1" });
    const { source } = await container.open("site/", { marker });
    expect(await source.probe(signal)).toMatchObject({
      token: expect.stringMatching(/^marker 0x/),
    });
  }
});

test("the SDK tries nothing again, shows no secret, and does not outlive an abort", async () => {
  const container = await openContainer({ ".done": "1" });
  const dir = await folder();
  await writeFile(join(dir, "sas"), SAS);
  const opened = await container.open("", { marker: ".done" }, { tokenFile: join(dir, "sas") });
  const refuse = (status: number) => {
    container.behaviour.intercept = (_, response) => {
      response.writeHead(status, { "x-ms-error-code": "ServerBusy" }).end();
      return true;
    };
    return opened.source.probe(signal).catch((reason: unknown) => reason);
  };
  for (const status of [500, 503]) {
    container.log.length = 0;
    const error = await refuse(status);
    expect(error).toMatchObject({ code: "throttled", transient: true });
    expect(inspect(error, { depth: 20, showHidden: true })).not.toContain("signature");
    expect(container.log).toHaveLength(1);
  }
  container.behaviour.intercept = (request) => Boolean(request.socket.destroy());
  const broken: unknown = await opened.source.probe(signal).catch((reason: unknown) => reason);
  expect(broken).toMatchObject({ code: "unavailable" });
  expect(inspect(broken, { depth: 20, showHidden: true })).not.toContain("signature");

  const stop = new AbortController();
  container.behaviour.intercept = () => {
    stop.abort(new Error("enough"));
    return true;
  };
  await expect(opened.source.probe(stop.signal)).rejects.toThrow("enough");
});

test("reads a small blob in one request, and parts as slices", async () => {
  const container = await openContainer({ "d/a b+ü%2F#?": "0123456789" });
  const { source } = await container.open("d/");
  const entry = (await listAll(source)).file("a b+ü%2F#?");
  container.log.length = 0;
  expect(String(await readAll(source, entry))).toBe("0123456789");
  expect(String(await readAll(source, entry, { offset: 3, length: 4 }))).toBe("3456");
  expect(String(await readAll(source, entry, { offset: 8 }))).toBe("89");
  expect(String(await readAll(source, entry, { offset: 10 }))).toBe("");
  expect(container.log.map(({ status }) => status)).toEqual([200, 206, 206]);
});

test("a blob in the archive tier fails by name, and only where it is read", async () => {
  const container = await openContainer({ "old/a": makeBlob("1", { tier: "Archive" }), b: "2" });
  const { source } = await container.open();
  const listed = await listAll(source);
  await expect(readAll(source, listed.file("old/a"))).rejects.toMatchObject({
    code: "unsupported",
    message: "old/a: the blob is in the archive tier (BlobArchived)",
    hint: expect.stringContaining("rehydrate"),
  });
  expect(String(await readAll(source, listed.file("b")))).toBe("2");
});

test("a blob that was deleted, softly or not, fails by name", async () => {
  const container = await openContainer({ "x/a": "1" });
  const { source } = await container.open("x/");
  const entry = (await listAll(source)).file("a");
  container.blobs.delete("x/a");
  await expect(readAll(source, entry)).rejects.toMatchObject({
    code: "changed",
    message: "a: the blob does not exist (BlobNotFound)",
    hint: expect.stringContaining("restored"),
  });
});

test("a blob that is deleted before it is read is left out, and the others come", async () => {
  const container = await openContainer({ a: "1", b: "2", c: "3" });
  container.behaviour.intercept = ({ url }) => {
    if (url?.endsWith("/box/b") === true) container.blobs.delete("b");
    return false;
  };
  const target = await folder();
  await syncOnce(container, target, { password: container.accepted.keys[0] as string });
  expect(await readdir(join(target, "current"))).toEqual(["a", "c"]);
});

test.each<[number, string, Record<string, unknown>]>([
  [401, "InvalidAuthenticationInfo", { code: "auth", transient: false }],
  [403, "AuthenticationFailed", { code: "auth", hint: expect.stringContaining("clock") }],
  [
    403,
    "AuthorizationPermissionMismatch",
    { code: "auth", hint: expect.stringContaining("Reader") },
  ],
  [403, "AuthorizationFailure", { code: "auth", hint: expect.stringContaining("firewall") }],
  [403, "SomethingNew", { code: "auth", message: expect.stringContaining("SomethingNew") }],
  [409, "PublicAccessNotPermitted", { code: "auth", hint: expect.stringContaining("anonymous") }],
  [404, "ContainerNotFound", { code: "not-found", message: expect.stringContaining("container") }],
  [404, "ResourceNotFound", { code: "not-found", message: expect.stringContaining("not public") }],
  [409, "ContainerBeingDeleted", { code: "not-found" }],
  [400, "InvalidResourceName", { code: "not-found" }],
  [400, "OutOfRangeInput", { code: "unavailable", transient: false }],
  [429, "", { code: "throttled", transient: true, retryAfter: 7000 }],
  [503, "ServerBusy", { code: "throttled", transient: true, retryAfter: 7000 }],
  [500, "OperationTimedOut", { code: "unavailable", transient: true }],
  [302, "", { code: "invalid" }],
])("%i %s is %o", async (status, code, expected) => {
  const container = await openContainer({ a: "1" });
  container.behaviour.intercept = (_, response) => {
    const named = code === "" ? {} : { "x-ms-error-code": code };
    const headers = { "retry-after": "7", location: `http://127.0.0.1:1/?${SAS}`, ...named };
    response.writeHead(status, headers).end("words that nobody should repeat");
    return true;
  };
  container.accepted.sas = [SAS];
  const dir = await folder();
  await writeFile(join(dir, "sas"), SAS);
  const opened = await container.open("", {}, { tokenFile: join(dir, "sas") });
  const error: unknown = await listAll(opened.source).catch((reason: unknown) => reason);
  expect(error).toMatchObject(expected);
  expect(container.log).toHaveLength(1);
  expect(inspect(error, { depth: 20, showHidden: true })).not.toMatch(/signature|nobody/);
});

test("a connection that breaks says nothing of the SAS either", async () => {
  const container = await openContainer({ a: "1" });
  const dir = await folder();
  await writeFile(join(dir, "sas"), SAS);
  const opened = await container.open("", {}, { tokenFile: join(dir, "sas") });
  const breaks: NonNullable<Container["behaviour"]["intercept"]>[] = [
    (request) => Boolean(request.socket.destroy()),
    (_, response) => Boolean(response.writeHead(200, { "content-length": 10 }).end("x")),
    (_, response) => Boolean(response.socket?.end("no HTTP\r\n\r\n")),
    (_, response) => Boolean(response.writeHead(200, { long: "x".repeat(50_000) }).end()),
  ];
  for (const intercept of breaks) {
    container.behaviour.intercept = intercept;
    const error: unknown = await listAll(opened.source).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: expect.stringMatching(/unavailable|invalid/) });
    expect(inspect(error, { depth: 20, showHidden: true })).not.toContain("signature");
  }
});

test("an anonymous reader is told that the container may not be public", async () => {
  const container = await openContainer({ a: "1" });
  const opened = await container.open("", { anonymous: true });
  await expect(listAll(opened.source)).rejects.toMatchObject({
    code: "auth",
    hint: expect.stringContaining("not public"),
  });
  container.accepted.anonymous = true;
  expect(await contents(opened)).toEqual({ a: "1" });
  expect(container.log.some(({ headers }) => headers.authorization !== undefined)).toBe(false);
});

test("a SAS goes with every request, and into no state", async () => {
  const container = await openContainer({ a: "1", "b/c": "2" });
  container.accepted.sas = [SAS];
  const target = await folder();
  const dir = await folder();
  const tokenFile = join(dir, "sas");
  await writeFile(tokenFile, `?${SAS}\n`);
  const events: unknown[] = [];
  await syncOnce(container, target, { tokenFile }, { onEvent: (event) => events.push(event) });
  expect(await readFile(join(target, "current/b/c"), "utf8")).toBe("2");
  expect(container.log.every(({ url }) => url.endsWith(`?${SAS}`) || url.endsWith(`&${SAS}`))).toBe(
    true,
  );
  expect(inspect(events, { depth: 20 })).not.toContain("signature");
  const state = await readdir(join(target, ".pannier"));
  for (const name of state.filter((each) => each.startsWith("state"))) {
    expect(String(await readFile(join(target, ".pannier", name)))).not.toContain("signature");
  }
});

test("credentials may be renewed in the middle of a sync", async () => {
  const blobs = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`f${i}`, String(i)]));
  const container = await openContainer(blobs);
  const dir = await folder();
  const passwordFile = join(dir, "key");
  const keys = ["first", "second"].map((key) => Buffer.from(key).toString("base64"));
  await writeFile(passwordFile, keys[0] as string);
  container.accepted.keys = [keys[0] as string];
  let reads = 0;
  container.behaviour.intercept = () => {
    if (++reads !== 20) return false;
    // At once, as rotated Secrets are. What was signed with the old one is refused from here on.
    writeFileSync(join(dir, "next"), keys[1] as string);
    renameSync(join(dir, "next"), passwordFile);
    container.accepted.keys = [keys[1] as string];
    return false;
  };
  const target = await folder();
  await syncOnce(container, target, { passwordFile }, { concurrency: 4, attempts: 5 });
  expect(await readdir(join(target, "current"))).toHaveLength(60);
});

test("a listing that fails, or is cut half way, deletes nothing", async () => {
  const names = Array.from({ length: 30 }, (_, i) => `f${String(i).padStart(2, "0")}`);
  const container = await openContainer(Object.fromEntries(names.map((name) => [name, name])));
  container.behaviour.page = 10;
  const target = await folder();
  const password = container.accepted.keys[0] as string;
  await syncOnce(container, target, { password });
  const cut = '<?xml version="1.0"?><EnumerationResults><Blobs><Blob><Name>f10</Name><Properties>';
  for (const answer of [cut, "", `${cut}</Properties></Blob></Blobs>`, undefined]) {
    let lists = 0;
    container.behaviour.intercept = (request, response) => {
      if (request.url?.includes("comp=list") !== true || ++lists === 1) return false;
      if (answer === undefined) response.destroy();
      else response.end(answer);
      return true;
    };
    await expect(syncOnce(container, target, { password })).rejects.toMatchObject({
      cause: { code: expect.stringMatching(/invalid|unavailable/) },
    });
    expect(await readdir(join(target, "current"))).toEqual(names);
  }
});

test("content that is not what its MD5 says is refused", async () => {
  const container = await openContainer({ a: makeBlob("good") });
  const target = await folder();
  const password = container.accepted.keys[0] as string;
  await syncOnce(container, target, { password });
  container.blobs.set("a", makeBlob("evil", { md5: makeBlob("live").md5 }));
  await expect(syncOnce(container, target, { password })).rejects.toMatchObject({
    cause: { code: "invalid" },
  });
  expect(await readFile(join(target, "current/a"), "utf8")).toBe("good");
});

test.each([["../x"], ["a/../../x"], ["/x"], ["a/./b"]])("refuses a tree with %s", async (key) => {
  const container = await openContainer({ ok: "1", [key]: "2" });
  const base = await folder();
  const target = join(base, "volume/web");
  await mkdir(target, { recursive: true });
  const password = container.accepted.keys[0] as string;
  await expect(syncOnce(container, target, { password })).rejects.toThrow(/path|unsafe|absolute/i);
  const made = await readdir(base, { recursive: true });
  expect(made.filter((path) => /(?:^|\/)[xb]$/.test(path))).toEqual([]);
  expect(await readdir(join(base, "volume"))).toEqual(["web"]);
});
