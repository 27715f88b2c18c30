/** Parts of files, out of answers that are one or the whole. */
import { type ByteRange, SourceError } from "@pannier/core/adapter";
import type { HttpResponse } from "./response.ts";

/**
 * The part that was asked for, also out of an answer that is the whole: caches give that. What follows the part is not waited for.
 *
 * @throws SourceError `invalid` where it is another part
 */
export async function partOf(
  response: Pick<HttpResponse, "status" | "headers" | "body" | "discard">,
  { offset, length = Infinity }: ByteRange,
): Promise<AsyncIterable<Uint8Array>> {
  if (response.status === 200) return slice(response.body, offset, length);
  const [, start, end] = /^bytes (\d+)-(\d+)\//.exec(response.headers["content-range"] ?? "") ?? [];
  const isEnd = length === Infinity || Number(end) === offset + length - 1;
  if (Number(start) === offset && isEnd) return response.body;
  await response.discard();
  throw new SourceError("invalid", "the server sent another part than was asked for");
}

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
