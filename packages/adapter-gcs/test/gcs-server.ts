/** A small Google Cloud Storage: the JSON API as far as it is read, in memory, on 127.0.0.1. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";
import { crc32c } from "./crc32c.ts";

interface StoredObject {
  readonly content: Buffer;
  readonly generation: string;
  readonly updated: string;
  readonly md5Hash: string;
  readonly crc32c: string;
  readonly contentEncoding?: string | undefined;
  /** Made of others: there is no MD5. */
  readonly composite?: boolean | undefined;
}

export interface GcsServer {
  readonly port: number;
  readonly endpoint: string;
  /** Tokens that are accepted; any request is while it is `undefined`. */
  tokens: Set<string> | undefined;
  /** What was asked for, as method, path and query, and the headers that came with it. */
  readonly log: { readonly url: URL; readonly headers: IncomingMessage["headers"] }[];
  /** Answers a request in the server's place. */
  intercept: ((url: URL, response: ServerResponse) => boolean) | undefined;
  createBucket(bucket: string): void;
  put(
    bucket: string,
    key: string,
    content: Uint8Array | string,
    more?: Pick<StoredObject, "contentEncoding" | "composite">,
  ): void;
  remove(bucket: string, key: string): void;
  close(): Promise<void>;
}

export async function startGcsServer(): Promise<GcsServer> {
  const buckets = new Map<string, Map<string, StoredObject>>();
  let generation = 1_700_000_000_000_000;
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://localhost");
    self.log.push({ url, headers: request.headers });
    if (self.intercept?.(url, response) === true) return;
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
    if (self.tokens !== undefined && !self.tokens.has(token ?? "")) {
      return fail(response, 401, "authError", "Invalid Credentials");
    }
    const [, bucket = "", key] =
      /^\/storage\/v1\/b\/([^/]+)\/o(?:\/([^/]+))?$/
        .exec(url.pathname)
        ?.map((part) => part && decodeURIComponent(part)) ?? [];
    const objects = buckets.get(bucket);
    if (objects === undefined) {
      return fail(response, 404, "notFound", "The specified bucket does not exist.");
    }
    if (key === undefined) return json(response, list(objects, url.searchParams));
    const object = objects.get(key);
    const wanted = url.searchParams.get("generation");
    if (object === undefined || (wanted !== null && wanted !== object.generation)) {
      return fail(response, 404, "notFound", `No such object: ${bucket}/${key}`);
    }
    if (url.searchParams.get("alt") !== "media") return json(response, resource(key, object));
    send(request, response, object);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const self: GcsServer = {
    port,
    endpoint: `http://127.0.0.1:${port}`,
    tokens: undefined,
    log: [],
    intercept: undefined,
    createBucket: (bucket) => void buckets.set(bucket, new Map()),
    put(bucket, key, content, more) {
      const bytes = Buffer.from(content);
      buckets.get(bucket)?.set(key, {
        content: bytes,
        generation: String(generation++),
        updated: new Date().toISOString(),
        md5Hash: createHash("md5").update(bytes).digest("base64"),
        crc32c: crc32c(bytes).toString("base64"),
        ...more,
      });
    },
    remove: (bucket, key) => void buckets.get(bucket)?.delete(key),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return self;
}

/** https://cloud.google.com/storage/docs/json_api/v1/objects/list */
function list(objects: ReadonlyMap<string, StoredObject>, query: URLSearchParams): unknown {
  const get = (name: string) => query.get(name) ?? "";
  const from =
    get("pageToken") === "" ? get("startOffset") : String(Buffer.from(get("pageToken"), "base64"));
  const names = [...objects.keys()]
    .filter((name) => name.startsWith(get("prefix")))
    .filter((name) => compare(name, from) >= 0)
    .filter((name) => get("endOffset") === "" || compare(name, get("endOffset")) < 0)
    .toSorted(compare);
  const page = Math.min(Number(query.get("maxResults") ?? 1000), 1000);
  const next = names[page];
  return {
    nextPageToken: next && Buffer.from(next).toString("base64"),
    items: names.slice(0, page).map((name) => resource(name, objects.get(name) as StoredObject)),
  };
}

function compare(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function resource(name: string, object: StoredObject): unknown {
  const { content, composite, md5Hash, ...rest } = object;
  const size = String(content.length);
  return { name, size, storageClass: "STANDARD", ...rest, ...(composite ? {} : { md5Hash }) };
}

function send(request: IncomingMessage, response: ServerResponse, object: StoredObject): void {
  const { content, generation, contentEncoding } = object;
  const headers: Record<string, string> = {
    "x-goog-generation": generation,
    "x-goog-stored-content-encoding": contentEncoding ?? "identity",
  };
  const accepted = request.headers["accept-encoding"] ?? "";
  if (contentEncoding === "gzip" && !accepted.includes("gzip")) {
    // Transcoded: unpacked, whole, and of no known length.
    response.writeHead(200, headers);
    response.end(gunzipSync(content));
    return;
  }
  if (contentEncoding !== undefined) headers["content-encoding"] = contentEncoding;
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  if (first === undefined) {
    response.writeHead(200, { ...headers, "content-length": content.length });
    response.end(content);
    return;
  }
  const start = Number(first);
  if (start >= content.length) return fail(response, 416, "requestedRangeNotSatisfiable", "");
  const end = Math.min(last === "" ? Infinity : Number(last), content.length - 1);
  const part = content.subarray(start, end + 1);
  headers["content-range"] = `bytes ${start}-${end}/${content.length}`;
  response.writeHead(206, { ...headers, "content-length": part.length });
  response.end(part);
}

function json(response: ServerResponse, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(200, { "content-type": "application/json", "content-length": body.length });
  response.end(body);
}

/** As the API does: https://cloud.google.com/storage/docs/json_api/v1/status-codes */
export function fail(
  response: ServerResponse,
  code: number,
  reason: string,
  message: string,
  headers: Record<string, string> = {},
): void {
  const error = { code, message, errors: [{ domain: "global", reason, message }] };
  response.writeHead(code, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify({ error }));
}
