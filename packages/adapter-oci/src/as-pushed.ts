/** Whether a layer is what `pannier push` makes of its table of contents: then nothing has to be unpacked to know that it holds what is told, and no more. */
import { closeSync, openSync, readSync } from "node:fs";
// Not by its names: a bundle has those of the Node that made it, which may have no zstd.
import zlib from "node:zlib";
import { TAR_END, tarHeader, tarPadding } from "@pannier/archive";
import { makePause } from "@pannier/core/adapter";
import type { TocEntry, TocRange } from "@pannier/oci";

/** What lies between so many contents is compared at once. */
const BATCH = 256;
/** Members without content in a row at most. */
const MOST_EMPTY = 2048;
/** What decompressors skip begins so, with its length behind (RFC 8878, 3.1.2). */
const SKIPPABLE = 0x184d2a5;
/** Up to so many bytes, what lies between contents is read with them, in one call. */
const REGION = 2 << 20;
const HEADER = 8;
/** The table, and what other tools keep beside it. */
const MAX_SKIPPABLE = 8;

/**
 * Looks at everything but the contents, which have to have the digests of the table when they are read. What lies between those are the headers of the
 * archive, and they have to be the very bytes that {@link tarHeader} makes of the table.
 *
 * @param path of the layer
 * @param size in bytes
 * @returns false where it may be right all the same: then only unpacking tells
 */
export async function isAsPushed(
  path: string,
  size: number,
  { offset, length }: TocRange,
  entries: readonly TocEntry[],
  signal: AbortSignal,
): Promise<boolean> {
  const fd = openSync(path, "r");
  try {
    const pause = makePause(signal);
    let gaps: Gap[] = [];
    let padding = 0;
    let at = 0;
    for (const { type, name, mode, size: bytes, linkName, chunks, end } of entries) {
      if (type !== "reg" && type !== "symlink") return false;
      const target = type === "symlink" ? linkName : undefined;
      const header = tarHeader({ name, mode, size: bytes, target });
      const start = bytes === 0 ? at : (chunks[0]?.offset as number);
      if (start < at || (type === "symlink" && linkName === "")) return false;
      gaps.push({ from: at, to: start, padding, header });
      padding = tarPadding(bytes);
      if (bytes > 0) at = end;
      if (gaps.length > BATCH + MOST_EMPTY) return false;
      // The header of a member without content comes with the next gap.
      if (gaps.length < BATCH || bytes === 0) continue;
      if (!hold(fd, gaps)) return false;
      gaps = [];
      await pause();
    }
    const tail = offset - HEADER;
    if (tail < at) return false;
    gaps.push({ from: at, to: tail, padding, header: TAR_END });
    return hold(fd, gaps) && isSkipped(fd, tail, size, offset, length);
  } finally {
    closeSync(fd);
  }
}

/** What lies between two contents, and what it has to be. */
interface Gap {
  readonly from: number;
  readonly to: number;
  /** Zeros that come first. */
  readonly padding: number;
  readonly header: Buffer;
}

function hold(fd: number, gaps: readonly Gap[]): boolean {
  const wanted: Buffer[] = [];
  for (const { padding, header } of gaps) wanted.push(ZEROS.subarray(0, padding), header);
  const told = Buffer.concat(wanted);
  const length = gaps.reduce((sum, { from, to }) => sum + to - from, 0);
  // Frames are hardly longer than what they hold.
  if (length > 2 * told.length) return false;
  const packed = readGaps(fd, gaps, length);
  if (packed === undefined) return false;
  try {
    const limit = { maxOutputLength: told.length, chunkSize: told.length };
    return zlib.zstdDecompressSync(packed, limit).equals(told);
  } catch {
    return false;
  }
}

const ZEROS = Buffer.alloc(512);

/** @param length of all of them @returns `undefined` where the layer is shorter */
function readGaps(fd: number, gaps: readonly Gap[], length: number): Buffer | undefined {
  const packed = Buffer.allocUnsafe(length);
  const start = gaps[0]?.from ?? 0;
  const bytes = (gaps.at(-1)?.to ?? 0) - start;
  const whole = bytes <= REGION ? Buffer.allocUnsafe(bytes) : undefined;
  if (whole !== undefined && readSync(fd, whole, 0, bytes, start) !== bytes) return undefined;
  let filled = 0;
  for (const { from, to } of gaps) {
    if (whole !== undefined) whole.copy(packed, filled, from - start, to - start);
    else if (readSync(fd, packed, filled, to - from, from) !== to - from) return undefined;
    filled += to - from;
  }
  return packed;
}

/** Whether nothing but what decompressors skip follows the archive, and the table is there. */
function isSkipped(fd: number, tail: number, size: number, offset: number, length: number) {
  const header = Buffer.alloc(HEADER);
  let found = false;
  let at = tail;
  for (let count = 0; at < size; count++) {
    if (count === MAX_SKIPPABLE || readSync(fd, header, 0, HEADER, at) !== HEADER) return false;
    if (header.readUInt32LE(0) >>> 4 !== SKIPPABLE) return false;
    const bytes = header.readUInt32LE(4);
    found ||= at + HEADER === offset && bytes === length;
    at += HEADER + bytes;
  }
  return found && at === size;
}
