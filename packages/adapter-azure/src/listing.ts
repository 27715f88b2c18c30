/** The blobs below a prefix, page by page. */
import type { FileEntry, Listing } from "@pannier/core";
import { inByteOrder } from "./order.ts";
import { type ListedBlob, type Page, parsePage } from "./page.ts";
import type { BlobService } from "./service.ts";

/** Lists; the first page is there when the promise resolves, since it tells the order. */
export async function listBlobs(
  service: BlobService,
  prefix: string,
  signal: AbortSignal,
): Promise<Listing> {
  const getPage = async (marker?: string): Promise<Page> => {
    const { body } = await service({
      query: { restype: "container", comp: "list", include: "metadata", prefix, marker },
      operation: "list",
      signal,
    });
    return parsePage(body);
  };
  const first = await getPage();
  const pages = allPages(first, getPage);
  // A hierarchical namespace lists directory by directory: `a/b` before `a-b`.
  if (first.hierarchical) return { ordered: false, entries: toEntries(pages, prefix) };
  return {
    ordered: true,
    entries: toEntries(
      inByteOrder(pages, ({ key }) => key),
      prefix,
    ),
  };
}

async function* allPages(
  first: Page,
  getPage: (marker: string) => Promise<Page>,
): AsyncGenerator<readonly ListedBlob[]> {
  yield first.blobs;
  for (let { next } = first; next !== undefined;) {
    const page = await getPage(next);
    yield page.blobs;
    next = page.next;
  }
}

async function* toEntries(
  pages: AsyncIterable<readonly ListedBlob[]>,
  prefix: string,
): AsyncGenerator<FileEntry[]> {
  for await (const blobs of pages) {
    yield blobs.filter((blob) => !standsForDirectory(blob)).map((blob) => toEntry(blob, prefix));
  }
}

/** Of a hierarchical namespace, or made by the portal and by Hadoop's drivers: no content. */
function standsForDirectory({ key, size, directory }: ListedBlob): boolean {
  return size === 0 && (directory || key.endsWith("/"));
}

function toEntry({ key, size, mtime, etag, md5, type }: ListedBlob, prefix: string): FileEntry {
  // Of other kinds the digest may be that of an earlier content: appending leaves it as it is.
  const digest = type === "BlockBlob" && md5 !== undefined ? hexMd5(md5) : undefined;
  return {
    kind: "file",
    path: key.slice(prefix.length),
    size,
    mtime,
    fingerprint: digest === undefined ? `etag:${etag}` : `md5:${digest.value}`,
    digest,
    ref: etag,
  };
}

function hexMd5(base64: string): { algorithm: "md5"; value: string } | undefined {
  const bytes = Buffer.from(base64, "base64");
  return bytes.length === 16 ? { algorithm: "md5", value: bytes.toString("hex") } : undefined;
}
