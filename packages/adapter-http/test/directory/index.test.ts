/** What index pages say, and what is made of their links. Real servers' pages are listed in test/real/http.test.ts. */
import { listAll, readAll } from "@pannier/adapter-kit";
import { describe, expect, test } from "vitest";
import { failure, open, site, tree } from "../open.ts";
import type { Page } from "../site.ts";

const page = (body: string, title = "Index of /d/"): Page => ({
  type: "text/html",
  body: `<html><head><title>${title}</title></head><body>${body}</body></html>`,
});
const json = (items: unknown): Page => ({ type: "application/json", body: JSON.stringify(items) });

const row = (name: string) => `<a href="${name}">${name}</a>  03-Feb-2025 04:05  1\n`;
const go = (rows: string): Page => ({
  type: "text/html; charset=utf-8",
  body: `<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n${rows}</pre>\n`,
});

async function listed(folder: string, pages: Record<string, Page>) {
  const server = await site(pages);
  const opened = await open(`${server.origin}${folder}`, { manifest: "none" });
  return (await listAll(opened.source)).paths.toSorted();
}

describe("a link", () => {
  test.each([
    ["absolute", "/R&D/a.txt"],
    ["absolute, encoded", "/R%26D/a.txt"],
    ["in other digits", "/%52%26%44/%61.txt"],
    ["with two slashes", "/R%26D//a.txt"],
    ["with a dot", "./a.txt"],
    ["with its own host", "ORIGIN/R%26D/a.txt"],
    ["with another scheme and host", "https://files.example.com/R&D/a.txt"],
    ["without a scheme", "//files.example.com/R&D/a.txt"],
    ["with a fragment", "a.txt#top"],
    ["with a way to show it", "a.txt?download=1"],
  ])("that is %s leads to the child", async (_, href) => {
    const server = await site({ "/R%26D/a.txt": { body: "a" }, "/R&D/a.txt": { body: "a" } });
    const link = href.replace("ORIGIN", server.origin);
    server.pages.set("/R%26D/", page(`<a href="${link}">a</a>`));
    const opened = await open(`${server.origin}/R%26D/`, { manifest: "none" });
    expect(await tree(opened)).toEqual({ "a.txt": "a" });
    // The user's own spelling is another one.
    server.pages.set("/R&D/", page(`<a href="${link}">a</a>`));
    expect(await tree(await open(`${server.origin}/R&D/`, { manifest: "none" }))).toEqual({
      "a.txt": "a",
    });
  });

  test.each([
    "",
    "#top",
    "?C=N;O=D",
    "?C=N&O=D",
    "?sort=name&order=asc",
    "/d/",
    "/d",
    "./",
    ".",
    "../",
    "/",
    "https://example.com/",
    "mailto:me@example.com",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "%2e%2e/",
  ])("that leads to no child is not one: %s", async (href) => {
    expect(
      await listed("/d/", { "/d/": page(`<a href="${href}">x</a>  03-Feb-2025 04:05  1\n`) }),
    ).toEqual([]);
  });

  test.each([
    ["a query that may name a file", "?file=a.txt"],
    ["a query that may name a version", "a.txt?v=2"],
    ["a scheme that may be a name", "notes: today"],
    ["a slash in a name", "a%2fb"],
    ["a name that is not UTF-8", "%ff"],
    ["what is not a URL", "http://["],
  ])("of which it is not known what it leads to fails the page: %s", async (_, href) => {
    const server = await site({ "/d/": page(`<a href="${href}">x</a> <a href="b">b</a>`) });
    const opened = await open(`${server.origin}/d/`);
    expect((await failure(listAll(opened.source))).code).toBe("invalid");
  });

  test.each([
    ["of which none is below", `<li><a href="/other/a.txt">a.txt</a></li>`],
    [
      "of which a row is not below",
      `<a href="b">b</a>\n<a href="/other/a.txt">a.txt</a>  03-Feb-2025 04:05  1\n`,
    ],
  ])("is not overlooked on a page %s", async (_, body) => {
    const server = await site({
      "/d/": page(`<a href="../">../</a>${body}`),
      "/d/b": { body: "" },
    });
    const error = await failure(listAll((await open(`${server.origin}/d/`)).source));
    expect(error.code).toBe("invalid");
    expect(error.message).toContain("/other/a.txt");
  });

  test("of a footer is of no interest, nor one beside the listing that leads elsewhere", async () => {
    const pages = {
      "/d/": page(
        `<a href="https://example.com/about/us">about us</a><a href="a">a</a><address><a href="https://example.com/d/b">b</a></address>`,
      ),
      "/d/a": { body: "a" },
      "/e/": page(`<footer><a href="https://example.com/about/us">x</a></footer>`),
    };
    expect(await listed("/d/", pages)).toEqual(["a"]);
    expect(await listed("/e/", pages)).toEqual([]);
  });

  test("that leads further down is a file, unless its directory is listed", async () => {
    const pages = {
      "/d/": page(
        `<a href="docs/guide">guide</a><a href="about/us">us</a><a href="gone/x">x</a><a href="docs/">docs/</a>`,
      ),
      "/d/docs/": page(`<a href="guide">guide</a>`),
      "/d/docs/guide": { body: "g" },
      "/d/about/us": { body: "u" },
    };
    expect(await listed("/d/", pages)).toEqual(["about/us", "docs/guide"]);
  });

  test("to another host is asked about where the directory is a root", async () => {
    const body = `<a href="https://example.com/org/repo">made with</a><a href="https://files.example.com/a">a</a><a href="https://files.example.com/s/">s/</a>`;
    const pages = { "/": page(body, "Index of /"), "/a": { body: "a" }, "/s/": page("") };
    expect(await listed("/", pages)).toEqual(["a"]);
  });

  test("in another case is asked about", async () => {
    const pages = {
      "/Share/": page(`<a href="/share/a.txt">a</a><a href="/share/other">b</a>`),
      "/Share/a.txt": { body: "a" },
    };
    expect(await listed("/Share/", pages)).toEqual(["a.txt"]);
  });

  test("is relative to the page's base", async () => {
    const pages = {
      "/d/": page(`<base href="/d/s/"><a href="a">a</a><a href="../b">b</a>`),
      "/d/b": { body: "b" },
      "/d/s/a": { body: "a" },
    };
    expect(await listed("/d/", pages)).toEqual(["b", "s/a"]);
  });
});

describe("the index of", () => {
  const files = {
    "/d/a%20b.txt": { body: "hello" },
    "/d/s/c": { body: "c" },
  };
  const both = ["a b.txt", "s/c"];
  const below = page(`<a href="/d/s/c">c</a>`, "Index of /d/s/");

  test("IIS", async () => {
    const rows = `<pre><A HREF="/">[To Parent Directory]</A><br><br> 1/1/2026 10:20 AM            5 <A HREF="/d/a%20b.txt">a b.txt</A><br> 1/1/2026 10:20 AM        &lt;dir&gt; <A HREF="/d/s/">s</A><br></pre><hr>`;
    const index = page(`<H1>files.example.com - /d/</H1><hr>${rows}`, "files.example.com - /d/");
    expect(await listed("/d/", { ...files, "/d/": index, "/d/s/": below })).toEqual(both);
  });

  test("Go's file server, also where it is empty", async () => {
    const index = go(`<a href="a%20b.txt">a b.txt</a>\n<a href="s/">s/</a>\n<a href="e/">e/</a>\n`);
    const pages = { ...files, "/d/": index, "/d/s/": below, "/d/e/": go("") };
    expect(await listed("/d/", pages)).toEqual(both);
    const cut = { ...pages, "/d/e/": { type: "text/html", body: "<pre>\n" } };
    await expect(listed("/d/", cut)).rejects.toMatchObject({ code: "unsupported" });
    const other = { ...pages, "/d/e/": { type: "text/html", body: "<pre>not found</pre>" } };
    await expect(listed("/d/", other)).rejects.toMatchObject({ code: "unsupported" });
  });

  test("Caddy, in JSON", async () => {
    const at = "2025-02-03T04:05:06.789Z";
    const server = await site({
      ...files,
      "/d/": (request, response) => {
        expect(request.headers.accept).toContain("application/json");
        const items = [
          { name: "a b.txt", size: 5, mod_time: at, mode: 420, is_dir: false, is_symlink: false },
          { name: "s/", size: 4096, mod_time: at, mode: 2147484141, is_dir: true },
          { name: "fifo", size: 0, mod_time: at, mode: 33554852, is_dir: false },
          { name: "gone", size: 4, mod_time: at, mode: 134218239, is_dir: false, is_symlink: true },
          { name: "link", size: 4, mod_time: at, mode: 134218239, is_dir: false, is_symlink: true },
        ];
        response.setHeader("content-type", "application/json; charset=utf-8");
        response.end(JSON.stringify(items));
      },
      "/d/s/": { type: "application/json", body: "null\n" },
      "/d/link": { body: "linked" },
    });
    const warnings: string[] = [];
    const opened = await open(
      `${server.origin}/d/`,
      { manifest: "none" },
      { warn: (text) => warnings.push(text) },
    );
    const list = await listAll(opened.source);
    expect(list.paths.toSorted()).toEqual(["a b.txt", "link"]);
    const first = list.file("a b.txt");
    expect(first).toMatchObject({ size: 5, mtime: Date.parse("2025-02-03T04:05:06Z") });
    expect(String(await readAll(opened.source, first))).toBe("hello");
    expect(warnings).toEqual([
      'left out what the server lists but does not have as a file: "fifo" and 1 more',
    ]);
  });

  test("a server that writes directories without a slash", async () => {
    const server = await site({
      ...files,
      "/d/": page(`<a href="a%20b.txt">a b.txt</a><a href="s">s</a>`),
      "/d/s": (_, response) => response.writeHead(301, { location: "/d/s/" }).end(),
      "/d/s/": below,
    });
    const opened = await open(`${server.origin}/d/`, { manifest: "none" });
    expect((await listAll(opened.source)).paths.toSorted()).toEqual(both);
  });

  test("nginx, with a name that is cut within a character", async () => {
    const body = Buffer.concat([
      Buffer.from(`<html><title>Index of /d/</title><pre><a href="%C3%BC">`),
      Buffer.from("ü").subarray(0, 1),
      Buffer.from(`..&gt;</a>  03-Feb-2025 04:05  1\n</pre></html>`),
    ]);
    expect(await listed("/d/", { "/d/": { type: "text/html", body } })).toEqual(["ü"]);
  });
});

describe("a file of which the index tells nothing", () => {
  test.each([405, 501, 403, 404, 500, 200])(
    "is asked for by GET where HEAD is answered %d",
    async (status) => {
      const server = await site({ "/d/": page(`<a href="a">a</a><a href="b">b</a>`) });
      const asked: string[] = [];
      for (const name of ["a", "b"]) {
        server.pages.set(`/d/${name}`, (request, response) => {
          asked.push(`${request.method} ${request.headers.range}`);
          if (request.method === "HEAD") return void response.writeHead(status).end();
          response.setHeader("etag", '"1"');
          response.end("hello");
        });
      }
      const opened = await open(`${server.origin}/d/`, { manifest: "none" });
      const list = await listAll(opened.source);
      expect(list.paths.toSorted()).toEqual(["a", "b"]);
      expect(list.file("a")).toMatchObject({ ref: 'etag "1"' });
      asked.length = 0;
      await listAll(opened.source);
      expect(asked).toEqual(["GET bytes=0-0", "GET bytes=0-0"]);
    },
  );

  test("and the server neither is told apart by its content", async () => {
    const server = await site({
      "/d/": page(`<a href="a">a</a>`),
      "/d/a": { body: "one", validator: "none" },
    });
    const opened = await open(`${server.origin}/d/`, { manifest: "none" });
    const entry = (await listAll(opened.source)).file("a");
    expect(String(await readAll(opened.source, entry))).toBe("one");
    server.pages.set("/d/a", { body: "two", validator: "none" });
    expect((await failure(readAll(opened.source, entry))).code).toBe("changed");
    expect((await listAll(opened.source)).file("a").fingerprint).not.toBe(entry.fingerprint);
  });

  test("has no date in its answer, though the index has one", async () => {
    const mtime = "Mon, 03 Feb 2025 04:05:06 GMT";
    const server = await site({
      "/d/": json([{ name: "a", type: "file", mtime, size: 1 }]),
      "/d/a": { body: "a", validator: "none" },
    });
    const opened = await open(`${server.origin}/d/`, { manifest: "none" });
    expect(await tree(opened)).toEqual({ a: "a" });
  });
});

describe("what the server lists and does not have", () => {
  test("is left out of the next listing, and told", async () => {
    const server = await site({
      "/d/": page(row("a") + row("gone") + row("also-gone") + `<a href="s/">s/</a>`),
      "/d/s/": page(row("b") + row("gone")),
      "/d/a": { body: "a" },
      "/d/s/b": { body: "b" },
    });
    const warnings: string[] = [];
    const { source } = await open(
      `${server.origin}/d/`,
      { manifest: "none" },
      { warn: (text) => warnings.push(text) },
    );
    const first = await listAll(source);
    const { fingerprint } = first.file("a");
    const missing = readAll(source, first.file("gone"));
    expect((await failure(missing)).code).toBe("not-found");
    const second = await listAll(source);
    expect(second.paths.toSorted()).toEqual(["a", "s/b", "s/gone"]);
    // What was asked about for its neighbours' sake is the same as before.
    expect(second.file("a").fingerprint).toBe(fingerprint);
    expect((await failure(readAll(source, second.file("s/gone")))).code).toBe("not-found");
    expect((await listAll(source)).paths.toSorted()).toEqual(["a", "s/b"]);
    server.log.length = 0;
    expect((await listAll(source)).paths.toSorted()).toEqual(["a", "s/b"]);
    // Now only these are asked about.
    expect(server.log.filter((line) => /gone/.test(line)).length).toBe(3 * 2);
    expect(server.log.some((line) => /\/a |\/b /.test(line))).toBe(false);
    expect(warnings.map((text) => text.replace(/"[^"]+"/, "NAME"))).toEqual(
      [1, 2].map(
        (more) =>
          `left out what the server lists but does not have as a file: NAME and ${more} more`,
      ),
    );
  });

  test("is an error where nothing else is left", async () => {
    const server = await site({ "/d/": page(`<a href="a">a</a><a href="b">b</a>`) });
    const opened = await open(`${server.origin}/d/`, { manifest: "none" });
    expect((await failure(listAll(opened.source))).code).toBe("not-found");
  });

  test("is known to nginx", async () => {
    const mtime = "Mon, 03 Feb 2025 04:05:06 GMT";
    const items = [
      { name: "pipe", type: "other", mtime },
      { name: "a", type: "file", mtime, size: 1 },
    ];
    expect(await listed("/d/", { "/d/": json(items) })).toEqual(["a"]);
    expect(await listed("/d/", { "/d/": json(items.slice(0, 1)) })).toEqual([]);
  });

  test("is not what may not be read", async () => {
    const server = await site({
      "/d/": page(`<a href="a">a</a><a href="secret">secret</a>`),
      "/d/a": { body: "a" },
      "/d/secret": (_, response) => response.writeHead(403).end(),
    });
    const opened = await open(`${server.origin}/d/`, { manifest: "none" });
    const error = await failure(listAll(opened.source));
    expect(error.code).toBe("auth");
    expect(error.message).toContain("secret");
  });
});

test("a bucket's XML is not taken for an index", async () => {
  const server = await site({ "/d/": { type: "application/xml", body: "<ListBucketResult/>" } });
  const opened = await open(`${server.origin}/d/`, { manifest: "none" });
  const error = await failure(listAll(opened.source));
  expect(error).toMatchObject({ code: "unsupported", hint: expect.stringContaining("s3://") });
});
