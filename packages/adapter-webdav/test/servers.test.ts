/** Servers that speak WebDAV in their own way, and some that mean harm. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { filterScope, makeFilter } from "@pannier/core";
import { expect, onTestFinished, test } from "vitest";
import { webdav } from "../src/index.ts";

const OLD = new Date(Date.now() - 3_600_000);

type Answer = (request: IncomingMessage, response: ServerResponse, path: string) => void;

async function open(answer: Answer, path = "/Share/Docs/") {
  const server = createServer((request, response) => {
    request.resume();
    response.on("error", () => {});
    answer(request, response, request.url ?? "");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const opened = await openSource(webdav(`dav://127.0.0.1:${port}${path}`));
  onTestFinished(async () => {
    await opened.close();
    server.closeAllConnections();
    server.close();
  });
  return opened;
}

interface Properties {
  readonly size?: number;
  readonly etag?: string | undefined;
  readonly modified?: Date;
}

const COLLECTION = "<d:resourcetype><d:collection/></d:resourcetype>";

function resource(href: string, properties: string): string {
  return `<d:response><d:href>${href}</d:href><d:propstat><d:prop>${properties}</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>`;
}

function file(href: string, { size = 6, etag, modified = OLD }: Properties = {}): string {
  const tag = etag === undefined ? "" : `<d:getetag>${etag}</d:getetag>`;
  return resource(
    href,
    `<d:resourcetype/><d:getcontentlength>${size}</d:getcontentlength><d:getlastmodified>${modified.toUTCString()}</d:getlastmodified>${tag}`,
  );
}

function send(answer: ServerResponse, ...responses: string[]): void {
  answer.writeHead(207, { "content-type": "application/xml" });
  answer.end(
    `<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">${responses.join("")}</d:multistatus>`,
  );
}

/** Lists one level. */
function listing(
  self: string | undefined,
  children: readonly string[],
  name = "/Share/Docs/",
): Answer {
  return (request, answer, path) => {
    if (request.method !== "PROPFIND") {
      const body = "hello\n";
      answer.writeHead(200, { "last-modified": OLD.toUTCString(), "content-length": body.length });
      answer.end(request.method === "HEAD" ? undefined : body);
    } else if (request.headers["depth"] === "infinity" || path !== name)
      answer.writeHead(403).end();
    else if (request.headers["depth"] === "0") send(answer, resource(self ?? name, COLLECTION));
    else send(answer, ...(self === undefined ? [] : [resource(self, COLLECTION)]), ...children);
  };
}

test.each<[string, string | undefined, readonly string[], readonly string[]]>([
  ["in the case that it has", "/share/docs/", ["/share/docs/a"], ["a"]],
  ["by the name of another user", "/Share/uid-1/", ["/Share/uid-1/a"], ["a"]],
  ["of another host", "http://inside:8080/Docs/", ["http://inside:8080/Docs/a"], ["a"]],
  ["with slashes too many", "//Share//Docs/", ["//Share//Docs//a"], ["a"]],
  ["without itself", undefined, ["/Share/Docs/a"], ["a"]],
  ["without the slash of a collection", "/Share/Docs", ["/Share/Docs/a"], ["a"]],
  [
    "not encoded",
    "/Share/Docs/",
    [
      "/Share/Docs/100% sure.txt",
      "/Share/Docs/C# notes.txt",
      "/Share/Docs/a b&amp;c.txt",
      "/Share/Docs/ä",
    ],
    ["100% sure.txt", "C# notes.txt", "a b&c.txt", "ä"],
  ],
])("a server that names its resources %s", async (_, self, hrefs, paths) => {
  const { source } = await open(
    listing(
      self,
      hrefs.map((href) => file(href)),
    ),
  );
  const listed = await listAll(source);
  expect(listed.paths).toEqual(paths);
  for (const path of paths)
    expect(String(await readAll(source, listed.file(path)))).toBe("hello\n");
});

test.each<[string, readonly string[]]>([
  ["is elsewhere", [file("/Share/Other/a")]],
  ["is above", [file("/Share/Docs/../a")]],
  ["has no name", [file("")]],
  ["comes twice", [file("/Share/Docs/a"), file("/Share/Docs/a")]],
  ["may be a file or a collection", [resource("/Share/Docs/a", "<d:getetag>x</d:getetag>")]],
  ["is told nothing of", ["<d:response><d:href>/Share/Docs/a</d:href></d:response>"]],
  [
    "fails",
    [
      "<d:response><d:href>/Share/Docs/a</d:href><d:status>HTTP/1.1 500 Oops</d:status></d:response>",
    ],
  ],
  [
    "has a status that is none",
    [file("/Share/Docs/a").replace("<d:propstat>", "<d:status>what</d:status><d:propstat>")],
  ],
])("a resource that %s is not left out: the listing fails", async (_, children) => {
  const { source } = await open(listing("/Share/Docs/", children));
  await expect(listAll(source)).rejects.toMatchObject({ name: "SourceError" });
});

test("properties that are not there do not hide those that are", async () => {
  const missing =
    "<d:propstat><d:prop><d:getetag/><d:getcontentlength/></d:prop><d:status>HTTP/1.1 404 Not Found</d:status></d:propstat>";
  const { source } = await open(
    listing("/Share/Docs/", [
      file("/Share/Docs/a").replace("</d:href>", `</d:href>${missing}`),
      file("/Share/Docs/b").replace("<d:resourcetype/>", ""),
    ]),
  );
  const listed = await listAll(source);
  expect(listed.file("a")).toMatchObject({
    size: 6,
    mtime: Math.floor(OLD.getTime() / 1000) * 1000,
  });
  expect(listed.file("b").size).toBe(6);
});

test("an empty collection is asked about where the server does not list it, and an empty answer is none", async () => {
  const { source } = await open(listing(undefined, []));
  expect((await listAll(source)).paths).toEqual([]);
  const silent = await open((request, answer) => {
    if (request.headers["depth"] === "infinity") answer.writeHead(403).end();
    else send(answer);
  });
  await expect(listAll(silent.source)).rejects.toMatchObject({ code: "invalid" });
  let asked = 0;
  const forgetful = await open((request, answer) => {
    if (request.headers["depth"] === "infinity") answer.writeHead(403).end();
    else if (asked++ === 0) send(answer, resource("/Share/Docs/", COLLECTION));
    else send(answer);
  });
  await expect(listAll(forgetful.source)).rejects.toMatchObject({
    message: 'the server says nothing of "/"',
  });
});

interface Served {
  listed: string | undefined;
  served: string | undefined;
  modified: Date;
  body: string;
  failing?: boolean;
}

function serving(object: Served): Answer {
  return (request, answer) => {
    const { listed, served, modified, body, failing = false } = object;
    const tagged = served === undefined ? {} : { etag: served };
    if (request.method === "PROPFIND") {
      if (request.headers["depth"] === "infinity") answer.writeHead(403).end();
      else if (request.headers["depth"] === "0") send(answer, resource("/Share/Docs/", COLLECTION));
      else
        send(
          answer,
          resource("/Share/Docs/", COLLECTION),
          file("/Share/Docs/a", { size: body.length, etag: listed, modified }),
        );
    } else if (failing && request.headers["if-match"] !== undefined) answer.writeHead(412).end();
    else {
      answer.writeHead(200, {
        ...tagged,
        "last-modified": modified.toUTCString(),
        "content-length": body.length,
      });
      answer.end(request.method === "HEAD" ? undefined : body);
    }
  };
}

const changed = (tag: string | undefined) => tag?.replace(/\w{2,}|x/, "changed");

/** Long enough to be looked at once more after it was sent. */
const LONG = "hello ".repeat(20_000);

test.each<[string, Partial<Served>]>([
  ["the same", { listed: '"x"', served: '"x"' }],
  ["without quotes", { listed: "x", served: '"x"' }],
  ["weak", { listed: 'W/"x"', served: '"x"' }],
  ["made weak on the way", { listed: '"x"', served: 'W/"x-gzip"' }],
  ["empty", { listed: "", served: undefined }],
  ["empty in its quotes", { listed: '""', served: '""' }],
  ["not there", { listed: undefined, served: undefined }],
  ["there with the content only", { listed: undefined, served: '"x"' }],
  ["there in the listing only", { listed: '"x"', served: undefined }],
  ["another than that of the content", { listed: '"sabre"', served: '"nginx"' }],
  [
    "another, and compared with that of the content",
    { listed: '"sabre"', served: '"nginx"', failing: true },
  ],
])("an ETag that is %s: what is listed is read, and a change is seen", async (_, given) => {
  const object: Served = { listed: "", served: "", modified: OLD, body: LONG, ...given };
  const { source } = await open(serving(object));
  const before = (await listAll(source)).file("a");
  expect((await listAll(source)).file("a").fingerprint).toBe(before.fingerprint);
  expect(String(await readAll(source, before))).toBe(LONG);

  object.modified = new Date(OLD.getTime() + 5000);
  object.body = LONG.toUpperCase();
  object.listed = changed(object.listed);
  object.served = changed(object.served);
  await expect(readAll(source, before)).rejects.toMatchObject({ code: "changed" });
  const after = (await listAll(source)).file("a");
  expect(after.fingerprint).not.toBe(before.fingerprint);
  expect(String(await readAll(source, after))).toBe(LONG.toUpperCase());
});

test("another ETag under the same date is a change where it may be one", async () => {
  const { source } = await open(
    serving({ listed: '"x"', served: '"y"', modified: new Date(), body: "one" }),
  );
  const entry = (await listAll(source)).file("a");
  await expect(readAll(source, entry)).rejects.toMatchObject({ code: "changed" });
});

test("a file with neither ETag nor date is named, and not taken for unchanged", async () => {
  const { source } = await open(
    listing("/Share/Docs/", [
      resource("/Share/Docs/a", "<d:resourcetype/><d:getcontentlength>6</d:getcontentlength>"),
    ]),
  );
  await expect(listAll(source)).rejects.toMatchObject({
    code: "unsupported",
    message: 'the server sends neither an ETag nor a date of "a"',
  });
});

/** Sends without end, as fast as it is read. */
function pour(answer: ServerResponse, piece: string): void {
  const more = () => {
    while (!answer.destroyed && answer.write(piece));
    if (!answer.destroyed) answer.once("drain", more);
  };
  more();
}

const HEAD = '<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">';

test.each<[string, (answer: ServerResponse) => void]>([
  ["elements within elements", (answer) => pour(answer, "<d:a>".repeat(10_000))],
  ["a name without end", (answer) => pour(answer, "a".repeat(100_000))],
  [
    "properties without end",
    (answer) => pour(answer, "<d:propstat><d:prop><d:x>1</d:x></d:prop></d:propstat>".repeat(1000)),
  ],
  [
    "one collection in itself",
    (answer) => pour(answer, resource("/Share/Docs/c", COLLECTION).repeat(1000)),
  ],
  ["entities that grow", (answer) => answer.end('<!DOCTYPE x [<!ENTITY a "aaaa">]>')],
  ["an error", (answer) => answer.end("<d:error/>")],
  ["nothing more", (answer) => answer.end()],
])("in place of a listing: %s", async (_, rest) => {
  const { source } = await open((request, answer) => {
    if (request.headers["depth"] === "infinity") answer.writeHead(403).end();
    else if (request.headers["depth"] === "0") send(answer, resource("/Share/Docs/", COLLECTION));
    else {
      answer.writeHead(207, { "content-type": "application/xml" });
      answer.write(HEAD);
      rest(answer);
    }
  });
  await expect(listAll(source)).rejects.toMatchObject({ code: "invalid" });
});

test("collections within collections without end are given up", async () => {
  const { source } = await open((request, answer, path) => {
    if (request.headers["depth"] === "infinity") answer.writeHead(403).end();
    else if (request.headers["depth"] === "0") send(answer, resource(path, COLLECTION));
    else
      send(
        answer,
        resource(path, COLLECTION),
        resource(`${path}${"down".repeat(20)}/`, COLLECTION),
      );
  });
  await expect(listAll(source)).rejects.toMatchObject({ code: "invalid" });
});

test.each([
  ["all at once", ["infinity"]],
  ["collection by collection", []],
])("a name that is not UTF-8 fails a listing %s, unless it is left out", async (_, deep) => {
  const { source } = await open((request, answer) => {
    const { depth = "" } = request.headers;
    if (depth === "infinity" && !deep.includes(depth)) answer.writeHead(403).end();
    else if (depth === "0") send(answer, resource("/Share/Docs/", COLLECTION));
    else
      send(
        answer,
        resource("/Share/Docs/", COLLECTION),
        file("/Share/Docs/caf%e9"),
        file("/Share/Docs/caf%e8"),
        file("/Share/Docs/a"),
      );
  });
  const listed = (pattern: string) =>
    listAll(source, new AbortController().signal, filterScope(makeFilter([], [pattern])));
  await expect(listed("b")).rejects.toMatchObject({ code: "invalid" });
  expect((await listed("caf*")).paths).toEqual(["a"]);
});
