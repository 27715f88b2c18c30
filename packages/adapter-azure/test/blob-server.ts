/**
 * A small Azure Blob service on 127.0.0.1: List Blobs with pages, Get Blob with conditions and ranges, and signatures
 * that are checked. Its answers have the form of those in https://learn.microsoft.com/rest/api/storageservices/blob-service-rest-api
 */
import { createHash, createHmac } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export const ACCOUNT = "storeaccount1";

export interface Blob {
  readonly content: Uint8Array;
  readonly etag: string;
  readonly modified: Date;
  /** `undefined`: whoever wrote it gave none. */
  readonly md5?: string | undefined;
  readonly tier?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly type?: string | undefined;
  /** Of a hierarchical namespace. */
  readonly resourceType?: "file" | "directory" | undefined;
}

interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly status: number;
}

export interface BlobServer {
  readonly port: number;
  readonly endpoint: string;
  /** Container → key → blob. */
  readonly containers: Map<string, Map<string, Blob>>;
  readonly log: Asked[];
  /** What is accepted; changed at will. */
  readonly accepted: { keys: string[]; sas: string[]; tokens: string[]; anonymous: boolean };
  readonly behaviour: {
    /** Blobs in a page at most. Default 1,000. */
    page: number;
    /** False: `startFrom` is passed over, as older services do. */
    startFrom: boolean;
    /** Order of the listing. Default: UTF-16 units, as the service has it for flat namespaces. */
    compare: (a: string, b: string) => number;
    /** Answers in the place of all else where it returns true. */
    intercept: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
  };
  close(): Promise<void>;
}

let versions = 0;

/** A blob as an upload makes it. */
export function makeBlob(content: Uint8Array | string, extra: Partial<Blob> = {}): Blob {
  const bytes = Buffer.from(content);
  const number = ++versions;
  return {
    content: bytes,
    etag: `0x8DE${number.toString(16).toUpperCase().padStart(12, "0")}`,
    modified: new Date(Date.UTC(2025, 1, 3) + number * 60_000),
    md5: createHash("md5").update(bytes).digest("base64"),
    ...extra,
  };
}

export async function openBlobServer(): Promise<BlobServer> {
  const containers: BlobServer["containers"] = new Map();
  const log: Asked[] = [];
  const accepted: BlobServer["accepted"] = { keys: [], sas: [], tokens: [], anonymous: false };
  const behaviour: BlobServer["behaviour"] = {
    page: 1000,
    startFrom: true,
    compare: (a, b) => (a < b ? -1 : Number(a > b)),
    intercept: undefined,
  };
  const server = createServer((request, response) => {
    const { method = "", url = "", headers } = request;
    response.on("close", () => log.push({ method, url, headers, status: response.statusCode }));
    if (behaviour.intercept?.(request, response) !== true) answer(request, response);
  });
  // In its own path form, as an emulator.
  const base = `/${ACCOUNT}`;

  function answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "", "http://x");
    const refusal = refuse(request, url);
    if (refusal !== undefined) return fail(response, ...refusal);
    const [, name = "", encoded] =
      /^\/([^/]+)(?:\/(.*))?$/s.exec(url.pathname.slice(base.length)) ?? [];
    const container = containers.get(name);
    if (container === undefined) return fail(response, 404, "ContainerNotFound");
    if (encoded === undefined) return list(container, name, url.searchParams, request, response);
    const blob = container.get(decodeURIComponent(encoded));
    if (blob === undefined || blob.resourceType === "directory") {
      return fail(response, 404, "BlobNotFound");
    }
    get(blob, request, response);
  }

  /** Checks who asks. */
  function refuse(request: IncomingMessage, url: URL): [number, string] | undefined {
    if (accepted.anonymous) return undefined;
    const { authorization } = request.headers;
    if (url.searchParams.has("sig")) {
      const sas =
        accepted.sas.some((each) => url.search.slice(1).endsWith(each)) ||
        accepted.keys.some((key) => allowsRead(request, url, key));
      return sas ? undefined : [403, "AuthenticationFailed"];
    }
    if (authorization === undefined) return [401, "NoAuthenticationInformation"];
    if (authorization.startsWith("Bearer ")) {
      return accepted.tokens.includes(authorization.slice(7))
        ? undefined
        : [401, "InvalidAuthenticationInfo"];
    }
    const signed = accepted.keys.some(
      (key) => authorization === `SharedKey ${ACCOUNT}:${signatureOf(request, url, key)}`,
    );
    return signed ? undefined : [403, "AuthenticationFailed"];
  }

  function list(
    container: ReadonlyMap<string, Blob>,
    name: string,
    query: URLSearchParams,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    if (query.get("comp") !== "list" || query.get("restype") !== "container") {
      return fail(response, 400, "InvalidQueryParameterValue");
    }
    const prefix = query.get("prefix") ?? "";
    const marker = query.get("marker") ?? "";
    const version = String(request.headers["x-ms-version"]);
    const from =
      behaviour.startFrom && version >= "2026-02-06" ? (query.get("startFrom") ?? "") : "";
    const after = marker === "" ? undefined : Buffer.from(marker, "base64").toString();
    const keys = [...container.keys()]
      .filter((key) => key.startsWith(prefix))
      .toSorted(behaviour.compare)
      .filter((key) => from === "" || behaviour.compare(key, from) >= 0)
      .filter((key) => after === undefined || behaviour.compare(key, after) > 0);
    const size = Math.min(Number(query.get("maxresults") ?? 5000), behaviour.page);
    const page = keys.slice(0, size);
    const next = keys.length > size ? Buffer.from(page.at(-1) ?? "").toString("base64") : "";
    const metadata = query.get("include")?.includes("metadata") === true;
    const rows = page.map((key) => row(key, container.get(key) as Blob, metadata));
    response.setHeader("content-type", "application/xml");
    response.end(
      `\uFEFF<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="http://x/" ContainerName="${name}">` +
        `<Prefix>${escape(prefix)}</Prefix><MaxResults>${size}</MaxResults><Blobs>${rows.join("")}</Blobs>` +
        `${next === "" ? "<NextMarker />" : `<NextMarker>${next}</NextMarker>`}</EnumerationResults>`,
    );
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    endpoint: `http://127.0.0.1:${port}${base}`,
    containers,
    log,
    accepted,
    behaviour,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function row(key: string, blob: Blob, withMetadata: boolean): string {
  // eslint-disable-next-line no-control-regex
  const unfit = /[\0-\x08\x0b\x0c\x0e-\x1f\uFFFE\uFFFF]/.test(key);
  const name = unfit
    ? `<Name Encoded="true">${encodeURIComponent(key)}</Name>`
    : `<Name>${escape(key)}</Name>`;
  const metadata = Object.entries(blob.metadata ?? {})
    .map(([each, value]) => `<${each}>${escape(value)}</${each}>`)
    .join("");
  return (
    `<Blob>${name}<Properties><Last-Modified>${blob.modified.toUTCString()}</Last-Modified><Etag>${blob.etag}</Etag>` +
    (blob.resourceType === undefined ? "" : `<ResourceType>${blob.resourceType}</ResourceType>`) +
    `<Content-Length>${blob.content.length}</Content-Length><Content-Type>application/octet-stream</Content-Type><Content-Encoding />` +
    (blob.md5 === undefined ? "<Content-MD5 />" : `<Content-MD5>${blob.md5}</Content-MD5>`) +
    `<BlobType>${blob.type ?? "BlockBlob"}</BlobType><AccessTier>${blob.tier ?? "Hot"}</AccessTier></Properties>` +
    (withMetadata ? `<Metadata>${metadata}</Metadata>` : "") +
    "<OrMetadata /></Blob>"
  );
}

function escape(text: string): string {
  const entities: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "\r": "&#xD;",
  };
  return text.replace(/[&<>\r]/g, (character) => entities[character] ?? "");
}

function get(blob: Blob, request: IncomingMessage, response: ServerResponse): void {
  const { content, etag, md5, tier } = blob;
  const match = request.headers["if-match"];
  if (match !== undefined && match.replace(/"/g, "") !== etag) {
    return fail(response, 412, "ConditionNotMet");
  }
  if (tier === "Archive" && request.method === "GET") return fail(response, 409, "BlobArchived");
  response.setHeader("ETag", `"${etag}"`);
  response.setHeader("Last-Modified", blob.modified.toUTCString());
  response.setHeader("Accept-Ranges", "bytes");
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
  if (first === undefined) {
    if (md5 !== undefined) response.setHeader("Content-MD5", md5);
    response.setHeader("Content-Length", content.length);
    return void response.end(request.method === "HEAD" ? undefined : content);
  }
  const start = Number(first);
  if (start >= content.length) return fail(response, 416, "InvalidRange");
  const end = Math.min(last ? Number(last) : Infinity, content.length - 1);
  response.setHeader("Content-Range", `bytes ${start}-${end}/${content.length}`);
  response.setHeader("Content-Length", end - start + 1);
  response.writeHead(206).end(content.subarray(start, end + 1));
}

function fail(response: ServerResponse, status: number, code: string): void {
  response.setHeader("x-ms-error-code", code);
  response.setHeader("content-type", "application/xml");
  response
    .writeHead(status)
    .end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>.</Message></Error>`);
}

/** By https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key, written a second time. */
function signatureOf({ method, headers }: IncomingMessage, url: URL, key: string): string {
  const of = (name: string) => headers[name] ?? "";
  const length = of("content-length") === "0" ? "" : of("content-length");
  const own = Object.entries(headers).filter(([name]) => name.startsWith("x-ms-"));
  let text = `${method}\n${of("content-encoding")}\n${of("content-language")}\n${length}\n${of("content-md5")}\n`;
  text += `${of("content-type")}\n\n${of("if-modified-since")}\n${of("if-match")}\n${of("if-none-match")}\n`;
  text += `${of("if-unmodified-since")}\n${of("range")}\n`;
  for (const [name, value] of own.toSorted(([a], [b]) => (a < b ? -1 : 1)))
    text += `${name}:${value}\n`;
  text += `/${ACCOUNT}${url.pathname}`;
  const query = [...url.searchParams].map(([name, value]) => `\n${name.toLowerCase()}:${value}`);
  text += query.toSorted().join("");
  return createHmac("sha256", Buffer.from(key, "base64")).update(text).digest("base64");
}

/** A SAS for reads of blobs, by https://learn.microsoft.com/rest/api/storageservices/create-service-sas; what is not known here is not taken. */
function allowsRead({ method }: IncomingMessage, { pathname, searchParams }: URL, key: string) {
  const [, account, container, blob] = pathname.split("/");
  const { sv, sr, sp, se = "", sig, ...others } = Object.fromEntries(searchParams);
  if (Object.keys(others).length > 0 || blob === undefined || method !== "GET") return false;
  if (sr !== "c" || sp !== "r" || Date.parse(se) < Date.now()) return false;
  const text = `${sp}\n\n${se}\n/blob/${account}/${container}\n\n\n\n${sv}\n${sr}\n\n\n\n\n\n\n`;
  return sig === createHmac("sha256", Buffer.from(key, "base64")).update(text).digest("base64");
}
