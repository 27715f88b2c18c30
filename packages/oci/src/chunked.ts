/**
 * Layers in "zstd:chunked" form, as containers/storage writes and reads them: a tar archive in zstd frames, each of which can be
 * unpacked by itself, and a table of contents in a frame that decompressors skip. Its range and digest are annotations of the
 * layer in the manifest.
 */
// Not by its names: a bundle has those of the Node that made it, which may have no zstd.
import zlib from "node:zlib";
import { SourceError } from "@pannier/core/adapter";
import type { Descriptor } from "./manifest.ts";
import { DIGEST } from "./reference.ts";
import { digestOf } from "./store.ts";

export const TOC_POSITION = "io.github.containers.zstd-chunked.manifest-position";
export const TOC_CHECKSUM = "io.github.containers.zstd-chunked.manifest-checksum";
/** As podman 4 calls them. */
const OLD_POSITION = "io.containers.zstd-chunked.manifest-position";
const OLD_CHECKSUM = "io.containers.zstd-chunked.manifest-checksum";
/** The kind of table that there is, in the annotation and the footer. */
export const TOC_KIND = 1;
/** Bytes of a table at most, unpacked: parsing is one step, in which nothing else has its turn. A layer with a larger one is read whole. */
export const MAX_TOC = 4 << 20;

/** Where a layer's table is. */
export interface TocRange {
  readonly offset: number;
  readonly length: number;
  readonly unpacked: number;
  /** `sha256:HEX` of its compressed form. */
  readonly checksum: string;
}

/** One member of a layer, as its table tells. */
export interface TocEntry {
  readonly type: "reg" | "dir" | "symlink" | "hardlink" | "char" | "block" | "fifo";
  readonly name: string;
  readonly linkName: string;
  readonly mode: number;
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly mtime: number | undefined;
  /** In hex; empty for an empty file. */
  readonly sha256: string;
  /** Frames that hold its content, in their order: where each begins in the layer and in the file. */
  readonly chunks: readonly Chunk[];
  /** Where the last frame ends in the layer. */
  readonly end: number;
}

export interface Chunk {
  readonly offset: number;
  readonly start: number;
}

/** Where the table of a layer is; `undefined` where it has none, or one that is too large. @throws SourceError `invalid` */
export function tocRange({ annotations, size }: Descriptor): TocRange | undefined {
  const position = annotations[TOC_POSITION] ?? annotations[OLD_POSITION];
  const checksum = annotations[TOC_CHECKSUM] ?? annotations[OLD_CHECKSUM];
  if (position === undefined || checksum === undefined) return undefined;
  const [, ...parts] = /^(\d{1,15}):(\d{1,15}):(\d{1,15}):(\d{1,3})$/.exec(position) ?? [];
  const [offset = 0, length = 0, unpacked = 0, kind] = parts.map(Number);
  if (kind === undefined || !DIGEST.test(checksum) || offset + length > size) {
    throw lies("its range is not valid");
  }
  if (kind !== TOC_KIND || unpacked > MAX_TOC || length > MAX_TOC) return undefined;
  return { offset, length, unpacked, checksum };
}

/** @throws SourceError `invalid` where it is not what its checksum says, or tells what cannot be */
export async function readToc(bytes: Uint8Array, range: TocRange): Promise<TocEntry[]> {
  if (bytes.byteLength !== range.length || digestOf(bytes) !== range.checksum) {
    throw lies("it is not what its checksum says");
  }
  const text = await unzstd(bytes, range.unpacked).catch((error: unknown) => {
    throw lies("it cannot be unpacked", error);
  });
  if (text.byteLength !== range.unpacked) throw lies("it is not as long as it should be");
  let json: { version?: unknown; entries?: unknown };
  try {
    json = JSON.parse(text.toString("utf8")) as typeof json;
  } catch (error) {
    throw lies("it is not JSON", error);
  }
  if (json.version !== 1 || !Array.isArray(json.entries)) throw lies("it is of no kind known");
  return entriesOf(json.entries, range.offset);
}

function entriesOf(items: readonly unknown[], limit: number): TocEntry[] {
  const entries: TocEntry[] = [];
  let chunks: Chunk[] = [];
  for (const item of items as Record<string, unknown>[]) {
    if (typeof item !== "object" || item === null) throw lies("an entry is not an object");
    const name = item["name"];
    if (typeof name !== "string" || name === "") throw lies("an entry has no name");
    const number = (key: string): number => {
      const value = item[key] ?? 0;
      if (!Number.isSafeInteger(value) || (value as number) < 0) {
        throw lies(`${JSON.stringify(name)} has a ${key} that is not valid`);
      }
      return value as number;
    };
    const [offset, end] = [number("offset"), number("endOffset")];
    const last = entries.at(-1);
    if (item["type"] === "chunk") {
      const before = chunks.at(-1);
      const start = number("chunkOffset");
      if (last?.type !== "reg" || last.name !== name || before === undefined) {
        throw lies(`a part of ${JSON.stringify(name)} follows no file`);
      }
      if (start <= before.start || start >= last.size || offset < before.offset) {
        throw lies(`the parts of ${JSON.stringify(name)} are out of order`);
      }
      if (offset >= last.end) throw lies(`a part of ${JSON.stringify(name)} lies outside of it`);
      chunks.push({ offset, start });
      continue;
    }
    const type = item["type"];
    if (!isType(type)) throw lies(`${JSON.stringify(name)} is of a type that is not known`);
    const size = type === "reg" ? number("size") : 0;
    const digest = item["digest"] ?? "";
    if (type === "reg" && size > 0) {
      if (typeof digest !== "string" || !DIGEST.test(digest)) {
        throw lies(`${JSON.stringify(name)} has no digest`);
      }
      if (offset >= end || end > limit) throw lies(`${JSON.stringify(name)} lies outside of it`);
    }
    chunks = [{ offset, start: 0 }];
    const mtime = Date.parse(typeof item["modtime"] === "string" ? item["modtime"] : "");
    entries.push({
      type,
      name,
      linkName: typeof item["linkName"] === "string" ? item["linkName"] : "",
      mode: number("mode"),
      size,
      mtime: Number.isNaN(mtime) ? undefined : mtime,
      sha256: typeof digest === "string" ? digest.replace("sha256:", "") : "",
      chunks,
      end,
    });
  }
  return entries;
}

function isType(type: unknown): type is TocEntry["type"] {
  return (
    typeof type === "string" &&
    ["reg", "dir", "symlink", "hardlink", "char", "block", "fifo"].includes(type)
  );
}

/** Unpacks a frame that is known to hold no more than `limit` bytes. */
function unzstd(bytes: Uint8Array, limit: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  needZstd();
  zlib.zstdDecompress(bytes, { maxOutputLength: Math.max(1, limit) }, (error, result) =>
    error === null ? resolve(result as Buffer) : reject(error),
  );
  return promise;
}

/** @throws SourceError `unsupported` where this Node has no zstd */
export function needZstd(): void {
  if (typeof zlib.zstdDecompress === "function") return;
  throw new SourceError("unsupported", "this version of Node knows no zstd", {
    hint: "use Node 22.15 or newer",
  });
}

function lies(why: string, cause?: unknown): SourceError {
  return new SourceError("invalid", `the table of contents of a layer cannot be trusted: ${why}`, {
    hint: "nothing of it is used",
    cause,
  });
}
