/** A web server on 127.0.0.1 that behaves as static file servers do, with ways to misbehave. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Page {
  readonly body: string | Uint8Array;
  readonly type?: string | undefined;
  /** `etag`, `weak`, `date`: what names the version; `none`: nothing does. Default `etag`. */
  readonly validator?: "etag" | "weak" | "date" | "none" | undefined;
  readonly modified?: Date | undefined;
  /** False: ranges are ignored, and not announced. Default true. */
  readonly ranges?: boolean | undefined;
  /** False: conditions are ignored. Default true. */
  readonly conditions?: boolean | undefined;
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

export interface Site {
  readonly origin: string;
  readonly port: number;
  /** By path; changed at will. A function answers by itself. */
  readonly pages: Map<string, Page | Handler>;
  /** What was asked: `GET /x 200`. */
  readonly log: string[];
  /** Answers in the pages' place, where it returns true. */
  before: (request: IncomingMessage, response: ServerResponse) => boolean;
  close(): Promise<void>;
}

export async function openSite(pages: Record<string, Page | Handler> = {}): Promise<Site> {
  const site: Site = {
    pages: new Map(Object.entries(pages)),
    log: [],
    before: () => false,
    port: 0,
    origin: "",
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url as string, "http://x");
    const page = site.pages.get(pathname);
    response.on("close", () =>
      site.log.push(`${request.method} ${request.url} ${response.statusCode}`),
    );
    if (site.before(request, response)) return;
    if (typeof page === "function") page(request, response);
    else if (page === undefined) response.writeHead(404).end("nothing here");
    else answer(page, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(site, { port, origin: `http://127.0.0.1:${port}` });
}

const digests = new WeakMap<Page, string>();

function digestOf(page: Page): string {
  const digest = digests.get(page) ?? createHash("md5").update(page.body).digest("hex");
  digests.set(page, digest);
  return digest;
}

function answer(page: Page, request: IncomingMessage, response: ServerResponse): void {
  const body = typeof page.body === "string" ? Buffer.from(page.body) : page.body;
  const { validator = "etag", modified = new Date("2025-02-03T04:05:06Z") } = page;
  const { headers } = request;
  const digest = digestOf(page);
  const etag = validator === "weak" ? `W/"${digest}"` : `"${digest}"`;
  const dated = modified.toUTCString();
  if (validator === "etag" || validator === "weak") response.setHeader("ETag", etag);
  if (validator !== "none") response.setHeader("Last-Modified", dated);
  if (page.type !== undefined) response.setHeader("Content-Type", page.type);
  if (page.ranges !== false) response.setHeader("Accept-Ranges", "bytes");

  if (page.conditions !== false && validator !== "none") {
    const byTag = validator !== "date";
    const same = byTag ? headers["if-none-match"] === etag : headers["if-modified-since"] === dated;
    if (same) return void response.writeHead(304).end();
    // RFC 9110, 13.1.1: If-Match compares strongly.
    const match = headers["if-match"];
    const since = headers["if-unmodified-since"];
    if (
      (match !== undefined && (match !== etag || !byTag || validator === "weak")) ||
      (since ?? dated) !== dated
    ) {
      return void response.writeHead(412).end();
    }
  }
  const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "");
  if (range === null || page.ranges === false) {
    response.setHeader("Content-Length", body.byteLength);
    return void response.end(request.method === "HEAD" ? undefined : body);
  }
  const start = Number(range[1]);
  const end = Math.min(range[2] === "" ? Infinity : Number(range[2]), body.byteLength - 1);
  if (start > end) {
    response.setHeader("Content-Range", `bytes */${body.byteLength}`);
    return void response.writeHead(416).end();
  }
  response.setHeader("Content-Range", `bytes ${start}-${end}/${body.byteLength}`);
  response.setHeader("Content-Length", end - start + 1);
  response.writeHead(206).end(body.subarray(start, end + 1));
}
