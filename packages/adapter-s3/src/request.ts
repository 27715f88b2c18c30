/** The questions that are asked of S3: a page of a listing, one object's headers, its content. Signed here, on the shared connections. */
import { type Body, type ByteRange, InternalError, SourceError } from "@pannier/core/adapter";
import {
  contentOf,
  type HttpClient,
  type HttpResponse,
  isTimeFingerprint,
  rangeHeader,
  readText,
  serverTime,
} from "@pannier/http-client";
import { type KeyRange, markerVersion } from "@pannier/object-store";
import type { Connection, Place } from "./connection.ts";
import { compositeOf, etagDigest, partsOf, wholeDigest } from "./digest.ts";
import {
  type Refusal,
  isElsewhere,
  isExpired,
  isUnexplained,
  isUnknown,
  readRefusal,
  refusalError,
} from "./errors.ts";
import type { S3Settings } from "./options.ts";
import { isEscaped, type ListedPage, type Next, parseObjects, parseVersions } from "./page.ts";
import type { LaneData } from "./s3-lane.ts";
import { createSigner, encodePath, type Keys, queryOf } from "./sign.ts";
import { type Version, whyNot } from "./content.ts";

/** 1,000 keys of 1,024 bytes, each of which may be escaped as three. */
const MAX_PAGE = 8 << 20;

export interface Api {
  /** Tells that another listing begins. */
  begin(): void;
  page(
    prefix: string,
    range: KeyRange,
    continuation: Next | undefined,
    signal: AbortSignal,
  ): Promise<ListedPage>;
  /** What tells the newest version of an object from others. */
  inspect(key: string, signal: AbortSignal): Promise<string>;
  content(version: Version, range: ByteRange | undefined, signal: AbortSignal): Promise<Body>;
  /** What a lane has to know; `undefined` where a proxy is in between. */
  lane(): Promise<Omit<LaneData, "root"> | undefined>;
}

interface Request {
  readonly method?: "GET" | "HEAD";
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Refusals that are thrown as {@link Declined}: what was asked for can be had in another way. */
  readonly decline?: (refusal: Refusal) => boolean;
  readonly operation: string;
  readonly signal: AbortSignal;
}

/** The server does not do what was asked of it, or says that a condition is not met. */
class Declined extends InternalError {
  constructor() {
    super("the server declined");
  }
}

/** A condition that is not met, or that the server does not know. */
function isUnmet({ status, code }: Refusal): boolean {
  return status === 412 || status === 501 || code === "NotImplemented";
}

/** What servers say to a listing of a kind that they do not know. */
function isUnknownListing({ status, code }: Refusal): boolean {
  return (
    status === 501 ||
    (status === 400 && /^(?:NotImplemented|Invalid\w*|Unsupported\w*|)$/.test(code))
  );
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
  /** When the last listing began, by the server's clock. */
  let listedAt = Date.now();
  let begun = false;
  /** The server lists as it was done before there were tokens. */
  let old = false;
  /** The server's conditions do not compare what it lists. */
  let unconditional = false;
  /** Whether listed keys are escaped, once it is known. */
  let escaped: Promise<boolean> | undefined;

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
        headers:
          keys === undefined ? headers : sign({ method, url, headers }, keys, where, new Date()),
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
      if (request.decline?.(refusal) === true) throw new Declined();
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
        ? new SourceError("auth", error.message, {
            hint: error.hint,
            reached: error.reached,
            transient: true,
          })
        : error;
    }
  }

  /** The digest that only HEADs tell: of the whole object, or of its parts, where all but the last of them are of one size. */
  async function digestByHead(
    { key, size = 0, fingerprint }: Version,
    conditions: Pick<Request, "query" | "headers" | "decline">,
    signal: AbortSignal,
  ) {
    const parts = partsOf(fingerprint);
    const head = async (partNumber?: number) => {
      const { headers } = await ask(key, {
        ...conditions,
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

  /** A page as the server sends it, asked for in the way that it knows. */
  async function listPage(
    prefix: string,
    { after }: KeyRange,
    continuation: Next | undefined,
    signal: AbortSignal,
  ): Promise<{ text: string; now: number }> {
    const asked = (query: Request["query"], decline?: Request["decline"]) =>
      ask(undefined, {
        query: { prefix: prefix || undefined, "encoding-type": "url", ...query },
        operation: "list",
        signal,
        ...(decline === undefined ? {} : { decline }),
      });
    const marked = (marker: string | undefined) => asked({ marker });
    const send = async (): Promise<HttpResponse> => {
      if (settings.versions) {
        const { key, version } = { key: after, version: "", ...continuation };
        return asked({
          versions: "",
          "key-marker": key,
          "version-id-marker": version || undefined,
        });
      }
      if (continuation !== undefined && "marker" in continuation)
        return marked(continuation.marker);
      const token =
        continuation === undefined ? undefined : (continuation as { token: string }).token;
      if (old) return marked(after);
      try {
        return await asked(
          {
            "list-type": "2",
            "start-after": token === undefined ? after : undefined,
            "continuation-token": token,
          },
          token === undefined ? isUnknownListing : undefined,
        );
      } catch (error) {
        if (!(error instanceof Declined)) throw error;
        // Whatever it is that was wrong, this is told of it.
        const response = await marked(after);
        old = true;
        return response;
      }
    };
    const response = await send();
    return { text: await readText(response.body, MAX_PAGE), now: serverTime(response) };
  }

  /** Asks for one key in both of its readings. */
  async function askEscaped(
    { told, plain, unescaped }: Exclude<ReturnType<typeof isEscaped>, boolean>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const isThere = async (key: string) => {
      try {
        await ask(key, {
          method: "HEAD",
          operation: "list",
          signal,
          decline: ({ status }) => status === 404,
        });
        return true;
      } catch (error) {
        if (error instanceof Declined) return false;
        signal.throwIfAborted();
        // May not be asked about: then what the page says has to do.
        if (error instanceof SourceError && !error.transient) return undefined;
        throw error;
      }
    };
    // By a key that is not UTF-8 nothing can be asked for.
    if (unescaped === undefined) return told && (await isThere(plain)) !== true;
    const [asTold, other] = told ? [unescaped, plain] : [plain, unescaped];
    if ((await isThere(asTold)) !== false) return told;
    return (await isThere(other)) === true ? !told : told;
  }

  /** @returns `undefined` where the page says it, and nothing in it depends on that */
  async function readEscaping(text: string, signal: AbortSignal): Promise<boolean | undefined> {
    // Amazon does what it says.
    if (escaped !== undefined || new URL((await place)?.base ?? "").host.endsWith(".amazonaws.com"))
      return escaped;
    const found = isEscaped(text);
    if (typeof found === "boolean") return found;
    escaped ??= askEscaped(found, signal);
    return escaped.catch((error: unknown) => {
      escaped = undefined;
      throw error;
    });
  }

  return {
    begin() {
      begun = false;
    },

    async page(prefix, range, continuation, signal) {
      const { text, now } = await listPage(prefix, range, continuation, signal);
      if (!begun) listedAt = now;
      begun = true;
      const page = { now, escaped: await readEscaping(text, signal) };
      const { items, next, passed } = settings.versions
        ? parseVersions(text, page)
        : parseObjects(text, page);
      if (next !== undefined && "marker" in next) old = true;
      return { items, next, passed };
    },

    async inspect(key, signal) {
      const response = await ask(key, { method: "HEAD", operation: "probe", signal });
      const { headers } = response;
      await response.discard();
      // Where versions are suspended each has the id "null"; where they are kept, one content may come again.
      return `${headers["x-amz-version-id"] ?? ""} ${markerVersion(response, key)}`;
    },

    async lane() {
      const where = await (place ??= connection.place());
      const target = await http.direct(new URL(where.base));
      if (target === undefined) return undefined;
      const keys = await connection.keys();
      const { requesterPays } = settings;
      return { target, place: where, keys, requesterPays, unconditional, listedAt };
    },

    async content(version, range, signal) {
      const { size, fingerprint, versionId } = version;
      const nothing =
        range !== undefined && (range.length === 0 || range.offset >= (size ?? Infinity));
      if (nothing) return new Uint8Array(0);
      if (unconditional || versionId !== undefined || isTimeFingerprint(fingerprint)) {
        return read(version, range, {}, signal);
      }
      const conditions = { headers: { "if-match": `"${fingerprint}"` }, decline: isUnmet };
      try {
        return await read(version, range, conditions, signal);
      } catch (error) {
        if (!(error instanceof Declined)) throw error;
        // It changed; or the server compares with another ETag than it lists, or knows no conditions.
        const body = await read(version, range, {}, signal);
        unconditional = true;
        return body;
      }
    },
  };

  async function read(
    version: Version,
    range: ByteRange | undefined,
    match: Pick<Request, "headers" | "decline">,
    signal: AbortSignal,
  ): Promise<Body> {
    const { key, fingerprint, versionId } = version;
    const partial = range !== undefined && !(range.offset === 0 && range.length === undefined);
    const conditions = { query: { versionId }, ...match };
    // Of an answer that begins with the first byte only: what is hashed later on is joined to it.
    const begins = (range?.offset ?? 0) === 0;
    const askForDigest = () => digestByHead(version, conditions, signal);
    const composite = begins && partsOf(fingerprint) !== undefined ? askForDigest() : undefined;
    composite?.catch(() => {});
    const response = await ask(key, {
      ...conditions,
      headers: {
        ...match.headers,
        ...(partial ? { range: rangeHeader(range) } : { "x-amz-checksum-mode": "ENABLED" }),
      },
      operation: "read",
      signal,
    });
    const reason = whyNot(response, version, partial ? range : undefined, listedAt);
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
  }
}
