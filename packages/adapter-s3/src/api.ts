/** The questions that are asked of S3: a page of a listing, one object's headers, its content. Signed here, on the shared connections. */
import { type Body, type ByteRange, type FileEntry, SourceError } from "@pannier/core";
import {
  contentOf,
  type HttpClient,
  type HttpResponse,
  rangeHeader,
  readBytes,
  whyOtherPart,
} from "@pannier/http-client";
import type { KeyRange } from "@pannier/object-store";
import type { Connection, Place } from "./connection.ts";
import { compositeOf, etagDigest, etagOf, partsOf, wholeDigest } from "./digest.ts";
import {
  isElsewhere,
  isExpired,
  isUnexplained,
  isUnknown,
  readRefusal,
  refusalError,
} from "./errors.ts";
import type { S3Settings } from "./options.ts";
import { type ListedPage, parseObjects, parseVersions } from "./page.ts";
import { createSigner, encode, type Keys, queryOf } from "./sign.ts";

/** 1,000 keys of 1,024 bytes, each of which may be escaped as three. */
const MAX_PAGE = 8 << 20;

export interface Api {
  page(
    prefix: string,
    range: KeyRange,
    continuation: string | undefined,
    signal: AbortSignal,
  ): Promise<ListedPage>;
  /** What tells the newest version of an object from others. */
  inspect(key: string, signal: AbortSignal): Promise<string>;
  content(version: Version, range: ByteRange | undefined, signal: AbortSignal): Promise<Body>;
}

interface Version extends Pick<FileEntry, "size" | "fingerprint"> {
  readonly key: string;
  /** To read by, instead of the ETag. */
  readonly versionId: string | undefined;
}

interface Request {
  readonly method?: "GET" | "HEAD";
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly operation: string;
  readonly signal: AbortSignal;
}

export function makeApi(init: {
  readonly http: HttpClient;
  readonly connection: Connection;
  readonly settings: S3Settings;
  /** Keys that were listed as archived: an object that cannot be read for that names them. */
  readonly archived: ReadonlySet<string>;
}): Api {
  const { http, connection, settings, archived } = init;
  const sign = createSigner();
  let place: Promise<Place> | undefined;
  /** Keys that the server took: where it takes them no more, there may be others. */
  const good = new WeakSet<Keys>();

  /** @param key `undefined`: the bucket */
  async function ask(key: string | undefined, request: Request): Promise<HttpResponse> {
    const { method = "GET", query = {}, operation, signal } = request;
    for (let moved = false; ; moved = true) {
      signal.throwIfAborted();
      const where = await (place ??= connection.place());
      const keys = await connection.keys();
      signal.throwIfAborted();
      const search = queryOf(query);
      const path = key === undefined ? where.base.slice(0, -1) : where.base + encodePath(key);
      const url = new URL(search === "" ? path : `${path}?${search}`);
      const headers = {
        ...request.headers,
        ...(settings.requesterPays ? { "x-amz-request-payer": "requester" } : {}),
      };
      const response = await http.request(url, {
        method,
        headers: keys === undefined ? headers : sign({ method, url, headers }, keys, where, now()),
        expect: "any",
        redirect: "manual",
        subject: key,
        operation,
        signal,
      });
      if (response.status === 200 || response.status === 206) {
        if (keys !== undefined) good.add(keys);
        return response;
      }
      const refusal = await readRefusal(response);
      signal.throwIfAborted();
      if (!moved && isElsewhere(refusal) && refusal.region !== where.region) {
        place = connection.place(refusal.region);
        continue;
      }
      if (method === "HEAD" && operation === "probe" && isUnexplained(refusal)) {
        return ask(key, { ...request, method: "GET" });
      }
      const error = refusalError(refusal, key, operation === "read", archived);
      const worthwhile =
        keys !== undefined && (isExpired(refusal) || (isUnknown(refusal) && good.has(keys)));
      // The next try signs with others.
      const again = worthwhile && (await connection.renew(keys));
      throw again
        ? new SourceError("auth", error.message, { hint: error.hint, transient: true })
        : error;
    }
  }

  /** The digest that only HEADs tell: of the whole object, or of its parts, where all but the last of them are of one size. */
  async function digestByHead(
    { key, size = 0, fingerprint }: Version,
    conditions: Pick<Request, "query" | "headers">,
    signal: AbortSignal,
  ) {
    const parts = partsOf(fingerprint);
    const head = async (partNumber?: number) => {
      const { headers } = await ask(key, {
        method: "HEAD",
        query: { ...conditions.query, partNumber: partNumber?.toString() },
        headers: { ...conditions.headers, "x-amz-checksum-mode": "ENABLED" },
        operation: "read",
        signal,
      });
      return headers;
    };
    try {
      const whole = await head();
      const digest = wholeDigest(whole);
      if (digest !== undefined || parts === undefined) return digest;
      if (parts === 1) return compositeOf(whole, size);
      const [first, last] = await Promise.all([head(1), head(parts)]);
      const partSize = Number(first["content-length"]);
      const rest = size - (parts - 1) * partSize;
      const even = rest > 0 && rest <= partSize && Number(last["content-length"]) === rest;
      return even ? compositeOf(whole, partSize) : undefined;
    } catch (error) {
      signal.throwIfAborted();
      // The content itself can be read; a server that knows no parts vouches for nothing.
      if (error instanceof SourceError && !error.transient) return undefined;
      throw error;
    }
  }

  return {
    async page(prefix, { after }, continuation, signal) {
      const common = { prefix: prefix || undefined, "encoding-type": "url" };
      const first = continuation === undefined;
      const [key, version] =
        settings.versions && !first ? (JSON.parse(continuation) as [string, string]) : [];
      const query = settings.versions
        ? {
            ...common,
            versions: "",
            "key-marker": first ? after : key,
            "version-id-marker": version || undefined,
          }
        : {
            ...common,
            "list-type": "2",
            "start-after": first ? after : undefined,
            "continuation-token": continuation,
          };
      const response = await ask(undefined, { query, operation: "list", signal });
      const text = String(await readBytes(response.body, MAX_PAGE));
      return settings.versions ? parseVersions(text) : parseObjects(text);
    },

    async inspect(key, signal) {
      const response = await ask(key, { method: "HEAD", operation: "probe", signal });
      const { headers } = response;
      await response.discard();
      // Where versions are suspended each has the id "null"; where they are kept, one content may come again.
      return `${headers["x-amz-version-id"] ?? ""} ${etagOf(headers)}`;
    },

    async content(version, range, signal) {
      const { key, size, fingerprint, versionId } = version;
      const nothing =
        range !== undefined && (range.length === 0 || range.offset >= (size ?? Infinity));
      if (nothing) return new Uint8Array(0);
      const partial = range !== undefined && !(range.offset === 0 && range.length === undefined);
      const conditions = {
        query: { versionId },
        headers: versionId === undefined ? { "if-match": `"${fingerprint}"` } : {},
      };
      // Of an answer that begins with the first byte only: what is hashed later on is joined to it.
      const begins = (range?.offset ?? 0) === 0;
      const askForDigest = () => digestByHead(version, conditions, signal);
      const composite = begins && partsOf(fingerprint) !== undefined ? askForDigest() : undefined;
      composite?.catch(() => {});
      const response = await ask(key, {
        ...conditions,
        headers: {
          ...conditions.headers,
          ...(partial ? { range: rangeHeader(range) } : { "x-amz-checksum-mode": "ENABLED" }),
        },
        operation: "read",
        signal,
      });
      const reason = whyNot(response, version, partial ? range : undefined);
      if (reason !== undefined) {
        await response.discard();
        throw new SourceError("changed", `${key}: ${reason}`);
      }
      const { headers } = response;
      try {
        // The checksum of a part's answer may be that of a part.
        let digest = (await composite) ?? (partial ? etagDigest(headers) : wholeDigest(headers));
        // Encrypted by a key of KMS: the ETag is no MD5.
        if (digest === undefined && partial && begins && composite === undefined) {
          digest = await askForDigest();
        }
        const body = await contentOf(response);
        return digest === undefined ? body : Object.assign(body, { digest });
      } catch (error) {
        await response.discard();
        throw error;
      }
    },
  };
}

function now(): Date {
  return new Date();
}

/** Why an answer is not what was asked for; `undefined` if it is. Servers and proxies ignore what they do not know. */
function whyNot(
  response: HttpResponse,
  { size, fingerprint, versionId }: Version,
  range: ByteRange | undefined,
): string | undefined {
  const { headers } = response;
  const served = versionId === undefined ? undefined : headers["x-amz-version-id"];
  if (etagOf(headers) !== fingerprint || (served !== undefined && served !== versionId)) {
    return "the object changed since it was listed";
  }
  return whyOtherPart(response, size, range);
}

function encodePath(key: string): string {
  return key.includes("/") ? key.split("/").map(encode).join("/") : encode(key);
}
