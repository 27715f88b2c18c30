/** The content of a blob, as long as it is the version that was listed. */
import type { Body, ByteRange } from "@pannier/core/adapter";
import { versionMismatch } from "@pannier/http-client";
import { type ListedObject, readObject } from "@pannier/object-store";
import { blobUrl } from "./content.ts";
import type { Container } from "./request.ts";

/**
 * @param listedAt when it was listed, by the server's clock
 * @throws SourceError `changed` where the blob is another by now
 */
export function readBlob(
  container: Container,
  { key, ref: etag, entry: { path, size, mtime } }: ListedObject,
  listedAt: number,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Body> {
  const url = new URL(blobUrl(container.base, key));
  return readObject({
    subject: path,
    size,
    range,
    etag,
    ask: (headers) => container.ask({ url, headers, subject: path, operation: "read", signal }),
    mismatch: (response) => versionMismatch(response, { etag, mtime }, listedAt),
  });
}
