/** The blobs that a URL means, listed side by side where the service can begin anywhere. */
import { type SourceContext, SourceError } from "@pannier/core/adapter";
import { timeFingerprint } from "@pannier/http-client";
import {
  listingClock,
  type ListObjectsPage,
  queryOf,
  type StoredObject,
  type StoreListing,
} from "@pannier/object-store";
import { type ListedBlob, type Page, parsePage } from "./page.ts";
import type { Container } from "./request.ts";

/** Pages asked for at once. */
const AT_ONCE = 8;
/** `startFrom` is understood from here on; services that lag behind refuse the version, or pass the parameter over. */
const START_FROM_VERSION = "2026-02-06";

/** What is known of the service once it was asked. */
interface Known {
  startFrom?: boolean;
}

export interface Lister {
  /** Begins a listing. The first page is there when its promise resolves, since that tells the order. */
  list(signal: AbortSignal): Promise<StoreListing>;
  /** When the last one began, by the server's clock, in milliseconds. */
  listedAt(): number;
}

export function makeLister(
  { base, ask }: Container,
  prefix: string,
  retry: SourceContext["retry"],
): Lister {
  const known: Known = {};
  const clock = listingClock();

  return { list, listedAt: clock.began };

  async function list(signal: AbortSignal): Promise<StoreListing> {
    clock.restart();
    const first = await retry(() => getPage({ prefix }, signal), signal);
    const { hierarchical, next } = first;
    const beginsAnywhere =
      !hierarchical &&
      next !== undefined &&
      (await retry(() => canStartFrom(first, signal), signal));
    let unused: Page | undefined = first;

    const listPage: ListObjectsPage = async (asked, { after, to }, marker, pageSignal) => {
      let page = asked === prefix && after === undefined && marker === undefined && unused;
      unused = undefined;
      page ||= await getPage(
        // Of the single object that may be meant, nothing but itself is of interest.
        {
          prefix: asked,
          marker,
          startFrom: after,
          maxresults: to === asked ? "1" : undefined,
        },
        pageSignal,
      );
      const items = page.blobs
        .filter(({ key }) => key !== after)
        .map((blob) => toObject(blob, clock.began()));
      return { items, next: page.next };
    };
    const atOnce = beginsAnywhere ? AT_ONCE : 1;
    // A hierarchical namespace lists directory by directory, `a/b` before `a-b`. A flat one lists in the order of UTF-16 units: not documented
    // beyond "alphabetical", found by trying (https://github.com/blobfile/blobfile/pull/238), and so in Azurite.
    return { listPage, atOnce, order: hierarchical ? "none" : "utf-16" };
  }

  async function getPage(
    query: Readonly<Record<string, string | undefined>>,
    signal: AbortSignal,
  ): Promise<Page> {
    const url = new URL(base);
    const listing = { restype: "container", comp: "list", include: "metadata" };
    // Not by searchParams, which write a blank as "+"; and nothing empty, which the SDK's signature leaves out.
    url.search = queryOf({ ...listing, ...query, prefix: query["prefix"] || undefined });
    const version = query["startFrom"] === undefined ? undefined : START_FROM_VERSION;
    const response = await ask({ url, version, operation: "list", signal });
    clock.answered(response);
    return parsePage(response.body);
  }

  /** Asks once for what is known to be there: the last blob of the first page. */
  async function canStartFrom({ blobs }: Page, signal: AbortSignal): Promise<boolean> {
    const last = blobs.findLast(({ unreadable }) => unreadable === undefined)?.key;
    if (known.startFrom !== undefined || last === undefined) return known.startFrom ?? false;
    const query = { prefix, startFrom: last, maxresults: "1" };
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
