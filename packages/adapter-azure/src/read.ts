/** Content of exactly the version that was listed. */
import { type Body, type ByteRange, type FileEntry, SourceError } from "@pannier/core";
import { contentOf, type HttpResponse, rangeHeader, whyOtherPart } from "@pannier/http-client";
import type { BlobService } from "./service.ts";

/**
 * Reads a blob, or a part of it, in one request.
 *
 * @param located its `ref` is the ETag
 * @throws SourceError `changed` where the blob has another ETag by now
 */
export async function readBlob(
  service: BlobService,
  { key, ref: etag }: { readonly key: string; readonly ref: string | undefined },
  { path, size }: FileEntry,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Body> {
  if (etag === undefined)
    throw new SourceError("changed", `${path}: it is not known which version`);
  // The service refuses a part that begins where the blob ends.
  if (range !== undefined && (range.length === 0 || range.offset >= (size ?? Infinity))) {
    return new Uint8Array(0);
  }
  const part = range !== undefined && (range.offset > 0 || range.length !== undefined);
  const response = await service({
    key,
    subject: path,
    headers: {
      "if-match": `"${etag}"`,
      ...(part ? { range: rangeHeader(range) } : {}),
    },
    operation: "read",
    signal,
  });
  const reason = whyOther(response, etag, size, part ? range : undefined);
  if (reason !== undefined) {
    await response.discard();
    throw new SourceError("changed", `${path}: ${reason}`);
  }
  return contentOf(response);
}

/** Looked at here as well: what stands between may ignore conditions and ranges. */
function whyOther(
  response: HttpResponse,
  etag: string,
  size: number | undefined,
  range: ByteRange | undefined,
): string | undefined {
  if (response.headers["etag"]?.replace(/^"(.*)"$/, "$1") !== etag)
    return "the blob changed since it was listed";
  return whyOtherPart(response, size, range);
}
