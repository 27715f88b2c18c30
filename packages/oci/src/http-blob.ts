/** Blobs over HTTP: whole, or parts of them. */
import { type HttpResponse, partOf } from "@pannier/http-client";
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
  return partOf(response, range);
}

async function* none(): AsyncGenerator<Uint8Array> {}
