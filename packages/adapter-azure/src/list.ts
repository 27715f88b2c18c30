/** The blobs that a URL means, listed side by side where the service can begin anywhere. */
import { type Listing, type SourceContext, SourceError, type Scope } from "@pannier/core/adapter";
import {
  listObjects,
  type ListObjectsPage,
  type Root,
  type StoredObject,
} from "@pannier/object-store";
import { serverTime, timeFingerprint } from "@pannier/http-client";
import type { Api } from "./request.ts";
import { compareUnits, inByteOrder } from "./order.ts";
import { type ListedBlob, type Page, parsePage } from "./page.ts";

/** Pages asked for at once. */
const AT_ONCE = 8;
/** `startFrom` is understood from here on; services that lag behind refuse the version, or pass the parameter over. */
const START_FROM_VERSION = "2026-02-06";

export interface BlobListingInit {
  readonly api: Api;
  readonly root: Root;
  /** For messages. */
  readonly endpoint: string;
  readonly warn: (message: string) => void;
  /** As in the source's context. */
  readonly retry: SourceContext["retry"];
}

/** What is known of the service once it was asked. */
interface Known {
  startFrom?: boolean;
}

export interface ListBlobs {
  /** The first page is there when its promise resolves, since that tells the order. */
  list(signal: AbortSignal, scope?: Scope): Promise<Listing>;
  /** When the last listing began, by the server's clock, in milliseconds. */
  listedAt(): number;
}

export function createListing(init: BlobListingInit): ListBlobs {
  const { api, root, endpoint, warn, retry } = init;
  const known: Known = {};
  let listedAt = Date.now();
  let begun = false;

  return { list, listedAt: () => listedAt };

  async function list(signal: AbortSignal, scope?: Scope): Promise<Listing> {
    begun = false;
    const first = await getPage({ prefix: root.prefix }, signal);
    const { hierarchical, next } = first;
    const beginsAnywhere =
      !hierarchical && next !== undefined && (await canStartFrom(first, signal));
    let unused: Page | undefined = first;

    const listPage: ListObjectsPage = async (prefix, { after, to }, marker, pageSignal) => {
      let page = prefix === root.prefix && after === undefined && marker === undefined && unused;
      unused = undefined;
      page ||= await getPage(
        // Of the single object that may be meant, nothing but itself is of interest.
        { prefix, marker, startFrom: after, maxresults: to === prefix ? "1" : undefined },
        pageSignal,
      );
      const items = page.blobs
        .filter(({ key }) => key !== after)
        .map((blob) => toObject(blob, listedAt));
      return { items, next: page.next };
    };
    const entries = listObjects(
      {
        root,
        scope,
        listPage,
        warn,
        endpoint: async () => endpoint,
        atOnce: beginsAnywhere ? AT_ONCE : 1,
        // A hierarchical namespace lists directory by directory, `a/b` before `a-b`: the engine sorts.
        compare: hierarchical ? () => 1 : compareUnits,
      },
      signal,
    );
    return hierarchical
      ? { ordered: false, entries }
      : { ordered: true, entries: inByteOrder(entries, ({ path }) => path) };
  }

  async function getPage(
    query: Readonly<Record<string, string | undefined>>,
    signal: AbortSignal,
  ): Promise<Page> {
    const ask = async () => {
      const version = query["startFrom"] === undefined ? undefined : START_FROM_VERSION;
      const response = await api.list({ include: "metadata", ...query }, version, signal);
      if (!begun) listedAt = serverTime(response);
      begun = true;
      return parsePage(response.body);
    };
    return retry(ask, signal);
  }

  /** Asks once for what is known to be there: the last blob of the first page. */
  async function canStartFrom({ blobs }: Page, signal: AbortSignal): Promise<boolean> {
    const last = blobs.findLast(({ unreadable }) => unreadable === undefined)?.key;
    if (known.startFrom !== undefined || last === undefined) return known.startFrom ?? false;
    const query = { prefix: root.prefix, startFrom: last, maxresults: "1" };
    try {
      const page = await getPage(query, signal);
      return (known.startFrom = page.blobs[0]?.key === last);
    } catch (error) {
      signal.throwIfAborted();
      // The version is not known there: then the blobs come one page after the other.
      if (error instanceof SourceError && !error.transient && error.code === "unavailable") {
        return (known.startFrom = false);
      }
      throw error;
    }
  }
}

/** @param now when the listing began */
function toObject(
  { key, size, mtime, etag, md5, type, directory, unreadable }: ListedBlob,
  now: number,
): StoredObject {
  // Of other kinds the digest may be that of an earlier content: appending leaves it as it is.
  const digest = type === "BlockBlob" && md5 !== undefined ? hexMd5(md5) : undefined;
  // One of the two is there.
  const version = etag === undefined ? timeFingerprint(size, mtime ?? 0, now) : `etag:${etag}`;
  return {
    key,
    size,
    directory: directory && size === 0,
    unreadable,
    mtime,
    fingerprint: digest === undefined ? version : `md5:${digest.value}`,
    digest,
    ref: etag,
  };
}

function hexMd5(base64: string): { algorithm: "md5"; value: string } | undefined {
  const bytes = Buffer.from(base64, "base64");
  return bytes.length === 16 ? { algorithm: "md5", value: bytes.toString("hex") } : undefined;
}
