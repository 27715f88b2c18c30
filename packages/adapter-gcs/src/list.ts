/** Pages of the API as pages of a listing. */
import type { Digest } from "@pannier/core/adapter";
import type { ListObjectsPage, StoredObject } from "@pannier/object-store";
import type { GcsSettings } from "./options.ts";
import { FIELDS, type GcsObject, PAGE, readPage } from "./page.ts";
import { ask, type Bucket } from "./request.ts";

/** Listings may go on side by side as far as a bucket's rate of requests allows: 5,000 a second before it scales. */
export const LISTED_AT_ONCE = 8;

/** The API's ranges have their start in them and not their end; those of a listing the other way round. */
export function listPageOf(
  of: Bucket,
  { bucket, userProject }: Pick<GcsSettings, "bucket" | "userProject">,
): ListObjectsPage {
  return async (prefix, { after, to }, pageToken, signal) => {
    const opened = await of.connection.current(signal);
    const response = await ask(of, opened, {
      url: opened.objects,
      query: {
        prefix: prefix || undefined,
        startOffset: after || undefined,
        // Some key behind the last one. Those in between are passed over.
        endOffset: to === undefined ? undefined : `${to} `,
        pageToken,
        maxResults: String(PAGE),
        fields: `nextPageToken,items(${FIELDS})`,
        userProject,
      },
      operation: "list",
      asked: { kind: "bucket", bucket },
      signal,
    });
    const { items, nextPageToken } = await readPage(response);
    const own = items[0]?.name === after ? items.slice(1) : items;
    return { items: own.map(toStored), next: nextPageToken };
  };
}

/**
 * What tells two contents apart is the MD5 where there is one: an upload of the same content once more is no change.
 * Composite objects have none; a CRC-32C is enough to find damage, and not to tell contents apart.
 */
function toStored(object: GcsObject): StoredObject {
  const { name, size, generation, updated, md5Hash, crc32c } = object;
  const digest = digestOf("md5", md5Hash) ?? digestOf("crc32c", crc32c);
  return {
    key: name,
    size: Number(size),
    mtime: updated === undefined ? undefined : Date.parse(updated),
    fingerprint: digest?.algorithm === "md5" ? `md5:${digest.value}` : `generation:${generation}`,
    digest,
    ref: generation,
  };
}

const LENGTHS = { md5: 16, crc32c: 4 } as const;

/** `undefined` where it is none: servers have left it empty. */
function digestOf(algorithm: "md5" | "crc32c", base64: string | undefined): Digest | undefined {
  const bytes = Buffer.from(base64 ?? "", "base64");
  if (bytes.byteLength !== LENGTHS[algorithm]) return undefined;
  return { algorithm, value: bytes.toString("hex") };
}
