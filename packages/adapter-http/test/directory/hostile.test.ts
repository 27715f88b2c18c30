/** Servers of indexes that mean harm, or are broken: an end soon, in little memory, with the right error. */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { gzipSync } from "node:zlib";
import { listAll } from "@pannier/adapter-kit";
import type { SourceError } from "@pannier/core/adapter";
import { expect, test } from "vitest";
import { failure, never, open, site, tree } from "../open.ts";

const HEAD = "<html><head><title>Index of /</title></head><body>";
const row = (name: string) => `<a href="${name}">x</a>  03-Feb-2025 04:05  1\n`;
const index = (body: string) => ({ type: "text/html", body: `${HEAD}${body}</body></html>` });

/** Sends pieces for as long as they are taken. */
async function forever(
  response: ServerResponse,
  type: string,
  start: string,
  piece: (count: number) => string,
): Promise<void> {
  const closed = once(response, "close");
  response.setHeader("content-type", type);
  response.write(start);
  for (let count = 0; !response.destroyed; count++) {
    if (!response.write(piece(count))) await Promise.race([once(response, "drain"), closed]);
  }
}

/** Follows a listing to its bitter end. @returns why it ended, and the MiB by which the process grew meanwhile */
async function follow(url: string): Promise<{ error: SourceError; grown: number }> {
  const opened = await open(url, { manifest: "none" });
  const before = process.memoryUsage.rss();
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 20);
  try {
    const { entries } = await opened.source.list(never);
    const error = await failure(
      (async () => {
        for await (const _ of entries);
      })(),
    );
    return { error, grown: (most - before) / 2 ** 20 };
  } finally {
    clearInterval(watch);
  }
}

const zipped =
  (text: string, type: string, length = false) =>
  (request: IncomingMessage, response: ServerResponse) => {
    const body = gzipSync(text);
    response.setHeader("content-type", type).setHeader("content-encoding", "gzip");
    response.setHeader("etag", 'W/"1"');
    if (length) response.setHeader("content-length", body.length);
    response.write(request.method === "HEAD" ? "" : body);
    response.end();
  };

const many = (make: (index: number) => string) => (count: number) =>
  Array.from({ length: 500 }, (_, n) => make(count * 500 + n)).join("");

test.each([
  ["text", "text/html", HEAD, () => "x".repeat(16_384)],
  ["one tag", "text/html", `${HEAD}<a href="`, () => "x".repeat(16_384)],
  ["a comment", "text/html", `${HEAD}<!--`, () => "x".repeat(16_384)],
  ["links to itself", "text/html", HEAD, many(() => '<a href="?C=N;O=D">x</a>')],
  ["one directory", "text/html", HEAD, many(() => '<a href="a/">x</a>')],
  ["directories", "text/html", HEAD, many((n) => `<a href="d${n}/">x</a>`)],
  ["links further down", "text/html", HEAD, many((n) => `<a href="a/${n}">x</a>`)],
  ["a title", "text/html", "<html><title>Index of ", () => "x".repeat(16_384)],
  ["one name in JSON", "application/json", '[{"name":"', () => "x".repeat(16_384)],
  ["blanks in JSON", "application/json", "[", () => " ".repeat(16_384)],
  [
    "directories in JSON",
    "application/json",
    "[",
    many((n) => `{"name":"d${n}","type":"directory"},`),
  ],
])(
  "a page without end: %s",
  async (_, type, start, piece) => {
    const server = await site({
      "/": (__, response) => void forever(response, type, start, piece),
    });
    const { error, grown } = await follow(`${server.origin}/`);
    expect(error.code).toMatch(/^(invalid|unsupported)$/);
    expect(grown).toBeLessThan(250);
  },
  60_000,
);

test("directories without end, and without a file", async () => {
  const server = await site();
  const dirs = Array.from({ length: 50 }, (_, n) => `<a href="d${n}/">x</a>`).join("");
  // Not so deep that this would end it.
  server.pages.get = (path) => index(path.split("/").length < 40 ? dirs : "");
  const { error, grown } = await follow(`${server.origin}/`);
  expect(error.message).toContain("without a file");
  expect(grown).toBeLessThan(250);
});

test("100,000 links on a page", async () => {
  const links = Array.from({ length: 100_000 }, (_, n) => row(`f${n}`)).join("");
  const server = await site({ "/": index(links) });
  const opened = await open(`${server.origin}/`, { manifest: "none" });
  expect((await listAll(opened.source)).paths.length).toBe(100_000);
});

test("a page that unpacks to very much more", async () => {
  const bomb = gzipSync(`${HEAD}${" ".repeat(100_000_000)}`);
  const server = await site({
    "/": (_, response) =>
      response
        .setHeader("content-type", "text/html")
        .setHeader("content-encoding", "gzip")
        .end(bomb),
  });
  const { error, grown } = await follow(`${server.origin}/`);
  expect(error.code).toBe("unsupported");
  expect(grown).toBeLessThan(150);
});

test.each([
  ["longer than it is", 10, "unavailable"],
  ["shorter than it is", -20, "invalid"],
])("a page that is said to be %s", async (_, more, code) => {
  const { body } = index(row("a"));
  const server = await site({
    "/": (__, response) => {
      response.setHeader("content-type", "text/html");
      response.setHeader("content-length", body.length + more);
      response.write(more < 0 ? body.slice(0, more) : body);
      response.socket?.end();
    },
  });
  expect((await follow(`${server.origin}/`)).error.code).toBe(code);
});

test("what is compressed although that was not asked for", async () => {
  const server = await site({
    "/": zipped(
      `${HEAD}<a href="page.html">x</a><a href="data.json.gz">x</a><a href="stored">x</a></html>`,
      "text/html",
    ),
    "/page.html": zipped("<p>hello</p>", "text/html"),
    "/data.json.gz": zipped("{}", "application/gzip"),
    "/stored": zipped("kept", "text/plain", true),
  });
  const found = await tree(await open(`${server.origin}/`, { manifest: "none" }));
  expect(found["page.html"]).toBe("<p>hello</p>");
  // As they are stored: compressed.
  expect(found["data.json.gz"]).toBe(String(gzipSync("{}")));
  expect(found["stored"]).toBe(String(gzipSync("kept")));
});

test("a coding that is not known here", async () => {
  const server = await site({
    "/": (_, response) =>
      response
        .setHeader("content-type", "text/html")
        .setHeader("content-encoding", "exi")
        .end(`${HEAD}</html>`),
  });
  const { error } = await follow(`${server.origin}/`);
  expect(error).toMatchObject({ code: "unsupported", message: expect.stringContaining("exi") });
});
