/** What the API answers in JSON: a page of a listing, or one object. */
import { SourceError } from "@pannier/core/adapter";
import { type HttpResponse, readBytes } from "@pannier/http-client";

/** What is asked about an object; the rest of its metadata would be most of a page. */
export const FIELDS = "name,size,generation,md5Hash,crc32c,updated";
/** The most that a page may have. */
export const PAGE = 1000;
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

interface Page {
  readonly items: readonly GcsObject[];
  /** Set where there are more pages: the next request sends it as `pageToken`. */
  readonly nextPageToken: string | undefined;
}

export async function readPage(response: HttpResponse): Promise<Page> {
  const page = await readJson(response, MAX_PAGE);
  if (!isPage(page)) throw notGcs();
  const { items = [], nextPageToken } = page;
  return { items, nextPageToken: nextPageToken || undefined };
}

export const readMetadata = (response: HttpResponse) => readJson(response, MAX_METADATA);

/** @throws SourceError `invalid` where it is not one */
export function asObject(value: unknown): GcsObject {
  if (!isObject(value)) throw notGcs();
  return value;
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
