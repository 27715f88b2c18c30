/** Kinds of archives: by name, by their first bytes, and how to decompress them. */
import { pipeline, Readable, type Transform } from "node:stream";
// Not by its names: a bundle has those of the Node that made it, which may have no zstd.
import zlib from "node:zlib";
import { SourceError } from "@pannier/core/adapter";
import { BLOCK, isHeader, isZero } from "./tar-header.ts";

/** How many bytes {@link formatOf} needs: old tar archives are known by the sum of their first header. */
export const MAGIC_LENGTH = BLOCK;

/** Bytes that a decompressor hands over at once; with Node's 16 KiB, the sync of an image with gzip layers takes a seventh more processor time. */
const UNPACKED = 128 * 1024;

export type Format = "tar" | "gzip" | "zstd" | "xz" | "bzip2" | "zip";

/** Whether a file's name says that it is an archive; `undefined` where it says nothing at all. */
export function looksLikeArchive(name: string): boolean | undefined {
  if (/\.(tar(\.(gz|zst|xz|bz2))?|tgz|tzst|txz|tbz2?|zip)$/i.test(name)) return true;
  // The "2" of `v1.2` is no extension.
  return /\.[a-z][a-z0-9_]*$/i.test(name) ? false : undefined;
}

/** The format by the first {@link MAGIC_LENGTH} bytes (fewer if the file is shorter). */
export function formatOf(head: Uint8Array): Format | undefined {
  const text = Buffer.from(head.subarray(0, MAGIC_LENGTH)).toString("latin1");
  if (text.startsWith("ustar", 257) || isHeader(head)) return "tar";
  if (text.startsWith("\x1f\x8b")) return "gzip";
  // The second is that of a frame to be skipped, with which pzstd begins.
  const skipped = text.slice(1, 4) === "\x2a\x4d\x18" && /^[P-_]/.test(text);
  if (skipped || text.startsWith("\x28\xb5\x2f\xfd")) return "zstd";
  if (text.startsWith("\xfd7zXZ\0")) return "xz";
  if (text.startsWith("BZh")) return "bzip2";
  if (text.startsWith("PK\x03\x04") || text.startsWith("PK\x05\x06")) return "zip";
  // An empty tar archive is nothing but zeros.
  const empty = head.byteLength >= MAGIC_LENGTH && isZero(head.subarray(0, MAGIC_LENGTH));
  return empty ? "tar" : undefined;
}

/** Whether a file begins as a program: there may be a zip archive behind it, which unpacks itself. */
export function isProgram(head: Uint8Array): boolean {
  return /^(?:#!|MZ|\x7fELF)/.test(Buffer.from(head.subarray(0, 4)).toString("latin1"));
}

/** The first {@link MAGIC_LENGTH} bytes, and all bytes. */
export async function peek(body: AsyncIterable<Uint8Array>) {
  const iterator = body[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  while (head.byteLength < MAGIC_LENGTH) {
    const { done, value } = await iterator.next();
    if (done === true) break;
    head = Buffer.concat([head, value]);
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    yield head;
    yield* { [Symbol.asyncIterator]: () => iterator };
  }
  return { head, bytes: all() };
}

/** Decompresses; the result is a tar archive if the input was one of its compressed forms. */
export async function decompress(
  format: Exclude<Format, "zip">,
  bytes: AsyncIterable<Uint8Array>,
): Promise<AsyncIterable<Uint8Array>> {
  switch (format) {
    case "tar":
      return bytes;
    case "gzip":
      return through(bytes, zlib.createGunzip({ chunkSize: UNPACKED }));
    case "zstd":
      if (typeof zlib.createZstdDecompress === "function") {
        return through(bytes, zlib.createZstdDecompress({ chunkSize: UNPACKED }));
      }
      throw new SourceError("unsupported", "this version of Node cannot unpack zstd", {
        hint: "use Node 22.15 or newer",
      });
    case "xz":
      return xz(bytes);
    case "bzip2":
      throw new SourceError("unsupported", "bzip2 archives cannot be unpacked", {
        hint: "offer it as tar.gz, tar.zst, tar.xz or zip",
      });
  }
}

function through(
  bytes: AsyncIterable<Uint8Array>,
  transform: Transform,
): AsyncIterable<Uint8Array> {
  // An error may come before anyone reads, when the pipeline no longer looks; the reader is told of it all the same.
  transform.on("error", () => {});
  return pipeline(Readable.from(bytes, { objectMode: false }), transform, () => {});
}

async function* xz(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { default: library } = await import("xz-decompress");
  const { XzReadableStream } = library;
  const input = Readable.toWeb(Readable.from(bytes, { objectMode: false }));
  try {
    yield* new XzReadableStream(input as never);
  } catch (error) {
    throw xzError(error);
  }
}

/** The library tells the codes of XZ Embedded (`enum xz_ret` of its xz.h), in words for those who know them. */
function xzError(error: unknown): unknown {
  const code = /error code (\d)$/.exec(error instanceof Error ? error.message : "")?.[1];
  switch (code) {
    case "4":
      return new SourceError(
        "unsupported",
        "the xz archive needs a dictionary of more than 64 MiB",
        {
          hint: "pack it with xz -9 or less, or as tar.gz or tar.zst",
          cause: error,
        },
      );
    case "6":
      return new SourceError(
        "unsupported",
        "the xz archive uses a filter or a check that is not supported",
        {
          hint: "pack it with plain xz, without --x86, --delta and the like, and with the check crc32 or crc64; or as tar.gz or tar.zst",
          cause: error,
        },
      );
    case "8":
      return new SourceError("invalid", "the archive was cut short", { cause: error });
    default:
      return code === undefined
        ? error
        : new SourceError("invalid", `the archive is damaged (xz error ${code})`, { cause: error });
  }
}
