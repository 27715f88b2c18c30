/** Servers that speak the API in their own way, and some that mean harm. */
import type { ServerResponse } from "node:http";
import { listAll } from "@pannier/adapter-kit";
import { filterScope, makeFilter } from "@pannier/core";
import { expect, test } from "vitest";
import {
  type Answer,
  type OddObject,
  OLD,
  openAnswering,
  pour,
  sendObject,
  testEndlessListings,
  testETags,
} from "../../../test/support/odd-stores.ts";
import { azure } from "../src/index.ts";

const { signal } = new AbortController();

const open = (answer: Answer, options: Parameters<typeof azure>[1] = {}) =>
  openAnswering(answer, (at) =>
    azure("az://account/box/", { endpoint: `${at}/account`, anonymous: true, ...options }),
  );

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

function serving(object: OddObject): Answer {
  return (response, { method, headers }, { searchParams }) => {
    const { listed: etag, modified, body, condition } = object;
    if (searchParams.get("comp") === "list") {
      response.end(page([blob("a", { etag, modified, size: body.length })]));
    } else if (condition !== undefined && headers["if-match"] !== undefined) {
      response.writeHead(condition).end();
    } else sendObject(response, object, method);
  };
}

testETags(
  [
    ["quoted with the content only", { listed: "0x1", served: '"0x1"' }],
    ["quoted in both", { listed: '"0x1"', served: '"0x1"' }],
    ["made weak on the way", { listed: "0x1", served: 'W/"0x1"' }],
    ["empty", { listed: "", served: undefined }],
    ["there with the content only", { listed: "", served: '"0x1"' }],
    ["there in the listing only", { listed: "0x1", served: undefined }],
    ["another than that of the content", { listed: "0x1", served: '"0x2"' }],
    [
      "another, and compared with that of the content",
      { listed: "0x1", served: '"0x2"', condition: 412 },
    ],
  ],
  (object, options) => open(serving(object), options),
  (etag) => etag.replace("0x", "0x9"),
);

testEndlessListings(
  (answer) => open((response, _, __, count) => response.end(answer(count))),
  (names, token) =>
    page(
      names.map((name) => blob(name)),
      token,
    ),
);

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
