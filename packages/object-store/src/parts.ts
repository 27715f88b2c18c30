/** Content as the parts in which it is uploaded. */
import { SourceError } from "@pannier/core/adapter";

/** How much goes in one request. */
export interface UploadLimits {
  /** Bytes of a file at most that is uploaded as a whole. */
  readonly whole: number;
  /** Bytes of a part of a larger one, but for the last. */
  readonly part: number;
}

interface Part {
  readonly size: number;
  /** To be read to its end before the next part is asked for. */
  readonly content: AsyncIterable<Uint8Array>;
}

/** Parts one after the other. After the last one the content is read to its end: whatever checks it does that there. */
export async function* inParts(
  content: AsyncIterable<Uint8Array>,
  size: number,
  partSize: number,
): AsyncGenerator<Part> {
  const iterator = content[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array(0);

  async function* take(length: number): AsyncGenerator<Uint8Array> {
    for (let left = length; left > 0;) {
      if (rest.byteLength === 0) {
        const next = await iterator.next();
        if (next.done === true) throw new SourceError("invalid", "the content is too short");
        rest = next.value;
      }
      const piece = rest.subarray(0, left);
      rest = rest.subarray(piece.byteLength);
      left -= piece.byteLength;
      if (piece.byteLength > 0) yield piece;
    }
  }

  try {
    for (let at = 0; at < size; at += partSize) {
      const length = Math.min(partSize, size - at);
      yield { size: length, content: take(length) };
    }
    if (rest.byteLength > 0 || (await iterator.next()).done !== true)
      throw new SourceError("invalid", "the content is too long");
  } finally {
    await iterator.return?.();
  }
}

/** Bytes that are there, as content that comes. */
export async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
