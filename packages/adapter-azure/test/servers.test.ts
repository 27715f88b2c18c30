/** Servers that speak the API in their own way, and some that mean harm. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { filterScope, makeFilter } from "@pannier/core";
import { expect, onTestFinished, test } from "vitest";
import { azure } from "../src/index.ts";

const OLD = new Date(Date.now() - 3_600_000);
const { signal } = new AbortController();

type Answer = (response: ServerResponse, count: number, request: IncomingMessage) => void;

async function open(answer: Answer, options: Parameters<typeof azure>[1] = {}) {
  let count = 0;
  const server = createServer((request, response) => {
    response.on("error", () => {});
    answer(response, count++, request);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const endpoint = `http://127.0.0.1:${port}/account`;
  const opened = await openSource(
    azure("az://account/box/", { endpoint, anonymous: true, ...options }),
  );
  onTestFinished(async () => {
    await opened.close();
    server.closeAllConnections();
    server.close();
  });
  return { ...opened, port };
}

interface Listed {
  readonly etag?: string | undefined;
  readonly modified?: Date | undefined;
  readonly size?: number | string;
}

function blob(name: string, { etag = "0x1", modified = OLD, size = 6 }: Listed = {}): string {
  return `<Blob><Name>${name}</Name><Properties><Last-Modified>${modified.toUTCString()}</Last-Modified><Etag>${etag}</Etag><Content-Length>${size}</Content-Length><BlobType>BlockBlob</BlobType></Properties></Blob>`;
}

function page(blobs: readonly string[], next = ""): string {
  return `<?xml version="1.0"?><EnumerationResults><Blobs>${blobs.join("")}</Blobs><NextMarker>${next}</NextMarker></EnumerationResults>`;
}

interface Served {
  listed: string;
  served: string | undefined;
  modified: Date;
  body: string;
  failing?: boolean;
}

function serving(object: Served): Answer {
  return (response, _, request) => {
    const { listed: etag, served, modified, body, failing = false } = object;
    if (request.url?.includes("comp=list")) {
      response.end(page([blob("a", { etag, modified, size: body.length })]));
    } else if (failing && request.headers["if-match"] !== undefined) response.writeHead(412).end();
    else {
      const tagged = served === undefined ? {} : { etag: served };
      response.writeHead(200, {
        ...tagged,
        "last-modified": modified.toUTCString(),
        "content-length": body.length,
      });
      response.end(request.method === "HEAD" ? undefined : body);
    }
  };
}

test.each<[string, Partial<Served>]>([
  ["quoted with the content only", { listed: "0x1", served: '"0x1"' }],
  ["quoted in both", { listed: '"0x1"', served: '"0x1"' }],
  ["made weak on the way", { listed: "0x1", served: 'W/"0x1"' }],
  ["empty", { listed: "", served: undefined }],
  ["there with the content only", { listed: "", served: '"0x1"' }],
  ["there in the listing only", { listed: "0x1", served: undefined }],
  ["another than that of the content", { listed: "0x1", served: '"0x2"' }],
  [
    "another, and compared with that of the content",
    { listed: "0x1", served: '"0x2"', failing: true },
  ],
])("an ETag that is %s: what is listed is read, and a change is seen", async (_, given) => {
  const object: Served = { listed: "", served: "", modified: OLD, body: "hello\n", ...given };
  const { source } = await open(serving(object));
  const before = (await listAll(source)).file("a");
  expect((await listAll(source)).file("a").fingerprint).toBe(before.fingerprint);
  expect(String(await readAll(source, before))).toBe("hello\n");

  object.modified = new Date(OLD.getTime() + 5000);
  object.body = "HELLO\n";
  object.listed = object.listed.replace("0x", "0x9");
  object.served = object.served?.replace("0x", "0x9");
  await expect(readAll(source, before)).rejects.toMatchObject({ code: "changed" });
  const after = (await listAll(source)).file("a");
  expect(after.fingerprint).not.toBe(before.fingerprint);
  expect(String(await readAll(source, after))).toBe("HELLO\n");
});

test("a marker without an ETag tells a change by its date", async () => {
  const object: Served = { listed: "", served: undefined, modified: OLD, body: "one" };
  const { source } = await open(serving(object), { marker: "a" });
  const first = await source.probe(signal);
  expect(await source.probe(signal)).toEqual(first);
  object.modified = new Date(OLD.getTime() + 5000);
  expect(await source.probe(signal)).not.toEqual(first);
});

test.each<[string, (count: number) => string, RegExp]>([
  ["pages that are empty, for ever", (n) => page([], `t${n}`), /page after page/],
  ["two markers in turn", (n) => page([], `t${n % 2}`), /page after page/],
  ["one marker", () => page([], "t"), /goes on where it was/],
  ["one page in turn", (n) => page([blob("a")], `t${n}`), /lists "a" twice/],
  ["a name twice", () => page([blob("a"), blob("a")]), /lists "a" twice/],
  ["names out of order", () => page([blob("b"), blob("a")]), /"a" after "b"/],
])("a listing that gets no further is the server's fault: %s", async (_, answer, words) => {
  const { source, port } = await open((response, count) => response.end(answer(count)));
  await expect(listAll(source)).rejects.toMatchObject({
    code: "invalid",
    transient: false,
    message: expect.stringMatching(words),
  });
  await expect(listAll(source)).rejects.toThrow(`127.0.0.1:${port}`);
});

test("a name that is not UTF-8 is judged only where it is wanted", async () => {
  const odd = blob("a/%EF%BF%BE%FF").replace("<Name>", '<Name Encoded="true">');
  const { source } = await open((response) => response.end(page([odd, odd, blob("b")])));
  await expect(listAll(source)).rejects.toMatchObject({
    code: "invalid",
    message: 'the server lists a name that is not UTF-8: "a/%EF%BF%BE%FF"',
  });
  const scope = filterScope(makeFilter([], ["/a/"]));
  expect((await listAll(source, signal, scope)).paths).toEqual(["b"]);
});

/** Sends without end, as fast as it is read. */
function pour(response: ServerResponse, piece: string): void {
  const more = () => {
    while (!response.destroyed && response.write(piece));
    if (!response.destroyed) response.once("drain", more);
  };
  more();
}

const START = "<EnumerationResults><Blobs>";

test.each<[string, (response: ServerResponse) => void]>([
  ["a page without end", (response) => pour(response, START + blob("a").repeat(1000))],
  ["elements within elements", (response) => pour(response, START + "<a>".repeat(10_000))],
  [
    "entities that grow",
    (response) => response.end(`<!DOCTYPE x [<!ENTITY a "aaaa">]>${page([blob("&a;")]).slice(21)}`),
  ],
  ["a negative size", (response) => response.end(page([blob("a", { size: -1 })]))],
  ["a size that no number holds", (response) => response.end(page([blob("a", { size: 1e300 })]))],
  ["no name", (response) => response.end(page([blob("")]))],
  ["an error in place of a page", (response) => response.end("<Error><Code>X</Code></Error>")],
  ["a page of HTML", (response) => response.end("<html>sign in</html>")],
  ["a page that was cut", (response) => response.end(page([blob("a")]).slice(0, -30))],
  ["nothing", (response) => response.end()],
])("in place of a listing %s is refused", async (_, answer) => {
  const { source } = await open(answer);
  await expect(listAll(source)).rejects.toMatchObject({ code: "invalid", transient: false });
});
