/** A small WebDAV server in the test's process, for the files of a directory: PROPFIND of any depth, GET with conditions and ranges, both ways to sign in. */
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { answerDigest } from "../src/digest.ts";

export interface DavServerInit {
  /** Whether it lists all at once, refuses to, or takes it for some levels: Tomcat for three. */
  readonly infinity: "listed" | "refused" | "one level" | "three levels";
  readonly signIn?: {
    readonly by: "basic" | "digest";
    readonly user: string;
    readonly password: string;
  };
  readonly etags: boolean;
}

export interface DavServer {
  readonly port: number;
  /** Method, path and depth of every request. */
  readonly requests: string[];
  /** The nonce that digests are made with; another one makes those of before stale. */
  nonce: string;
  /** Answers in the server's place, where it is set. */
  override: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  close(): Promise<void>;
}

export async function startDavServer(init: DavServerInit): Promise<DavServer> {
  const server = createServer((request, response) => {
    running.requests.push(
      `${request.method} ${request.url} ${request.headers["depth"] ?? ""}`.trim(),
    );
    if (running.override?.(request, response) === true) return;
    serve(request, response, init, running.nonce).catch(() => {
      if (response.headersSent) response.destroy();
      else response.writeHead(404).end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const running: DavServer = {
    port: (server.address() as AddressInfo).port,
    requests: [],
    nonce: "n1",
    override: undefined,
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  return running;
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  init: DavServerInit,
  nonce: string,
): Promise<void> {
  request.resume();
  const challenge = challengeFor(request, init, nonce);
  if (challenge !== undefined)
    return void response.writeHead(401, { "www-authenticate": challenge }).end();
  const path = decodeURIComponent(new URL(request.url ?? "/", "http://x").pathname);
  const stats = await stat(path.replace(/(?<=.)\/$/, ""));
  const etag = `"${stats.size.toString(16)}-${stats.mtimeMs.toString(16)}"`;
  if (request.method === "PROPFIND") {
    const depth = request.headers["depth"];
    if (depth === "infinity" && init.infinity === "refused")
      return void response.writeHead(403).end();
    response.writeHead(207, { "content-type": "application/xml" });
    response.write('<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">');
    const most = { "one level": 1, "three levels": 3, refused: 0, listed: Infinity };
    const levels = depth === "infinity" ? most[init.infinity] : Number(depth);
    for await (const text of describe(path, levels, init.etags)) response.write(text);
    return void response.end("</D:multistatus>");
  }
  if (!stats.isFile()) return void response.writeHead(405).end();
  const unmodified = request.headers["if-unmodified-since"];
  const modified = Math.floor(stats.mtimeMs / 1000) * 1000;
  const differs =
    (request.headers["if-match"] ?? etag) !== etag ||
    (unmodified !== undefined && modified > Date.parse(unmodified));
  if (differs) return void response.writeHead(412).end();
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers["range"] ?? "") ?? [];
  const start = Number(from ?? 0);
  const end = Math.min(to === undefined || to === "" ? stats.size - 1 : Number(to), stats.size - 1);
  if (from !== undefined && start >= stats.size) return void response.writeHead(416).end();
  response.writeHead(from === undefined ? 200 : 206, {
    "content-length": Math.max(0, end - start + 1),
    "last-modified": new Date(modified).toUTCString(),
    ...(init.etags ? { etag } : {}),
    ...(from === undefined ? {} : { "content-range": `bytes ${start}-${end}/${stats.size}` }),
  });
  if (request.method === "HEAD" || stats.size === 0) return void response.end();
  const content = createReadStream(path, { start, end });
  await pipeline(content, response, { end: false });
  // Of a file that became shorter, the client must not wait for the rest.
  if (content.bytesRead < end - start + 1) response.destroy();
  else response.end();
}

async function* describe(path: string, levels: number, etags: boolean): AsyncGenerator<string> {
  const stats = await stat(path.replace(/(?<=.)\/$/, ""));
  const directory = stats.isDirectory();
  const full = directory && !path.endsWith("/") ? `${path}/` : path;
  const href = full.split("/").map(encodeURIComponent).join("/");
  yield `<D:response><D:href>${href}</D:href><D:propstat><D:prop>
    <D:resourcetype>${directory ? "<D:collection/>" : ""}</D:resourcetype>
    ${directory ? "" : `<D:getcontentlength>${stats.size}</D:getcontentlength>`}
    <D:getlastmodified>${new Date(stats.mtimeMs).toUTCString()}</D:getlastmodified>
    ${etags && !directory ? `<D:getetag>"${stats.size.toString(16)}-${stats.mtimeMs.toString(16)}"</D:getetag>` : ""}
    </D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>
    <D:propstat><D:prop><D:getetag>never</D:getetag></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>`;
  if (!directory || levels === 0) return;
  for (const name of await readdir(full)) yield* describe(join(full, name), levels - 1, etags);
}

/** What to answer to one who is not signed in. */
function challengeFor(
  { headers, method = "", url = "" }: IncomingMessage,
  { signIn }: DavServerInit,
  nonce: string,
): string | undefined {
  if (signIn === undefined) return undefined;
  const { by, user: username, password } = signIn;
  const given = headers["authorization"] ?? "";
  if (by === "basic") {
    const expected = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
    return given === expected ? undefined : 'Basic realm="test"';
  }
  const field = (name: string) => new RegExp(`\\b${name}="?([^",]*)`).exec(given)?.[1] ?? "";
  const challenge = {
    realm: "test",
    nonce,
    opaque: "o",
    algorithm: "SHA-256",
    hash: "sha256",
    qop: true,
  } as const;
  const expected = answerDigest(
    challenge,
    { username, password },
    method,
    url,
    Number.parseInt(field("nc"), 16),
    field("cnonce"),
  );
  if (given === expected) return undefined;
  const stale = given.includes("nonce=") && field("nonce") !== nonce ? ", stale=true" : "";
  return `Basic realm="test", Digest realm="test", nonce="${nonce}", opaque="o", algorithm=MD5, qop="auth", Digest realm="test", nonce="${nonce}", opaque="o", algorithm=SHA-256, qop="auth,auth-int"${stale}`;
}
