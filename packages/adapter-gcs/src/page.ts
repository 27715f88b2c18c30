/** What the API answers in JSON: a page of a listing, or one object. */
import { SourceError } from "@pannier/core/adapter";
import { type HttpResponse, readJson } from "@pannier/http-client";

/** What is asked about an object; the rest of its metadata would be most of a page. */
export const FIELDS = "name,size,generation,md5Hash,crc32c,updated";
/** The most that a page may have. */
export const PAGE = 1000;
/** A page has at most 1,000 names of 1,024 bytes, each of which may be escaped as six characters. */
const OF_PAGE = { size: 8 << 20, values: 10 * PAGE };
const OF_METADATA = { size: 64 * 1024, values: 1000 };

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
  const page = await readJson(response.body, OF_PAGE, notGcs);
  if (!isPage(page)) throw notGcs();
  const { items = [], nextPageToken } = page;
  return { items, nextPageToken: nextPageToken || undefined };
}

export const readMetadata = ({ body }: HttpResponse) => readJson(body, OF_METADATA, notGcs);

/** @throws SourceError `invalid` where it is not one */
export function asObject(value: unknown): GcsObject {
  if (!isObject(value)) throw notGcs();
  return value;
}

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
