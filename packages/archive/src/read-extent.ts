/** Reads the content of entries that were unpacked. */
import { closeSync, openSync, readSync } from "node:fs";
import { open } from "node:fs/promises";
import { type Body, type ByteRange, type FileEntry, SourceError } from "@pannier/core/adapter";
import type { Extent } from "./unpacked.ts";

const PIECE = 256 * 1024;

/** Reads what was unpacked, or a part of it. @throws SourceError `changed` where it is gone */
export async function readExtent(
  extent: Extent,
  entry: Pick<FileEntry, "size">,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Body> {
  const offset = range?.offset ?? 0;
  const length = Math.min(range?.length ?? Infinity, Math.max(0, (entry.size ?? 0) - offset));
  if (length === 0) return new Uint8Array(0);
  return length <= PIECE
    ? readPiece(extent, offset, length)
    : pieces(extent, offset, offset + length, signal);
}

/** Opens the file for each piece: a body that nobody reads to its end holds nothing. */
async function* pieces(
  extent: Extent,
  start: number,
  end: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (let offset = start; offset < end; offset += PIECE) {
    signal.throwIfAborted();
    yield await readPiece(extent, offset, Math.min(PIECE, end - offset));
  }
}

/** Files up to this size are read at once: that is quicker than handing it over, and there may be many. */
const TINY = 4096;

async function readPiece(extent: Extent, offset: number, length: number): Promise<Uint8Array> {
  const { file, start } = extent;
  const buffer = Buffer.alloc(length);
  const read = length > TINY ? readAt : readAtOnce;
  const bytesRead = await read(file, buffer, start + offset).catch((error: unknown) => {
    throw new SourceError("changed", "the unpacked file is gone", { cause: error });
  });
  if (bytesRead === length) return buffer;
  throw new SourceError("changed", "the unpacked file is shorter than it was");
}

async function readAt(file: string, buffer: Uint8Array, position: number): Promise<number> {
  const handle = await open(file);
  try {
    return (await handle.read(buffer, 0, buffer.byteLength, position)).bytesRead;
  } finally {
    await handle.close();
  }
}

async function readAtOnce(file: string, buffer: Uint8Array, position: number): Promise<number> {
  const fd = openSync(file, "r");
  try {
    return readSync(fd, buffer, 0, buffer.byteLength, position);
  } finally {
    closeSync(fd);
  }
}
