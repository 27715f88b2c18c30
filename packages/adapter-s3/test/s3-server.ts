/** A small server of S3's API, for what is asked here: it checks signatures, pages, pins, ranges and versions. */
import { createHash, createHmac } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

interface StoredVersion {
  readonly content: Buffer;
  readonly etag: string;
  readonly versionId: string;
  readonly modified: Date;
  /** Sent with the content and with HEADs. */
  readonly headers: Readonly<Record<string, string>>;
  /** Class of its storage. One in GLACIER cannot be read. */
  readonly storageClass?: "GLACIER" | undefined;
  /** Bytes of each part that it was uploaded in. */
  readonly parts?: readonly number[] | undefined;
  /** A deletion. */
  readonly gone?: boolean;
}

export interface S3Server {
  readonly port: number;
  /** Access key → secret, and the session token where there must be one. Empty: nothing is checked. */
  readonly keys: Map<string, { secret: string; token?: string; expires?: number }>;
  /** The region that requests must be signed for; `undefined`: any. */
  region: string | undefined;
  /** Answers instead, if it returns true. */
  before: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Method and URL of each request. */
  readonly requests: string[];
  pageSize: number;
  createBucket(bucket: string): void;
  put(
    bucket: string,
    key: string,
    content: Uint8Array,
    extra?: Partial<Pick<StoredVersion, "headers" | "parts" | "etag" | "storageClass">>,
  ): void;
  remove(bucket: string, key: string): void;
  close(): Promise<void>;
}

export async function startS3Server(): Promise<S3Server> {
  /** Newest version first. */
  const buckets = new Map<string, Map<string, StoredVersion[]>>();
  let versions = 0;

  const server: Omit<S3Server, "port"> = {
    keys: new Map(),
    region: undefined,
    before: () => false,
    requests: [],
    pageSize: 1000,
    createBucket: (bucket) => void buckets.set(bucket, new Map()),
    put(bucket, key, content, extra = {}) {
      const bytes = Buffer.from(content);
      const etag = createHash("md5").update(bytes).digest("hex");
      const versionId = `v${++versions}`;
      add(bucket, key, {
        content: bytes,
        etag,
        versionId,
        modified: new Date(),
        headers: {},
        ...extra,
      });
    },
    remove(bucket, key) {
      const etag = "";
      const versionId = `v${++versions}`;
      const content = Buffer.alloc(0);
      add(bucket, key, { content, etag, versionId, modified: new Date(), headers: {}, gone: true });
    },
    async close() {
      http.closeAllConnections();
      http.close();
      await once(http, "close");
    },
  };

  function add(bucket: string, key: string, version: StoredVersion): void {
    const objects = buckets.get(bucket);
    objects?.set(key, [version, ...(objects.get(key) ?? [])]);
  }

  const http = createServer((request, response) => {
    server.requests.push(`${request.method} ${request.url}`);
    if (server.before(request, response)) return;
    const url = new URL(request.url ?? "", "http://server");
    const [, bucket = "", ...rest] = request.url?.split("?")[0]?.split("/") ?? [];
    const key = rest.map(decodeURIComponent).join("/");
    const reason = whyRefused(request, server);
    const objects = buckets.get(bucket);
    if (reason !== undefined) return refuse(response, ...reason);
    if (objects === undefined) return refuse(response, 404, "NoSuchBucket");
    if (key === "") return list(response, objects, url.searchParams, server.pageSize);
    return answer(request, response, objects.get(key) ?? [], url.searchParams);
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return Object.assign(server, { port: (http.address() as AddressInfo).port });
}

function refuse(
  response: ServerResponse,
  status: number,
  code: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { "content-type": "application/xml", ...headers });
  const region = headers["x-amz-bucket-region"];
  const more = region === undefined ? "" : `<Region>${region}</Region>`;
  response.end(`<?xml version="1.0"?><Error><Code>${code}</Code>${more}</Error>`);
}

/** The signature, calculated from what came over the wire. */
function whyRefused(
  { method, url = "", headers }: IncomingMessage,
  { keys, region }: Pick<S3Server, "keys" | "region">,
): Parameters<typeof refuse> extends [unknown, ...infer Rest] ? Rest | undefined : never {
  if (keys.size === 0) return undefined;
  const { authorization = "" } = headers;
  if (authorization === "") return [403, "AccessDenied"];
  const [, id = "", day = "", signedFor = "", names = "", signature = ""] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d+)\/([^/]+)\/s3\/aws4_request,SignedHeaders=([^,]+),Signature=(\w+)$/.exec(
      authorization,
    ) ?? [];
  const known = keys.get(id);
  if (known === undefined) return [403, "InvalidAccessKeyId"];
  if (region !== undefined && signedFor !== region) {
    return [400, "AuthorizationHeaderMalformed", { "x-amz-bucket-region": region }];
  }
  const expired = known.expires !== undefined && known.expires <= Date.now();
  if (expired || known.token !== headers["x-amz-security-token"]) return [400, "ExpiredToken"];
  for (const name of ["host", "x-amz-date", "x-amz-content-sha256"]) {
    if (!names.split(";").includes(name)) return [403, "AccessDenied"];
  }
  const [path, query = ""] = url.split("?");
  const canonical = [
    method,
    path,
    query.split("&").toSorted().join("&"),
    ...names.split(";").map((name) => `${name}:${String(headers[name]).trim()}`),
    "",
    names,
    headers["x-amz-content-sha256"],
  ].join("\n");
  const hash = createHash("sha256").update(canonical).digest("hex");
  const scope = `${day}/${signedFor}/s3/aws4_request`;
  const text = `AWS4-HMAC-SHA256\n${String(headers["x-amz-date"])}\n${scope}\n${hash}`;
  let signing: string | Buffer = `AWS4${known.secret}`;
  for (const part of [day, signedFor, "s3", "aws4_request"]) signing = hmac(signing, part);
  const same = hmac(signing, text).toString("hex") === signature;
  return same ? undefined : [403, "SignatureDoesNotMatch"];
}

function list(
  response: ServerResponse,
  objects: ReadonlyMap<string, readonly StoredVersion[]>,
  query: URLSearchParams,
  pageSize: number,
): void {
  const prefix = query.get("prefix") ?? "";
  const after =
    query.get("continuation-token") ?? query.get("start-after") ?? query.get("key-marker");
  const byVersion = query.has("versions");
  const keys = [...objects.keys()]
    .filter((key) => key.startsWith(prefix) && (byVersion || objects.get(key)?.[0]?.gone !== true))
    .filter((key) => after === null || Buffer.compare(Buffer.from(key), Buffer.from(after)) > 0)
    .toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  const page = keys.slice(0, pageSize);
  const truncated = keys.length > page.length;
  const encoded = query.get("encoding-type") === "url";
  const write = (key: string) =>
    encoded ? encodeURIComponent(key).replaceAll("%2F", "/") : escape(key);
  // In the order in which AWS writes them.
  const last = page.at(-1) ?? "";
  const next = byVersion
    ? `<NextKeyMarker>${write(last)}</NextKeyMarker><NextVersionIdMarker>x</NextVersionIdMarker>`
    : `<NextContinuationToken>${escape(last)}</NextContinuationToken>`;
  const head = [
    `<Prefix>${write(prefix)}</Prefix>`,
    truncated ? next : "",
    encoded ? "<EncodingType>url</EncodingType>" : "",
    `<IsTruncated>${truncated}</IsTruncated>`,
  ].join("");
  const elements = page.flatMap((key) =>
    (objects.get(key) ?? []).slice(0, byVersion ? undefined : 1).map((version, i) => {
      const name = version.gone === true ? "DeleteMarker" : byVersion ? "Version" : "Contents";
      return `<${name}><Key>${write(key)}</Key><VersionId>${version.versionId}</VersionId><IsLatest>${i === 0}</IsLatest><LastModified>${version.modified.toISOString()}</LastModified><ETag>&quot;${version.etag}&quot;</ETag><Size>${version.content.length}</Size><StorageClass>${version.storageClass ?? "STANDARD"}</StorageClass></${name}>`;
    }),
  );
  const root = byVersion ? "ListVersionsResult" : "ListBucketResult";
  response.writeHead(200, { "content-type": "application/xml" });
  response.end(
    `<?xml version="1.0" encoding="UTF-8"?>\n<${root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${head}${elements.join("")}</${root}>`,
  );
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function answer(
  { method, headers }: IncomingMessage,
  response: ServerResponse,
  versions: readonly StoredVersion[],
  query: URLSearchParams,
): void {
  const wanted = query.get("versionId");
  const version =
    wanted === null ? versions[0] : versions.find(({ versionId }) => versionId === wanted);
  if (version === undefined)
    return refuse(response, 404, wanted === null ? "NoSuchKey" : "NoSuchVersion");
  if (version.gone === true) return refuse(response, 404, "NoSuchKey");
  if (version.storageClass === "GLACIER" && method === "GET") {
    return refuse(response, 403, "InvalidObjectState");
  }
  const pinned = headers["if-match"];
  if (pinned !== undefined && pinned !== `"${version.etag}"`) {
    return refuse(response, 412, "PreconditionFailed");
  }
  const { content, etag, parts } = version;
  let [start, end] = [0, content.length];
  const part = query.get("partNumber");
  const range = /^bytes=(\d+)-(\d*)$/.exec(headers["range"] ?? "");
  if (part !== null && parts !== undefined) {
    const index = Number(part) - 1;
    start = parts.slice(0, index).reduce((sum, size) => sum + size, 0);
    end = start + (parts[index] ?? 0);
  } else if (range !== null) {
    start = Number(range[1]);
    end = range[2] === "" ? end : Math.min(end, Number(range[2]) + 1);
    if (start >= content.length) return refuse(response, 416, "InvalidRange");
  }
  response.writeHead(range !== null || part !== null ? 206 : 200, {
    etag: `"${etag}"`,
    "x-amz-version-id": version.versionId,
    "last-modified": version.modified.toUTCString(),
    "content-length": end - start,
    ...(range === null ? {} : { "content-range": `bytes ${start}-${end - 1}/${content.length}` }),
    ...version.headers,
  });
  response.end(method === "HEAD" ? undefined : content.subarray(start, end));
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
