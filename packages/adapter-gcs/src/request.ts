/**
 * The three questions of the JSON API that are asked: a page of a listing, one object's metadata (by the SDK), its content.
 *
 * @see https://cloud.google.com/storage/docs/json_api/v1
 */
import { type Body, type ByteRange, SourceError } from "@pannier/core/adapter";
import { type HttpClient, type HttpResponse, readBytes } from "@pannier/http-client";
import { readObject } from "@pannier/object-store";
import { contentUrl, queryOf, STORED, whyOtherGeneration } from "./content.ts";
import { type Connection, metadataOf, type Opened } from "./connection.ts";
import { answerError, type Asked } from "./errors.ts";
import type { GcsSettings } from "./options.ts";

/** What is asked about an object; the rest of its metadata would be most of a page. */
const FIELDS = "name,size,generation,md5Hash,crc32c,updated";
/** The most that a page may have. */
const PAGE = 1000;
/** A page has at most 1,000 names of 1,024 bytes, each of which may be escaped as six characters. */
const MAX_PAGE = 8 << 20;
const MAX_METADATA = 64 * 1024;

/** https://cloud.google.com/storage/docs/json_api/v1/objects#resource */
export interface GcsObject {
  readonly name: string;
  /** Of the stored bytes, decimal. */
  readonly size: string;
  /** Microseconds since the epoch as a rule, decimal. */
  readonly generation: string;
  /** Base64; composite objects have none. */
  readonly md5Hash?: string;
  /** Base64 of four bytes, the highest first. */
  readonly crc32c?: string;
  /** RFC 3339. */
  readonly updated?: string;
}

interface PageRequest {
  readonly prefix: string;
  /** First name of the page, included. */
  readonly startOffset?: string | undefined;
  /** Exclusive upper bound. */
  readonly endOffset?: string | undefined;
  readonly pageToken?: string | undefined;
}

interface Page {
  readonly items: readonly GcsObject[];
  /** Set where there are more pages: the next request sends it as `pageToken`. */
  readonly nextPageToken: string | undefined;
}

export interface Api {
  page(request: PageRequest, signal: AbortSignal): Promise<Page>;
  /** The newest version. */
  object(key: string, signal: AbortSignal): Promise<GcsObject>;
  /** The stored bytes of one version. */
  content(
    key: string,
    version: { readonly generation: string; readonly size: number | undefined },
    range: ByteRange | undefined,
    signal: AbortSignal,
  ): Promise<Body>;
}

interface ApiInit {
  readonly http: HttpClient;
  readonly connection: Connection;
  readonly settings: GcsSettings;
}

type Query = Readonly<Record<string, string | undefined>>;

interface GetRequest {
  readonly url: string;
  /** Where the URL has none yet. */
  readonly query?: Query;
  readonly headers?: Readonly<Record<string, string>>;
  readonly operation: string;
  readonly asked: Asked;
  readonly signal: AbortSignal;
}

export function makeApi({ http, connection, settings }: ApiInit): Api {
  const { bucket, userProject } = settings;

  return {
    async page({ prefix, startOffset, endOffset, pageToken }, signal) {
      const opened = await connection.current(signal);
      const response = await get(opened, {
        url: opened.objects,
        query: {
          prefix: prefix || undefined,
          startOffset: startOffset || undefined,
          endOffset,
          pageToken,
          maxResults: String(PAGE),
          fields: `nextPageToken,items(${FIELDS})`,
          userProject,
        },
        operation: "list",
        asked: { kind: "bucket", bucket },
        signal,
      });
      const page = await readJson(response, MAX_PAGE);
      if (!isPage(page)) throw notGcs();
      const { items = [], nextPageToken } = page;
      return { items, nextPageToken: nextPageToken || undefined };
    },

    async object(key, signal) {
      const opened = await connection.current(signal);
      const found = await metadataOf(opened.bucket, key, FIELDS, async (url, query) => {
        const asked = { kind: "object", key } as const;
        const response = await get(opened, { url, query, operation: "probe", asked, signal });
        return readJson(response, MAX_METADATA);
      });
      if (!isObject(found)) throw notGcs();
      return found;
    },

    async content(key, { generation, size }, range, signal) {
      return readObject({
        subject: key,
        size,
        range,
        async ask(headers) {
          const opened = await connection.current(signal);
          return get(opened, {
            url: contentUrl(opened.objects, key, generation, userProject),
            headers: { ...STORED, ...headers },
            operation: "read",
            asked: { kind: "object", key, generation },
            signal,
          });
        },
        mismatch: (response) => whyOtherGeneration(response, generation),
      });
    },
  };

  async function get(opened: Opened, request: GetRequest): Promise<HttpResponse> {
    const { url, query, headers, operation, asked, signal } = request;
    const response = await http.request(query === undefined ? url : `${url}?${queryOf(query)}`, {
      headers: { ...headers, ...opened.headers },
      expect: "any",
      redirect: "manual",
      subject: asked.kind === "object" ? asked.key : undefined,
      operation,
      signal,
    });
    const { status } = response;
    if (status === 401) {
      const again = connection.refused(opened);
      const error = await answerError(response, asked);
      // The next try signs in anew.
      throw again ? new SourceError("auth", error.message, { ...error, transient: true }) : error;
    }
    if (status !== 200 && status !== 206) throw await answerError(response, asked);
    connection.accepted(opened);
    return response;
  }
}

async function readJson(response: HttpResponse, limit: number): Promise<unknown> {
  const bytes = await readBytes(response.body, limit);
  if (!isFlat(bytes)) throw notGcs();
  try {
    return JSON.parse(bytes.toString());
  } catch {
    throw notGcs();
  }
}

/** Objects and arrays of a page: one for each item, and what is around them. */
const MAX_VALUES = 10 * PAGE;
const MAX_DEPTH = 8;

/**
 * Whether a text has no more objects and arrays than a page may have, and not too many in each other. What has takes the parser
 * seconds, in which nothing else is done: 8 MiB of brackets two.
 */
function isFlat(bytes: Buffer): boolean {
  let depth = 0;
  let values = 0;
  for (let at = 0; at < bytes.byteLength; at++) {
    switch (bytes[at]) {
      case QUOTE:
        // Over a text, which may hold anything.
        for (at++; at < bytes.byteLength && bytes[at] !== QUOTE; at++)
          if (bytes[at] === BACKSLASH) at++;
        break;
      case 0x5b:
      case 0x7b:
        if (++depth > MAX_DEPTH || ++values > MAX_VALUES) return false;
        break;
      case 0x5d:
      case 0x7d:
        depth--;
        break;
    }
  }
  return true;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Nothing in it means that there are no objects, hence the care. */
function isPage(value: unknown): value is Partial<Page> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const { items = [], nextPageToken = "" } = value as Partial<Page>;
  return Array.isArray(items) && items.every(isObject) && typeof nextPageToken === "string";
}

function isObject(value: unknown): value is GcsObject {
  const { name, size, generation } = (value ?? {}) as Partial<GcsObject>;
  return typeof name === "string" && name !== "" && isCount(size) && isCount(generation);
}

function isCount(text: unknown): boolean {
  return typeof text === "string" && /^\d{1,19}$/.test(text);
}

function notGcs(): SourceError {
  return new SourceError("invalid", "the answer is not one of Google Cloud Storage", {
    hint: "check the endpoint",
  });
}
