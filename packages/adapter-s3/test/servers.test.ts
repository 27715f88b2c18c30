/** Servers that speak S3 in their own way, and some that mean harm. */
import type { ServerResponse } from "node:http";
import { listAll, readAll } from "@pannier/adapter-kit";
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
import { s3 } from "../src/index.ts";

const { signal } = new AbortController();

const open = (answer: Answer, options: Parameters<typeof s3>[1] = {}) =>
  openAnswering(answer, (endpoint) =>
    s3("s3://bkt/", { endpoint, anonymous: true, region: "x", ...options }),
  );

interface Stored {
  readonly key: string;
  /** As it stands in the listing; `undefined`: no element at all. */
  readonly etag?: string | undefined;
  readonly modified?: Date | undefined;
  readonly size?: number | string | undefined;
}

function contents({ key, etag, modified = OLD, size = 6 }: Stored): string {
  const tag = etag === undefined ? "" : `<ETag>${etag}</ETag>`;
  return `<Contents><Key>${key}</Key><LastModified>${modified.toISOString()}</LastModified>${tag}<Size>${size}</Size></Contents>`;
}

function page(items: readonly Stored[], more = "<IsTruncated>false</IsTruncated>"): string {
  return `<?xml version="1.0"?><ListBucketResult>${more}${items.map(contents).join("")}</ListBucketResult>`;
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status).end(`<Error><Code>${code}</Code></Error>`);
}

function serving(object: OddObject): Answer {
  return (response, { method, headers }, { pathname }) => {
    const { listed, modified, body, condition } = object;
    if (pathname === "/bkt") {
      response.end(page([{ key: "a", etag: listed, modified, size: body.length }]));
    } else if (condition !== undefined && headers["if-match"] !== undefined) {
      refuse(response, condition, condition === 412 ? "PreconditionFailed" : "NotImplemented");
    } else sendObject(response, object, method);
  };
}

testETags(
  [
    ["the same, escaped", { listed: "&quot;x&quot;", served: '"x"' }],
    ["the same, without quotes", { listed: "x", served: '"x"' }],
    ["the same, and weak", { listed: '"x"', served: 'W/"x"' }],
    ["the same, with a coding", { listed: '"x"', served: '"x-gzip"' }],
    ["an empty one", { listed: "&quot;&quot;", served: '""' }],
    ["an empty element", { listed: "", served: undefined }],
    ["none at all", { listed: undefined, served: undefined }],
    ["none in the listing", { listed: undefined, served: '"x"' }],
    ["none with the content", { listed: '"x"', served: undefined }],
    ["another with the content", { listed: '"x-1"', served: '"x"' }],
    ["another, and conditions that fail", { listed: '"x-1"', served: '"x"', condition: 412 }],
    ["the same, and conditions that fail", { listed: '"x"', served: '"x"', condition: 412 }],
    [
      "the same, and conditions that are not known",
      { listed: '"x"', served: '"x"', condition: 501 },
    ],
  ],
  (object, options) => open(serving(object), options),
  () => '"y"',
);

test("without an ETag, what was changed just now is read once more by the next listing", async () => {
  const modified = new Date();
  const object: OddObject = { listed: "", served: "", modified, body: "one" };
  const { source } = await open(serving(object));
  const before = (await listAll(source)).file("a");
  expect(String(await readAll(source, before))).toBe("one");
  // Within the same second, and of the same size. The listing after that is later.
  object.body = "two";
  object.modified = modified;
  const later = new Date(modified.getTime() + 5000);
  const { source: next } = await open((response, ...more) => {
    response.setHeader("date", later.toUTCString());
    serving(object)(response, ...more);
  });
  expect((await listAll(next)).file("a").fingerprint).not.toBe(before.fingerprint);
});

test("another ETag under the same date is a change where it may be one", async () => {
  const modified = new Date();
  const { source } = await open(serving({ listed: '"x"', served: '"y"', modified, body: "one" }));
  const entry = (await listAll(source)).file("a");
  await expect(readAll(source, entry)).rejects.toMatchObject({ code: "changed" });
});

const KEYS = Array.from({ length: 25 }, (_, i) => `k/${String(i).padStart(3, "0")}`);

/** Pages of ten as they were before there were tokens. */
function listOld(response: ServerResponse, url: URL, next = false): void {
  const { searchParams: query } = url;
  const from = query.get("marker") ?? "";
  const prefix = query.get("prefix") ?? "";
  const left = KEYS.filter((key) => key > from && key.startsWith(prefix));
  const items = left.slice(0, 10).map((key) => ({ key, etag: '"x"' }));
  const more = left.length > 10;
  const marker = next && more ? `<NextMarker>${items.at(-1)?.key}</NextMarker>` : "";
  response.end(page(items, `<Marker>${from}</Marker>${marker}<IsTruncated>${more}</IsTruncated>`));
}

test.each<[string, Answer]>([
  ["that takes no notice of the newer kind", (response, _, url) => listOld(response, url)],
  ["that tells where it goes on", (response, _, url) => listOld(response, url, true)],
  [
    "that refuses the newer kind",
    (response, _, url) => {
      if (url.searchParams.has("list-type")) refuse(response, 501, "NotImplemented");
      else listOld(response, url);
    },
  ],
  [
    "that calls the newer kind invalid",
    (response, _, url) => {
      if (url.searchParams.has("list-type")) refuse(response, 400, "InvalidArgument");
      else listOld(response, url);
    },
  ],
])("a server of the first kind of listings, %s", async (_, answer) => {
  const { source } = await open(answer);
  expect((await listAll(source)).paths).toEqual(KEYS);
  expect((await listAll(source)).paths).toEqual(KEYS);
});

test("a page that goes on and does not tell where is no end", async () => {
  const { source } = await open((response) =>
    response.end(page([], "<IsTruncated>true</IsTruncated>")),
  );
  await expect(listAll(source)).rejects.toMatchObject({ code: "invalid" });
});

const STRANGE = ["100% sure.txt", "a b.txt", "a%20b", "c++.txt", "é"];
const written = (key: string) => encodeURIComponent(key).replaceAll("%20", "+");

test.each([
  ["told and done", true, true],
  ["neither told nor done", false, false],
  ["told and not done", true, false],
  ["done and not told", false, true],
])("keys that are escaped: %s", async (_, told, done) => {
  for (const keys of [STRANGE, ["c++.txt"], ["a%20b"], ["a b"], ["100%"], ["plain"]]) {
    const heads: string[] = [];
    const { source } = await open((response, request, url) => {
      if (url.pathname === "/bkt") {
        const type = told ? "<EncodingType>url</EncodingType>" : "";
        const items = keys.map((key) => ({ key: done ? written(key) : key, etag: '"x"' }));
        response.end(page(items, `${type}<IsTruncated>false</IsTruncated>`));
        return;
      }
      const key = decodeURIComponent(url.pathname.slice("/bkt/".length));
      if (request.method === "HEAD") heads.push(key);
      if (!keys.includes(key)) refuse(response, 404, "NoSuchKey");
      else response.writeHead(200, { etag: '"x"', "content-length": 6 }).end("hello\n");
    });
    const listed = await listAll(source);
    expect(listed.paths).toEqual(keys);
    for (const key of keys) expect(String(await readAll(source, listed.file(key)))).toBe("hello\n");
    // Asked only where nothing else tells, and once.
    expect(heads.length).toBeLessThanOrEqual(2);
    await listAll(source);
    expect(heads.length).toBeLessThanOrEqual(2);
  }
});

/** In the order of bytes: what is not UTF-8 comes behind every character. */
const ESCAPED = ["b%F0%9F%98%80", "b%FE", "b%FF", "c%2B", "d/%FF/e", "z"];
const READABLE = ["b\u{1F600}", "c+", "z"];

/** A server that escapes keys, four a page, in any of its kinds of listing. */
function listEscaped(
  response: ServerResponse,
  { pathname, searchParams: query, search }: URL,
  kind: string,
) {
  if (pathname !== "/bkt") {
    const isThere = ESCAPED.includes(pathname.slice("/bkt/".length));
    return isThere ? void response.end() : refuse(response, 404, "NoSuchKey");
  }
  if (kind === "first" && query.has("list-type")) return refuse(response, 501, "NotImplemented");
  const name = { first: "marker", versions: "key-marker" }[kind] ?? "continuation-token";
  // As it is sent: keys escaped once, a token as any text.
  const token = query.get("continuation-token");
  const after = token ?? new RegExp(`[?&](?:${name}|start-after)=([^&]*)`).exec(search)?.[1] ?? "";
  const left = ESCAPED.filter((key) => key > after);
  const shown = left.slice(0, 4);
  const more = left.length > 4;
  const last = more ? (shown.at(-1) ?? "") : "";
  const next =
    {
      first: "",
      versions: `<NextKeyMarker>${last}</NextKeyMarker><NextVersionIdMarker>v</NextVersionIdMarker>`,
    }[kind] ?? `<NextContinuationToken>${last}</NextContinuationToken>`;
  const head = `<EncodingType>url</EncodingType><IsTruncated>${more}</IsTruncated>${more ? next : ""}`;
  const text = page(
    shown.map((key) => ({ key, etag: '"x"' })),
    head,
  );
  response.end(
    kind === "versions"
      ? text
          .replaceAll("ListBucketResult", "ListVersionsResult")
          .replaceAll("<Contents>", "<Version><IsLatest>true</IsLatest>")
          .replaceAll("</Contents>", "</Version>")
      : text,
  );
}

test.each(["second", "first", "versions"])(
  "keys that are not UTF-8 are judged only where they are wanted, in a listing of the %s kind",
  async (kind) => {
    const { source } = await open((response, _, url) => listEscaped(response, url, kind), {
      versions: kind === "versions",
    });
    await expect(listAll(source)).rejects.toMatchObject({
      code: "invalid",
      message: 'the server lists a name that is not UTF-8: "b%FE"',
    });
    const without = (...patterns: readonly string[]) =>
      listAll(source, signal, filterScope(makeFilter([], patterns)));
    await expect(without("/b?")).rejects.toThrow('"d/%FF/e"');
    expect((await without("/b\uFFFD", "e")).paths).toEqual(READABLE);
    expect((await without("/b\uFFFD", "/d/?/")).paths).toEqual(READABLE);
  },
);

test("a listing that can only go on behind a key that is not UTF-8 says so", async () => {
  const { source } = await open((response, _, { pathname }) => {
    if (pathname !== "/bkt") return refuse(response, 404, "NoSuchKey");
    const head = "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>";
    response.end(page([{ key: "b%FF", etag: '"x"' }], head));
  });
  const scope = filterScope(makeFilter([], ["b*"]));
  await expect(listAll(source, signal, scope)).rejects.toMatchObject({
    code: "unsupported",
    message: expect.stringContaining('behind "b%FF", which is not UTF-8'),
  });
});

const refused = (words: RegExp) => ({
  code: "invalid",
  transient: false,
  message: expect.stringMatching(words),
});

test.each<[string, readonly Stored[], RegExp]>([
  ["a character that is none", [{ key: "a&#x110000;", etag: "x" }], /"&#x110000;", which is not/],
  ["an entity of its own", [{ key: "a&bomb;", etag: "x" }], /"&bomb;", which is not/],
  ["a negative size", [{ key: "a", etag: "x", size: -1 }], /has "a" without a size/],
  ["an empty size", [{ key: "a", etag: "x", size: "" }], /has "a" without a size/],
  ["a size that no number holds", [{ key: "a", etag: "x", size: 1e300 }], /without a size/],
])("a listing with %s is the server's fault", async (_, items, words) => {
  const { source } = await open((response) => response.end(page(items)));
  const error = await listAll(source).catch((reason: unknown) => reason);
  expect(error).toMatchObject(refused(words));
});

test("an object with neither ETag nor date cannot be told from a later one", async () => {
  const { source } = await open((response) =>
    response.end(page([{ key: "a" }]).replace(/<LastModified>.*<\/LastModified>/, "")),
  );
  await expect(listAll(source)).rejects.toMatchObject(refused(/"a" without an ETag or a date/));
});

function truncated(token: string): string {
  return `<IsTruncated>true</IsTruncated><NextContinuationToken>${token}</NextContinuationToken>`;
}

testEndlessListings(
  (answer) => open((response, _, __, count) => response.end(answer(count))),
  (names, token) =>
    page(
      names.map((key) => ({ key, etag: "x" })),
      token === "" ? undefined : truncated(token),
    ),
);

test("pages of what was deleted are not empty", async () => {
  let count = 0;
  const { source } = await open(
    (response) => {
      const more = ++count < 1500;
      const inside = more
        ? `<IsTruncated>true</IsTruncated><NextKeyMarker>a${count}</NextKeyMarker><DeleteMarker><Key>a</Key></DeleteMarker>`
        : "<IsTruncated>false</IsTruncated>";
      response.end(`<ListVersionsResult>${inside}</ListVersionsResult>`);
    },
    { versions: true },
  );
  expect((await listAll(source)).paths).toEqual([]);
  expect(count).toBe(1500);
});

test.each<[string, Answer]>([
  [
    "a page without end",
    (response) => pour(response, "<Contents><Key>a</Key></Contents>".repeat(1000)),
  ],
  ["elements within elements", (response) => pour(response, "<a>".repeat(10_000))],
  [
    "entities that grow",
    (response) =>
      response.end(
        `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>${page([{ key: "&b;", etag: "x" }])}`,
      ),
  ],
  [
    "an error in place of a page",
    (response) => response.end("<Error><Code>InternalError</Code></Error>"),
  ],
  ["a page of HTML", (response) => response.end("<html><body>sign in</body></html>")],
  [
    "a page that was cut",
    (response) => response.end(page([{ key: "a", etag: "x" }]).slice(0, -30)),
  ],
  ["nothing", (response) => response.end()],
])("in place of a listing %s is refused", async (_, answer) => {
  const { source } = await open(answer);
  await expect(listAll(source)).rejects.toMatchObject({ code: "invalid", transient: false });
});
