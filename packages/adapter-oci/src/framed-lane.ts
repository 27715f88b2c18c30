/** Files of layers in zstd:chunked form, which lie on this machine as they came. */
import { closeSync, openSync, readSync } from "node:fs";
// Not by its names: a bundle has those of the Node that made it, which may have no zstd.
import zlib from "node:zlib";
import type { FileEntry, Sink } from "@pannier/core/adapter";
import { type FramePlace, frameOf } from "./place.ts";

/** Bytes of content that are unpacked in one call: each takes as long as some frames of a few KiB. */
const AT_ONCE = 1 << 20;
/** Bytes; a larger file is left: packed and unpacked it would be in memory as a whole, of each lane. One of 60 MiB took 181 MiB. */
const LARGEST = 4 << 20;
/** What lies between two frames that are wanted is read with them up to so many bytes. */
const GAP = 8 << 10;
/** What a frame has at most beside its content, and beside a 256th of it: compressors make it no longer (`ZSTD_compressBound` of zstd.h). */
const OVERHEAD = 1024;
/** What Node takes at least. */
const LEAST_CHUNK = 64;

const EMPTY = new Uint8Array(0);

interface Wanted extends FramePlace {
  readonly index: number;
  readonly size: number;
}

/**
 * Hands over the files of a batch that are one frame of a layer. What cannot be read is left.
 *
 * @param folder where layers are, by their keys
 */
export function readFramed(folder: string, files: readonly FileEntry[], sink: Sink): void {
  let group: Wanted[] = [];
  let bytes = 0;
  const flush = () => {
    if (group.length > 0 && !sink.stopped) unpack(folder, group, bytes, sink);
    group = [];
    bytes = 0;
  };
  for (const [index, { ref, size, digest }] of files.entries()) {
    if (size === 0) sink.put(index, EMPTY);
    const place = frameOf(ref);
    if (place === undefined || size === undefined || size === 0 || digest === undefined) continue;
    if (size > LARGEST) continue;
    // Places are what a table says: many small files could each be all of a layer.
    if (place.end - place.start > size + (size >>> 8) + OVERHEAD) continue;
    if (group.length > 0 && (place.key !== group[0]?.key || bytes + size > AT_ONCE)) flush();
    group.push({ ...place, index, size });
    bytes += size;
  }
  flush();
}

/** Frames one after the other are a frame to whoever unpacks them. */
function unpack(folder: string, group: readonly Wanted[], bytes: number, sink: Sink): void {
  let content: Buffer;
  try {
    const packed = readFrames(`${folder}/${group[0]?.key}`, group);
    const chunkSize = Math.max(LEAST_CHUNK, bytes);
    content = zlib.zstdDecompressSync(packed, { maxOutputLength: bytes, chunkSize });
  } catch {
    // One of them is damaged, or holds more than it should: whoever reads them one by one tells which.
    return;
  }
  if (content.length !== bytes) return;
  let at = 0;
  for (const { index, size } of group) sink.put(index, content.subarray(at, (at += size)));
}

/** Grows with what is read at once, and is used again. */
let memory = Buffer.alloc(0);

function readFrames(path: string, group: readonly Wanted[]): Buffer {
  const total = group.reduce((sum, { start, end }) => sum + end - start, 0);
  const most = total + GAP * group.length;
  if (memory.length < most) memory = Buffer.allocUnsafeSlow(most);
  const fd = openSync(path, "r");
  try {
    let filled = 0;
    for (let first = 0; first < group.length;) {
      const { start } = group[first] as Wanted;
      let { end } = group[first] as Wanted;
      let next = first + 1;
      for (; next < group.length; next++) {
        const after = group[next] as Wanted;
        if (after.start < end || after.start > end + GAP) break;
        ({ end } = after);
      }
      if (readSync(fd, memory, filled, end - start, start) !== end - start)
        throw new Error("cut short");
      const from = filled - start;
      for (; first < next; first++) {
        const frame = group[first] as Wanted;
        memory.copyWithin(filled, from + frame.start, from + frame.end);
        filled += frame.end - frame.start;
      }
    }
    return memory.subarray(0, filled);
  } finally {
    closeSync(fd);
  }
}
