/** Content of exactly the version that was listed. */
import { type Body, type ByteRange, type FileEntry, SourceError } from "@pannier/core/adapter";
import {
  contentOf,
  ifMatch,
  rangeHeader,
  whyOtherPart,
  whyOtherVersion,
} from "@pannier/http-client";
import type { BlobService } from "./service.ts";

/**
 * Reads a blob, or a part of it.
 *
 * @param located its `ref` is the ETag, where it has one
 * @param listedAt when it was listed, by the server's clock
 * @throws SourceError `changed` where the blob is another by now
 */
export async function readBlob(
  service: BlobService,
  { key, ref: etag }: { readonly key: string; readonly ref: string | undefined },
  { path, size, mtime }: FileEntry,
  listedAt: number,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Body> {
  // The service refuses a part that begins where the blob ends.
  if (range !== undefined && (range.length === 0 || range.offset >= (size ?? Infinity))) {
    return new Uint8Array(0);
  }
  const part = range !== undefined && (range.offset > 0 || range.length !== undefined);
  const ask = (conditions: Readonly<Record<string, string>>) =>
    service({
      key,
      subject: path,
      headers: { ...conditions, ...(part ? { range: rangeHeader(range) } : {}) },
      operation: "read",
      signal,
    });
  const conditions = ifMatch(etag === undefined ? undefined : `"${etag}"`);
  const response = await ask(conditions).catch((error: unknown) => {
    signal.throwIfAborted();
    const unmet = error instanceof SourceError && error.code === "changed";
    if (!unmet || etag === undefined) throw error;
    // It changed; or what stands between gives another ETag to the service than it listed.
    return ask({});
  });
  const reason =
    whyOtherVersion(response, { etag, mtime }, listedAt) ??
    whyOtherPart(response, size, part ? range : undefined);
  if (reason !== undefined) {
    await response.discard();
    throw new SourceError("changed", `${path}: ${reason}`);
  }
  return contentOf(response);
}
