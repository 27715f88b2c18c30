import { utimesSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import type { Credentials } from "@pannier/core";
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest";
import { answerDigest, type DigestChallenge, parseDigest } from "../src/digest.ts";
import { webdav } from "../src/index.ts";
import { pathBelow } from "../src/list.ts";
import { parseMultistatus } from "../src/multistatus.ts";
import { type DavServer, type DavServerInit, startDavServer } from "./server.ts";

let root = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "pannier-dav-"));
  await mkdir(join(root, "sub/deep"), { recursive: true });
  await writeFile(join(root, "a"), "1");
  await writeFile(join(root, "sub/deep/b"), "22");
});
afterEach(() => rm(root, { recursive: true }));

async function serve(init: Partial<DavServerInit> = {}): Promise<DavServer> {
  const server = await startDavServer({ infinity: "listed", etags: true, ...init });
  onTestFinished(() => server.close());
  return server;
}

async function open(server: DavServer, credentials: Credentials = {}) {
  const opened = await openSource(webdav(`dav://127.0.0.1:${server.port}${root}/`), {
    credentials,
  });
  onTestFinished(() => opened.close());
  return opened.source;
}

test.each(["listed", "refused", "one level"] as const)(
  "lists everything where all at once is %s",
  async (infinity) => {
    const server = await serve({ infinity });
    const source = await open(server);
    expect([...new Set((await listAll(source)).paths)].toSorted()).toEqual(["a", "sub/deep/b"]);
    const deep = () => server.requests.filter((line) => line.endsWith(" infinity")).length;
    expect(deep()).toBe(1);
    await listAll(source);
    // Not asked for again where it was refused.
    expect(deep()).toBe(infinity === "refused" ? 1 : 2);
  },
);

test("a server that stops after some levels is asked what is in the deepest collections", async () => {
  for (const path of ["1/2/3/4/5", "1/2/empty", "1/none"])
    await mkdir(join(root, path), { recursive: true });
  await writeFile(join(root, "1/2/3/4/5/c"), "c");
  const expected = ["1/2/3/4/5/c", "a", "sub/deep/b"];
  const cut = await open(await serve({ infinity: "three levels" }));
  expect([...new Set((await listAll(cut)).paths)].toSorted()).toEqual(expected);
  // Where nothing is in them, they are all that there is to ask about.
  const whole = await serve();
  await mkdir(join(root, "1/2/3/4/5/6"));
  const opened = await open(whole);
  expect((await listAll(opened)).paths.toSorted()).toEqual(expected);
  const asked = whole.requests.map((line) => line.replace(`PROPFIND ${root}/`, ""));
  expect(asked).toEqual([" 0", " infinity", "1/2/3/4/5/6/ 1"]);
});

test("a deepest collection that is not wanted is not asked about", async () => {
  await mkdir(join(root, "1/2/3"), { recursive: true });
  const server = await serve();
  const scope = {
    filters: true,
    wants: () => true,
    enters: (path: string) => path !== "1/2/3",
    ignoreFile: async () => {},
  };
  const source = await open(server);
  await listAll(source, new AbortController().signal, scope);
  expect(server.requests.filter((line) => line.endsWith(" 1"))).toEqual([]);
});

test("of a thousand deepest collections none is taken for empty unasked", async () => {
  const scope = {
    filters: true,
    wants: () => true,
    enters: (path: string) => !path.includes("unwanted"),
    ignoreFile: async () => {},
  };
  await mkdir(join(root, "1/2/3/4"), { recursive: true });
  await writeFile(join(root, "1/2/3/4/c"), "c");
  await Promise.all(Array.from({ length: 1500 }, (_, i) => mkdir(join(root, `1/2/unwanted-${i}`))));
  const source = await open(await serve({ infinity: "three levels" }));
  const { paths } = await listAll(source, new AbortController().signal, scope);
  expect(paths).toContain("1/2/3/4/c");
});

test.each([100_000, 200_000, 400_000])(
  "notices a file of %i bytes that is written in place while it is sent",
  async (size) => {
    const path = join(root, "a");
    await writeFile(path, Buffer.alloc(size, "old "));
    const server = await serve();
    const source = await open(server);
    const listed = await listAll(source);
    const { mtimeMs } = await stat(path);
    server.override = (request, response) => {
      if (request.method !== "GET") return false;
      const etag = `"${size.toString(16)}-${mtimeMs.toString(16)}"`;
      response.writeHead(200, { "content-length": size, etag });
      response.write(Buffer.alloc(size / 2, "old "));
      writeFileSync(path, Buffer.alloc(size, "new "));
      utimesSync(path, 1, 1);
      response.end(Buffer.alloc(size / 2, "new "));
      return true;
    };
    await expect(readAll(source, listed.file("a"))).rejects.toMatchObject({ code: "changed" });
  },
);

test.each([405, 501, 403])("a server that answers HEAD with %d is asked by GET", async (status) => {
  const path = join(root, "a");
  await writeFile(path, Buffer.alloc(200_000, "old "));
  const server = await serve();
  const source = await open(server);
  const entry = (await listAll(source)).file("a");
  server.override = (request, response) => {
    if (request.method !== "HEAD") return false;
    response.writeHead(status).end();
    return true;
  };
  expect((await readAll(source, entry)).length).toBe(200_000);
  const refuse = server.override;
  server.override = (request, response) => {
    if (request.headers.range !== undefined) writeFileSync(path, Buffer.alloc(300_000));
    return refuse(request, response);
  };
  await expect(readAll(source, entry)).rejects.toMatchObject({ code: "changed" });
});

test("by digest, the password is never sent, and a nonce that has grown old is replaced", async () => {
  const server = await serve({ signIn: { by: "digest", user: 'us"er', password: "secret" } });
  const seen: string[] = [];
  server.override = (request) => {
    seen.push(request.headers["authorization"] ?? "");
    return false;
  };
  const source = await open(server, { username: 'us"er', password: "secret" });
  const listed = await listAll(source);
  expect(String(await readAll(source, listed.file("a")))).toBe("1");
  server.nonce = "n2";
  expect((await listAll(source)).paths).toHaveLength(2);
  expect(seen.some((header) => header.startsWith("Basic"))).toBe(false);
  expect(seen.filter((header) => header === "")).toHaveLength(1);
  const wrong = await open(server, { username: 'us"er', password: "wrong" });
  await expect(listAll(wrong)).rejects.toMatchObject({ code: "auth" });
});

test("a password goes out only to one who asks for it", async () => {
  const server = await serve();
  const seen: unknown[] = [];
  server.override = (request) => {
    seen.push(request.headers["authorization"]);
    return false;
  };
  await listAll(await open(server, { username: "user", password: "secret" }));
  expect(new Set(seen)).toEqual(new Set([undefined]));
});

test("a listing that is cut short, or is none, is an error", async () => {
  const server = await serve();
  const source = await open(server);
  const start = `<D:multistatus xmlns:D="DAV:"><D:response><D:href>${root}/</D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop></D:propstat></D:response>`;
  for (const body of [
    start,
    "",
    "<html></html>",
    "not xml",
    `<!DOCTYPE x [<!ENTITY y "z">]>${start}</D:multistatus>`,
  ]) {
    server.override = (_request, response) => {
      response.writeHead(207).end(body);
      return true;
    };
    await expect(listAll(source), body).rejects.toMatchObject({ code: "invalid" });
  }
});

test("what is not below the source is refused, and so are names that are none", () => {
  const own = ["dav"];
  expect(pathBelow("/dav/a%20b/c", own)).toBe("a b/c");
  expect(pathBelow("http://other:8080/d%61v/x", own)).toBe("x");
  expect(pathBelow("/dav", own)).toBe("");
  expect(pathBelow("//dav//x", own)).toBe("x");
  // Written as they are.
  expect(pathBelow("/dav/C# notes.txt", own)).toBe("C# notes.txt");
  expect(pathBelow("/dav/100% sure%20.txt", own)).toBe("100% sure%20.txt");
  expect(pathBelow("/dav/é%20b", own)).toBe("é b");
  expect(pathBelow("/dav/why?", own)).toBe("why?");
  for (const href of [
    "/etc/passwd",
    "/dav-old/x",
    "/dav/../x",
    "/dav/%2e%2e/x",
    "/dav/a%2Fb",
    "/dav/%ff",
  ]) {
    expect(() => pathBelow(href, own), href).toThrow(/server lists/);
  }
});

test("reads what servers write: prefixes, CDATA, entities, unknown properties, in pieces of any size", async () => {
  const xml = `<?xml version="1.0" encoding="utf-8"?>
    <multistatus xmlns="DAV:" xmlns:x="urn:x"><response><href><![CDATA[/é &amp]]>&amp;</href><x:href>/no</x:href>
    <propstat><prop><getcontentlength>5</getcontentlength><x:getetag>no</x:getetag><getetag>W/"1"</getetag></prop><status>HTTP/1.1 200 OK</status></propstat>
    <propstat><prop><getlastmodified/></prop><status>HTTP/1.1 404 Not Found</status></propstat></response>
    <response><href>/gone</href><status>HTTP/1.1 403 Forbidden</status></response></multistatus>`;
  for (const size of [1, 7, 10_000]) {
    const bytes = Buffer.from(xml);
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
      bytes.subarray(i * size, (i + 1) * size),
    );
    const found = [];
    for await (const some of parseMultistatus(
      (async function* () {
        yield* pieces;
      })(),
    ))
      found.push(...some);
    expect(found).toMatchObject([
      { href: "/é &amp&", size: 5, etag: 'W/"1"', modified: undefined, collection: false },
      { href: "/gone", status: 403 },
    ]);
  }
});

test("answers digests as RFC 7616 and RFC 2617 show it", () => {
  const base = `realm="http-auth@example.org", qop="auth, auth-int", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`;
  const user = { username: "Mufasa", password: "Circle of Life" };
  const cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
  for (const [algorithm, response] of [
    ["SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"],
    ["MD5", "8ca523f5e9506fed4657c9700eebdbec"],
  ] as const) {
    const challenge = parseDigest(`Basic realm="x", Digest ${base}, algorithm=${algorithm}`);
    expect(challenge).toBeDefined();
    const answer = answerDigest(
      challenge as DigestChallenge,
      user,
      "GET",
      "/dir/index.html",
      1,
      cnonce,
    );
    expect(answer).toContain(`response="${response}"`);
  }
  expect(parseDigest('Digest realm="x", nonce="y", algorithm=SHA-512-256')).toBeUndefined();
  expect(parseDigest('Basic realm="x"')).toBeUndefined();
});
