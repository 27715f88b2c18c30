/** Reads a file out of a layer by its frames, without the rest of the layer. */
import { decompress } from "@pannier/archive";
import { type Body, type ByteRange, SourceError } from "@pannier/core/adapter";
import type { BlobRange } from "@pannier/oci";
import { createHash } from "node:crypto";
import type { Row } from "./table/rows.ts";

/** A file that can be read so. */
export interface FramedFile {
  readonly size: number;
  readonly sha256: string;
  readonly end: number;
  /** Where frames begin in the layer and in the file, in order. */
  readonly frames: readonly (readonly [offset: number, start: number])[];
}

/** Files up to this size come in one piece. */
const SMALL = 256 * 1024;

export function framedFile(row: Row): FramedFile | undefined {
  const { size, sha256, start, end, frames } = row;
  if (size === null || sha256 === null || start === null || end === null) return undefined;
  const more = frames === null ? [] : (JSON.parse(frames) as [number, number][]);
  return { size, sha256, end, frames: [[start, 0], ...more] };
}

/** @param fetch gets bytes of the layer @param signal looked at again for each piece: what was fetched may be unpacked long after */
export async function readFrames(
  file: FramedFile,
  range: ByteRange | undefined,
  fetch: (range: BlobRange) => Promise<AsyncIterable<Uint8Array>>,
  signal: AbortSignal,
): Promise<Body> {
  const { frames, size } = file;
  const from = range?.offset ?? 0;
  const to = Math.min(size, from + (range?.length ?? Infinity));
  if (from >= to) return new Uint8Array(0);
  const first = frames.findLastIndex(([, start]) => start <= from);
  const after = frames.findIndex(([, start]) => start >= to);
  const [offset, begin] = frames[first] as readonly [number, number];
  const [end, until] = frames[after] ?? [file.end, size];
  const packed = await fetch({ offset, length: end - offset });
  const bytes = exactly(await decompress("zstd", packed), until - begin, signal);
  const whole = from === 0 && to === size;
  const content = cut(whole ? checked(bytes, file.sha256) : bytes, from - begin, to - begin);
  if (to - from > SMALL) return content;
  const chunks: Uint8Array[] = [];
  for await (const chunk of content) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Fails where frames hold more or less than the table of contents says, before more is taken. */
async function* exactly(
  bytes: AsyncIterable<Uint8Array>,
  length: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let came = 0;
  try {
    for await (const chunk of bytes) {
      signal.throwIfAborted();
      came += chunk.byteLength;
      if (came > length) break;
      yield chunk;
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (typeof code === "string" && /^(?:ZSTD_|Z_|ERR_ZSTD)/.test(code)) {
      throw damaged(error);
    }
    throw error;
  }
  if (came !== length) throw damaged();
}

async function* checked(
  bytes: AsyncIterable<Uint8Array>,
  sha256: string,
): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  for await (const chunk of bytes) {
    hash.update(chunk);
    yield chunk;
  }
  if (hash.digest("hex") !== sha256) throw damaged();
}

/** Reads on to the end: only there it shows whether all was right. */
async function* cut(
  bytes: AsyncIterable<Uint8Array>,
  from: number,
  to: number,
): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const chunk of bytes) {
    const part = chunk.subarray(Math.max(0, from - at), Math.max(0, to - at));
    at += chunk.byteLength;
    if (part.byteLength > 0) yield part;
  }
}

function damaged(cause?: unknown): SourceError {
  return new SourceError("invalid", "a file in a layer is not what the table of contents says", {
    hint: "it was damaged at the registry or on the way, or its maker lies",
    cause,
  });
}
