import { createHash } from "node:crypto";
import { listAll, readAll } from "@pannier/adapter-kit";
import type { ServerResponse } from "node:http";
import { expect, test } from "vitest";
import { failure, never, open, site, tree } from "../open.ts";

const sha = (text: string) => createHash("sha256").update(text).digest("hex");
const html = (title: string, body: string) => ({
  type: "text/html;charset=UTF-8",
  body: `<html><head><title>${title}</title></head><body><h1>${title}</h1>${body}</body></html>`,
});

const NGINX = html(
  "Index of /d/",
  `<hr><pre><a href="../">../</a>
<a href="sub/">sub/</a>                            03-Feb-2025 04:05                   -
<a href="a%20%C3%BC.txt">a ü.txt</a>               03-Feb-2025 04:05                   2
<a href="a-name-that-is-too-long-to-be-shown-in-one-column.txt">a-name-that-is-too-long-to-be-shown-in-one-colum..&gt;</a> 03-Feb-2025 04:05  1
</pre><hr>`,
);
const NGINX_ROUNDED = html(
  "Index of /d/sub/",
  `<hr><pre><a href="../">../</a>
<a href="b.txt">b.txt</a>               03-Feb-2025 04:05                   3K
</pre><hr>`,
);
const APACHE_FANCY = html(
  "Index of /d",
  `<pre><img src="/icons/blank.gif" alt="Icon "> <a href="?C=N;O=D">Name</a>  <a href="?C=M;O=A">Last modified</a>  <a href="?C=S;O=A">Size</a>  <hr>
<a href="/"><img src="/icons/back.gif" alt="[PARENTDIR]"></a> <a href="/">Parent Directory</a>                             -
<a href="sub/"><img src="/icons/folder.gif" alt="[DIR]"></a> <a href="sub/">sub/</a>         2025-02-03 05:05    -
<a href="a.txt"><img src="/icons/text.gif" alt="[TXT]"></a> <a href="a.txt">a.txt</a>        2025-02-03 05:05  1.2K  a description
<hr></pre><address>Apache/2.4.57 (Debian) Server at 127.0.0.1 Port 80</address>`,
);
const APACHE_TABLE = html(
  "Index of /d/sub",
  `<table><tr><th valign="top"><img src="/icons/blank.gif" alt="[ICO]"></th><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td valign="top"><img src="/icons/back.gif" alt="[PARENTDIR]"></td><td><a href="/d/">Parent Directory</a></td><td>&nbsp;</td><td align="right">  - </td></tr>
<tr><td valign="top"><img src="/icons/text.gif" alt="[TXT]"></td><td><a href="b.txt">b.txt</a></td><td align="right">2025-02-03 05:05  </td><td align="right">  7 </td><td>&nbsp;</td></tr>
</table>`,
);

test("lists nginx's HTML index with all below it", async () => {
  const server = await site({
    "/d/": NGINX,
    "/d/sub/": NGINX_ROUNDED,
    "/d/a%20%C3%BC.txt": { body: "aa" },
    "/d/a-name-that-is-too-long-to-be-shown-in-one-column.txt": { body: "l" },
    "/d/sub/b.txt": { body: "b".repeat(3000) },
  });
  const opened = await open(`${server.origin}/d/`);
  const listed = await listAll(opened.source);
  expect(listed.paths.toSorted()).toEqual([
    "a ü.txt",
    "a-name-that-is-too-long-to-be-shown-in-one-column.txt",
    "sub/b.txt",
  ]);
  expect(listed.file("a ü.txt")).toMatchObject({ size: 2, mtime: Date.UTC(2025, 1, 3, 4, 5) });
  // A rounded size is none.
  expect(listed.file("sub/b.txt").size).toBeUndefined();
  expect(await readAll(opened.source, listed.file("sub/b.txt"))).toHaveLength(3000);
  expect(opened.source.ranges).toBe(false);
  expect(await opened.source.probe(never)).toBeUndefined();
});

test("lists Apache's fancy and table indexes", async () => {
  const modified = new Date("2025-02-03T04:05:06Z");
  const server = await site({
    "/d/": APACHE_FANCY,
    "/d/sub/": APACHE_TABLE,
    "/d/a.txt": { body: "a".repeat(1200), modified },
    "/d/sub/b.txt": { body: "1234567", modified },
  });
  const opened = await open(`${server.origin}/d/`);
  const listed = await listAll(opened.source);
  expect(listed.paths.toSorted()).toEqual(["a.txt", "sub/b.txt"]);
  // The time zone is the server's own: no use as a time.
  expect(listed.file("a.txt")).toMatchObject({ size: undefined, mtime: undefined });
  expect(listed.file("sub/b.txt").size).toBe(7);
  expect(String(await readAll(opened.source, listed.file("sub/b.txt")))).toBe("1234567");
});

test("asks for each file only where the index tells nothing of it", async () => {
  const server = await site({
    "/d/": html(
      "Index of /d",
      `<ul><li><a href="/"> Parent Directory</a></li>\n<li><a href="a.txt"> a.txt</a></li><li><a href="s/"> s/</a></li></ul>`,
    ),
    "/d/s/": html("Index of /d/s", `<ul><li><a href="b.txt"> b.txt</a></li></ul>`),
    "/d/a.txt": { body: "aaa" },
    "/d/s/b.txt": { body: "b", validator: "date" },
  });
  const opened = await open(`${server.origin}/d/`, { manifest: "none" });
  expect(await tree(opened)).toEqual({ "a.txt": "aaa", "s/b.txt": "b" });
  expect(server.log.filter((line) => line.startsWith("HEAD"))).toEqual([
    "HEAD /d/a.txt 200",
    "HEAD /d/s/b.txt 200",
  ]);
  const listed = await listAll(opened.source);
  expect(listed.file("a.txt").size).toBe(3);
  server.pages.set("/d/a.txt", { body: "bbb" });
  expect((await failure(readAll(opened.source, listed.file("a.txt")))).code).toBe("changed");
});

test("lists nginx's JSON index", async () => {
  const type = "application/json";
  const mtime = "Mon, 03 Feb 2025 04:05:06 GMT";
  const server = await site({
    "/d/": {
      type,
      body: JSON.stringify([
        { name: "s", type: "directory", mtime },
        { name: 'a "ü" [.txt', type: "file", mtime, size: 2 },
      ]),
    },
    "/d/s/": { type, body: `[\n{ "name":"b", "type":"file", "mtime":"${mtime}", "size":1 }\n]` },
    "/d/a%20%22%C3%BC%22%20%5B.txt": { body: "aa", validator: "date" },
    "/d/s/b": { body: "b", validator: "date" },
  });
  const opened = await open(`${server.origin}/d/`);
  const listed = await listAll(opened.source);
  expect(listed.file("s/b")).toMatchObject({ size: 1, mtime: Date.parse(mtime) });
  expect(await tree(opened)).toEqual({ 'a "ü" [.txt': "aa", "s/b": "b" });
  server.pages.set("/d/s/b", { body: "c", validator: "date", modified: new Date(0) });
  expect((await failure(readAll(opened.source, listed.file("s/b")))).code).toBe("changed");
});

test("notices by date and size that a file was replaced between listing and reading", async () => {
  const server = await site({
    "/d/": html("Index of /d/", `<pre><a href="a">a</a> 03-Feb-2025 04:05 2</pre>`),
    "/d/a": { body: "aa" },
  });
  const opened = await open(`${server.origin}/d/`);
  const entry = (await listAll(opened.source)).file("a");
  expect(String(await readAll(opened.source, entry))).toBe("aa");
  server.pages.set("/d/a", { body: "bbb" });
  expect((await failure(readAll(opened.source, entry))).code).toBe("changed");
  server.pages.set("/d/a", { body: "bb", modified: new Date("2025-02-03T04:07:00Z") });
  expect((await failure(readAll(opened.source, entry))).code).toBe("changed");
});

const oneFileAt = (date: string) => (_: unknown, response: ServerResponse) => {
  response.setHeader("date", date).setHeader("content-type", "text/html");
  response.end(html("Index of /", `<pre><a href="a">a</a> 03-Feb-2025 04:05 2</pre>`).body);
};

test("looks once more at what was written in the very minute of the listing", async () => {
  const server = await site({ "/": oneFileAt("Mon, 03 Feb 2025 04:05:59 GMT") });
  const opened = await open(`${server.origin}/`);
  const during = (await listAll(opened.source)).file("a").fingerprint;
  server.pages.set("/", oneFileAt("Mon, 03 Feb 2025 04:08:00 GMT"));
  const after = (await listAll(opened.source)).file("a").fingerprint;
  expect(after).not.toBe(during);
  expect((await listAll(opened.source)).file("a").fingerprint).toBe(after);
});

test.each([
  ["slash in a name", `<a href="a%2fb">x</a>`],
  ["not UTF-8", `<a href="%ff">x</a>`],
])("refuses an index with a name that is none: %s", async (_, body) => {
  const server = await site({ "/d/": html("Index of /d/", body) });
  const opened = await open(`${server.origin}/d/`);
  expect((await failure(listAll(opened.source))).code).toBe("invalid");
});

test.each([
  [
    "a landing page",
    { type: "text/html", body: "<html><title>Welcome</title><a href='x'>x</a></html>" },
    "unsupported",
  ],
  [
    "an endless page",
    { type: "text/html", body: `<html>${"<a href='x'>x</a> ".repeat(50_000)}` },
    "unsupported",
  ],
  ["plain text", { type: "text/plain", body: "hello" }, "unsupported"],
  [
    "half an index",
    {
      type: "text/html",
      body: "<html><title>Index of /</title><a href='a'>a</a> 03-Feb-2025 04:05 1",
    },
    "invalid",
  ],
  [
    "half a JSON index",
    { type: "application/json", body: '[{"name":"a","type":"directory"}' },
    "invalid",
  ],
  ["other JSON", { type: "application/json", body: '{"error":"no"}' }, "invalid"],
  [
    "JSON with a path",
    { type: "application/json", body: '[{"name":"../a","type":"directory"}]' },
    "invalid",
  ],
])("is not taken for an empty directory: %s", async (_, page, code) => {
  const server = await site({ "/d/": page });
  const opened = await open(`${server.origin}/d/`);
  expect((await failure(listAll(opened.source))).code).toBe(code);
});

test("an index below that fails makes the whole listing fail", async () => {
  const server = await site({
    "/d/": html("Index of /d/", `<a href="a/">a/</a> <a href="b/">b/</a>`),
    "/d/a/": html("Index of /d/a/", ""),
    "/d/b/": (_, response) => response.writeHead(500).end(),
  });
  const opened = await open(`${server.origin}/d/`);
  expect((await failure(listAll(opened.source))).code).toBe("unavailable");
});

test("does not go round in circles", async () => {
  const server = await site();
  server.pages.get = () => html("Index of /", `<a href="again/">again/</a>`);
  const opened = await open(`${server.origin}/d/`, { manifest: "none" });
  const error = await failure(listAll(opened.source));
  expect(error.code).toBe("invalid");
  expect(error.message).toContain("deeper than");
});

test("takes a subdirectory as the root", async () => {
  const sums = `${sha("a")}  x/a\n${sha("b")}  x/y/b\n${sha("c")}  xy/c\n`;
  const server = await site({
    "/m/SHA256SUMS": { body: sums },
    "/m/x/a": { body: "a" },
    "/m/x/y/b": { body: "b" },
    "/d/sub/": NGINX_ROUNDED,
    "/d/sub/b.txt": { body: "b" },
  });
  expect(await tree(await open(`${server.origin}/m/`, { path: "x" }))).toEqual({
    a: "a",
    "y/b": "b",
  });
  expect(await tree(await open(`${server.origin}/d/`, { path: "sub" }))).toEqual({ "b.txt": "b" });
});

test("reads SHA256SUMS in all its forms", async () => {
  const server = await site({
    "/d/SHA256SUMS": {
      body: [
        "# made by hand",
        `${sha("1")}  plain`,
        `${sha("2")} *binary`,
        `${sha("3").toUpperCase()}  ./dot/ünï cödé `,
        `\\${sha("4")}  new\\nline\\\\back`,
        `SHA256 (bsd (1)) = ${sha("5")}`,
        `${sha("")}  SHA256SUMS`,
        "",
      ].join("\r\n"),
    },
    "/d/plain": { body: "1" },
    "/d/binary": { body: "2" },
    "/d/dot/%C3%BCn%C3%AF%20c%C3%B6d%C3%A9%20": { body: "3" },
    "/d/new%0Aline%5Cback": { body: "4" },
    "/d/bsd%20(1)": { body: "5" },
  });
  const opened = await open(`${server.origin}/d/`);
  expect(await tree(opened)).toEqual({
    plain: "1",
    binary: "2",
    "dot/ünï cödé ": "3",
    "new\nline\\back": "4",
    "bsd (1)": "5",
  });
  const listed = await listAll(opened.source);
  expect(listed.file("plain")).toMatchObject({
    digest: { algorithm: "sha256", value: sha("1") },
    fingerprint: `sha256:${sha("1")}`,
  });
  expect(opened.source.contentAddressed).toBe(true);
});

test("reads a JSON manifest, however it is cut into pieces", async () => {
  const files = [
    { path: "a", size: 1, sha256: sha("a"), mtime: "2025-02-03T04:05:06.500Z", mode: "0755" },
    { path: 'b/{"]\\ü', size: 1, sha256: sha("b").toUpperCase() },
  ];
  const text = Buffer.from(JSON.stringify({ files }, undefined, 1));
  const server = await site({
    "/d/pannier-manifest.json": async (_, response) => {
      for (const byte of text) {
        response.write(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      response.end();
    },
    "/d/a": { body: "a" },
    "/d/b/%7B%22%5D%5C%C3%BC": { body: "b" },
  });
  const opened = await open(`${server.origin}/d/`);
  expect(await tree(opened)).toEqual({ a: "a", 'b/{"]\\ü': "b" });
  expect((await listAll(opened.source)).file("a")).toMatchObject({
    size: 1,
    mode: 0o755,
    mtime: Date.parse("2025-02-03T04:05:06.500Z"),
  });
});

const GOOD = { path: "a", size: 1, sha256: sha("a") };
test.each([
  ["no object", '{"files":[1]}'],
  ["other members", `{"files":[${JSON.stringify({ ...GOOD, sha1: "x" })}]}`],
  ["no digest", `{"files":[${JSON.stringify({ ...GOOD, sha256: "x" })}]}`],
  ["no size", `{"files":[${JSON.stringify({ ...GOOD, size: -1 })}]}`],
  ["wrong mode", `{"files":[${JSON.stringify({ ...GOOD, mode: 493 << 9 })}]}`],
  ["wrong time", `{"files":[${JSON.stringify({ ...GOOD, mtime: "yesterday" })}]}`],
  ["climbing", `{"files":[${JSON.stringify({ ...GOOD, path: "a/../../b" })}]}`],
  ["absolute", `{"files":[${JSON.stringify({ ...GOOD, path: "/etc/passwd" })}]}`],
  ["cut short", `{"files":[${JSON.stringify(GOOD)}`],
  ["nothing", ""],
  ["something after it", `{"files":[${JSON.stringify(GOOD)}]} more`],
])("refuses a JSON manifest as a whole: %s", async (_, body) => {
  const server = await site({ "/d/m.json": { body } });
  const opened = await open(`${server.origin}/d/`, { manifest: "m.json" });
  expect((await failure(listAll(opened.source))).code).toBe("invalid");
});

test.each([
  ["climbing", `${sha("a")}  ../a`],
  ["absolute", `${sha("a")}  /etc/passwd`],
  ["another digest", `${"0".repeat(40)}  a`],
  ["no digest", "hello"],
  ["a long line", "x".repeat(100_000)],
])("refuses SHA256SUMS as a whole: %s", async (_, line) => {
  const server = await site({ "/d/SHA256SUMS": { body: `${sha("a")}  fine\n${line}\n` } });
  const opened = await open(`${server.origin}/d/`);
  expect((await failure(listAll(opened.source))).code).toBe("invalid");
});

test("an unchanged poll of a manifest costs one request answered 304", async () => {
  const server = await site({ "/d/SHA256SUMS": { body: `${sha("a")}  a\n` } });
  const opened = await open(`${server.origin}/d/`);
  expect(await opened.source.probe(never)).toBeUndefined();
  const token = (await listAll(opened.source)).listing.token?.();
  server.log.length = 0;
  expect(await opened.source.probe(never, token)).toEqual({ token });
  expect(server.log).toEqual(["GET /d/SHA256SUMS 304"]);
  server.pages.set("/d/SHA256SUMS", { body: `${sha("b")}  a\n` });
  expect((await opened.source.probe(never, token))?.token).not.toBe(token);
  server.pages.delete("/d/SHA256SUMS");
  expect(await opened.source.probe(never, token)).toBeUndefined();

  const explicit = await open(`${server.origin}/d/`, { manifest: "SHA256SUMS" });
  expect((await failure(explicit.source.probe(never, token))).code).toBe("not-found");
});

test("checks the manifest's own checksum", async () => {
  const sums = `${sha("a")}  a\n`;
  const server = await site({
    "/d/SHA256SUMS": { body: sums },
    "/d/SHA256SUMS.sha256": { body: `${sha(sums)}  SHA256SUMS\n` },
    "/e/": NGINX_ROUNDED,
  });
  const url = `${server.origin}/d/`;
  for (const checksum of [`sha256:${sha(sums)}`, "SHA256SUMS.sha256"]) {
    expect((await listAll((await open(url, { checksum })).source)).paths).toEqual(["a"]);
  }
  const wrong = await open(url, { checksum: `sha256:${sha("x")}` });
  expect((await failure(listAll(wrong.source))).code).toBe("invalid");
  const none = await open(`${server.origin}/e/`, { checksum: `sha256:${sha("x")}` });
  expect((await failure(listAll(none.source))).code).toBe("unsupported");
});

test("a page that answers every URL is no manifest", async () => {
  const server = await site();
  server.pages.get = (path) =>
    path === "/d/" ? html("Index of /d/", "") : html("Oops, but with status 200", "");
  const opened = await open(`${server.origin}/d/`);
  expect((await listAll(opened.source)).paths).toEqual([]);
});

test("a directory's own query goes with every request", async () => {
  const server = await site({
    "/d/SHA256SUMS": { body: `${sha("a")}  s/a\n` },
    "/d/s/a": { body: "a" },
  });
  const opened = await open(`${server.origin}/d/?sig=x%2By&manifest=SHA256SUMS`);
  expect(await tree(opened)).toEqual({ "s/a": "a" });
  expect(server.log).toEqual(["GET /d/SHA256SUMS?sig=x%2By 200", "GET /d/s/a?sig=x%2By 200"]);
});

test("a directory that is not there is not found", async () => {
  const opened = await open(`${(await site()).origin}/none/`);
  expect((await failure(listAll(opened.source))).code).toBe("not-found");
});

test("names the file that fails, and not the directory itself", async () => {
  const server = await site({
    "/d/": html("Index of /d/", `<pre><a href="s/">s/</a> -\n<a href="a">a</a></pre>`),
  });
  const opened = await open(`${server.origin}/d/`);
  const error = await failure(listAll(opened.source));
  expect(error.message).toMatch(/^(a|s\/): the server answered 404 Not Found$/);
  server.pages.clear();
  expect((await failure(listAll(opened.source))).message).toBe("the server answered 404 Not Found");
  const signed = await open(`${server.origin}/d/x.tgz?checksum=../SUMS`);
  expect((await failure(listAll(signed.source))).message).toBe(
    "/SUMS: the server answered 404 Not Found",
  );
});
