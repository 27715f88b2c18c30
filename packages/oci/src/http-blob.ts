/** Blobs over HTTP: whole, or parts of them. */
import { SourceError } from "@pannier/core/adapter";
import type { HttpResponse } from "@pannier/http-client";
import type { Descriptor } from "./manifest.ts";
import { type BlobRange, checkedBlob } from "./store.ts";

/**
 * A blob or a part of it. Ranges are closed: some registries refuse others.
 *
 * @param ask sends the request, and throws for other statuses than those that are expected
 */
export async function readBlob(
  blob: Pick<Descriptor, "digest" | "size">,
  range: BlobRange | undefined,
  ask: (
    headers: Readonly<Record<string, string>>,
    expect: readonly number[],
  ) => Promise<HttpResponse>,
): Promise<AsyncIterable<Uint8Array>> {
  if (range?.length === 0) return none();
  if (range === undefined || (range.offset === 0 && range.length === blob.size)) {
    return checkedBlob((await ask({}, [200])).body, blob);
  }
  const last = range.offset + range.length - 1;
  const response = await ask({ range: `bytes=${range.offset}-${last}` }, [200, 206]);
  if (response.status === 200) return slice(response.body, range.offset, range.length);
  const [, start, end] = /^bytes (\d+)-(\d+)\//.exec(response.headers["content-range"] ?? "") ?? [];
  if (Number(start) === range.offset && Number(end) === last) return response.body;
  await response.discard();
  throw new SourceError("invalid", "the server sent another part than was asked for");
}

async function* none(): AsyncGenerator<Uint8Array> {}

/** A part of an answer that is the whole: caches give that. What follows the part is not waited for. */
async function* slice(
  body: AsyncIterable<Uint8Array>,
  offset: number,
  length: number,
): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const chunk of body) {
    const part = chunk.subarray(Math.max(0, offset - at), Math.max(0, offset + length - at));
    at += chunk.byteLength;
    if (part.byteLength > 0) yield part;
    if (at >= offset + length) return;
  }
}
