/** The content of a blob, as long as it is the version that was listed. */
import { type Body, type ByteRange, SourceError } from "@pannier/core/adapter";
import { ifMatch, versionMismatch } from "@pannier/http-client";
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
  const read = (headers: Readonly<Record<string, string>>) =>
    container.ask({ url, headers, subject: path, operation: "read", signal });
  return readObject({
    subject: path,
    size,
    range,
    async ask(part) {
      const conditions = ifMatch(etag === undefined ? undefined : `"${etag}"`);
      try {
        return await read({ ...conditions, ...part });
      } catch (error) {
        signal.throwIfAborted();
        const unmet = error instanceof SourceError && error.code === "changed";
        if (!unmet || etag === undefined) throw error;
        // It changed; or what stands between gives another ETag to the service than it listed.
        return read(part);
      }
    },
    mismatch: (response) => versionMismatch(response, { etag, mtime }, listedAt),
  });
}
