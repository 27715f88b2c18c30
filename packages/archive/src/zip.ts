/** Reads zip archives. Their directory comes last, so the whole file has to be there. */
import { isUtf8 } from "node:buffer";
import { type FileHandle, open } from "node:fs/promises";
import { Readable } from "node:stream";
import { buffer as readWholly } from "node:stream/consumers";
import { setImmediate } from "node:timers/promises";
import { crc32, inflateRawSync } from "node:zlib";
import { SourceError } from "@pannier/core/adapter";
import type { Entry, ZipFile } from "yauzl";
import { archiveError, guarded } from "./errors.ts";
import { type Member, refuseKind } from "./member.ts";
import { openWindow, type Window } from "./window.ts";

/** A symlink's text is its content; Linux takes no longer one. */
const MAX_TARGET = 4096;
/** `versionMadeBy` of systems that store Unix modes (APPNOTE.TXT, 4.4.2): Unix and macOS. */
const UNIX = new Set([3, 19]);
const FILE_TYPE = 0o170000;
/** An attribute of MS-DOS: some programs mark directories by it alone. */
const DOS_DIRECTORY = 0x10;
/** Ways of compression (APPNOTE.TXT, 4.4.5). */
const STORED = 0;
const DEFLATED = 8;
/** A flag (APPNOTE.TXT, 4.4.4). */
const ENCRYPTED = 1;
const PIECE = 256 * 1024;
/**
 * Contents of up to this size, packed and unpacked, are unpacked in one call each: a stream takes twenty times as long. Not many in one, as members
 * of a gzip file: what one holds could then end all of them, and be their content.
 */
const WHOLE = 256 * 1024;
/** Milliseconds of work before others get their turn. */
const SLICE = 10;

/** The members in the order of the archive's directory. */
export async function* readZip(path: string, signal: AbortSignal): AsyncGenerator<Member> {
  const file = await open(path);
  try {
    const opened = await openZip(file, signal);
    let began = performance.now();
    for await (const entry of opened.zip.eachEntry()) {
      yield await memberOf(opened, entry);
      if (performance.now() - began < SLICE) continue;
      await setImmediate();
      signal.throwIfAborted();
      began = performance.now();
    }
    await checkWhole(opened);
  } finally {
    await file.close();
  }
}

interface OpenedZip {
  readonly zip: ZipFile;
  nameOf(entry: Entry): string;
  /** The file from where the archive in it begins. */
  readonly bytes: Window;
  readonly signal: AbortSignal;
}

/** Names are decoded here, and checked as those of every other archive. */
const OPTIONS = { autoClose: false, decodeStrings: false };

async function openZip(file: FileHandle, signal: AbortSignal): Promise<OpenedZip> {
  const { fromRandomAccessReaderPromise, getFileNameLowLevel, RandomAccessReader } =
    await import("yauzl");
  const { size } = await file.stat();
  const start = await startOf(file, size);
  const directory = openWindow(file, start, cutShort);

  /** The file from where the archive in it begins. */
  class Part extends RandomAccessReader {
    override _readStreamForRange(from: number, to: number) {
      return Readable.from(piecesOf(file, start + from, start + to), { objectMode: false });
    }
    override read(
      into: Buffer,
      offset: number,
      length: number,
      position: number,
      done: (error: Error | null) => void,
    ) {
      const take = (bytes: Buffer) => {
        into.set(bytes, offset);
        done(null);
      };
      const bytes = directory.read(position, length);
      // Most of the directory's records are there: nobody need wait for them.
      if (bytes instanceof Promise) bytes.then(take, done);
      else take(bytes);
    }
  }
  const zip = await fromRandomAccessReaderPromise(new Part(), size - start, OPTIONS);
  const nameOf = (entry: Entry) => {
    const { generalPurposeBitFlag: flags, fileNameRaw: raw, extraFields } = entry;
    return isUnix(entry) && isUtf8(raw)
      ? raw.toString("utf8")
      : getFileNameLowLevel(flags, raw, extraFields, false);
  };
  return { zip, nameOf, bytes: openWindow(file, start, cutShort), signal };
}

async function* piecesOf(file: FileHandle, from: number, to: number): AsyncGenerator<Buffer> {
  for (let at = from; at < to;) {
    const { bytesRead, buffer: piece } = await file.read(
      Buffer.alloc(Math.min(PIECE, to - at)),
      0,
      undefined,
      at,
    );
    if (bytesRead === 0) throw cutShort();
    yield piece.subarray(0, bytesRead);
    at += bytesRead;
  }
}

/** The record at the end of an archive (APPNOTE.TXT, 4.3.16), without its comment. */
const END_LENGTH = 22;
const END = Buffer.from("PK\x05\x06");
/** What may follow the last record of the directory: its end, the same of large archives, and a signature (4.3.13 to 4.3.16). */
const AFTER_DIRECTORY = [END, Buffer.from("PK\x06\x06"), Buffer.from("PK\x05\x05")];
const LOCAL_HEADER = Buffer.from("PK\x03\x04");
const ZIP64_LOCATOR = Buffer.from("PK\x06\x07");
const ZIP64_LOCATOR_LENGTH = 20;
const MAX_COMMENT = 0xffff;

/**
 * Where the archive begins: not with the file where a program is in front that unpacks it. That program must not hold an archive
 * itself: of one that was cut behind an archive within it, that would be all that is left.
 */
async function startOf(file: FileHandle, size: number): Promise<number> {
  const length = Math.min(size, END_LENGTH + MAX_COMMENT + ZIP64_LOCATOR_LENGTH);
  const tail = Buffer.alloc(length);
  await file.read(tail, 0, length, size - length);
  let at = tail.lastIndexOf(END);
  while (
    at >= 0 &&
    (at + END_LENGTH > length || at + END_LENGTH + tail.readUInt16LE(at + 20) !== length)
  ) {
    at = at === 0 ? -1 : tail.lastIndexOf(END, at - 1);
  }
  if (at === -1) throw cutShort();
  // Archives of this kind tell twice where things are, and nobody puts a program in front of 4 GiB.
  const locator = at - ZIP64_LOCATOR_LENGTH;
  if (locator >= 0 && tail.indexOf(ZIP64_LOCATOR, locator) === locator) return 0;
  const start = size - length + at - tail.readUInt32LE(at + 12) - tail.readUInt32LE(at + 16);
  if (start < 0)
    throw new SourceError("invalid", "the archive is damaged: its directory is not in it");
  if (start > 0 && (await holds(file, start, LOCAL_HEADER))) {
    throw new SourceError(
      "invalid",
      "the archive has another archive in front of it, or was cut short",
    );
  }
  return start;
}

/** Whether the beginning of a file holds some bytes. */
async function holds(file: FileHandle, end: number, bytes: Buffer): Promise<boolean> {
  let carried = Buffer.alloc(0);
  for await (const piece of piecesOf(file, 0, end)) {
    const whole = Buffer.concat([carried, piece]);
    if (whole.includes(bytes)) return true;
    carried = whole.subarray(Math.max(0, whole.byteLength - bytes.byteLength + 1));
  }
  return false;
}

function cutShort(): SourceError {
  return new SourceError("invalid", "the zip archive was cut short, or something follows its end");
}

/**
 * The number of members is told in 16 bits: old writers put what is left of a larger one there, and the library stops at it.
 *
 * @throws SourceError `invalid` where there are more than told
 */
async function checkWhole({ zip, bytes }: OpenedZip): Promise<void> {
  // Its types have it as a boolean.
  const end = Number(zip.readEntryCursor);
  const next = await bytes.read(end, END.length);
  if (AFTER_DIRECTORY.some((mark) => mark.equals(next))) return;
  throw new SourceError(
    "invalid",
    `the zip archive has more members than the ${zip.entryCount} that it tells`,
    { hint: "pack it again with a program that knows zip64, or as tar.gz" },
  );
}

async function memberOf(opened: OpenedZip, entry: Entry): Promise<Member> {
  const name = opened.nameOf(entry);
  const { uncompressedSize: size } = entry;
  const unix = isUnix(entry) ? entry.externalFileAttributes >>> 16 : 0;
  const mtime = entry.getLastModDate({ timezone: "UTC" }).getTime();
  const special = (failure: SourceError): Member => ({ kind: "special", name, mtime, failure });
  const unsupported = (what: string) =>
    special(new SourceError("unsupported", `the archive's ${JSON.stringify(name)} is ${what}`));
  const marked =
    !isUnix(entry) && (entry.externalFileAttributes & DOS_DIRECTORY) !== 0 && size === 0;
  if (name.endsWith("/") || marked) return { kind: "directory", name, mtime };
  if ((entry.generalPurposeBitFlag & ENCRYPTED) !== 0) return unsupported("encrypted");
  if (![STORED, DEFLATED].includes(entry.compressionMethod)) {
    return unsupported(`compressed in a way that is not known (${entry.compressionMethod})`);
  }
  switch (unix & FILE_TYPE) {
    case 0:
    case 0o100000: {
      const mode = unix === 0 ? undefined : unix & 0o7777;
      const content = guarded(contentOf(opened.zip, entry), opened.signal);
      const isSmall = size <= WHOLE && entry.compressedSize <= WHOLE;
      const whole = isSmall ? () => wholeOf(opened, entry) : undefined;
      return { kind: "file", name, mtime, mode, size, content, whole };
    }
    case 0o120000: {
      if (size > MAX_TARGET) return special(refuseKind(name, "symlink with an endless target"));
      const target = await readWholly(contentOf(opened.zip, entry));
      return { kind: "symlink", name, mtime, target: target.toString("utf8") };
    }
    case 0o040000:
      return { kind: "directory", name, mtime };
    default:
      return special(refuseKind(name, "device, FIFO or socket"));
  }
}

/**
 * Archives of Unix often have UTF-8 names without the flag that says so. Elsewhere a name without it is in code page 437,
 * and a backslash in it stands for a slash.
 */
function isUnix(entry: Entry): boolean {
  return UNIX.has(entry.versionMadeBy >>> 8);
}

async function* contentOf(zip: ZipFile, entry: Entry): AsyncGenerator<Uint8Array> {
  const stream = await zip.openReadStreamPromise(entry, {});
  let sum = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    sum = crc32(chunk, sum);
    yield chunk;
  }
  // The library checks sizes only.
  if (sum !== entry.crc32) throw damaged(entry);
}

/** The header in front of each content (APPNOTE.TXT, 4.3.7), without the name. */
const LOCAL_LENGTH = 30;

type Whole = Buffer | Promise<Buffer>;

/** The content of a small file. @throws SourceError also where it cannot be read */
function wholeOf(opened: OpenedZip, entry: Entry): Whole {
  const packed = packedOf(opened, entry);
  if (!(packed instanceof Promise)) return unpackWhole(packed, entry);
  return packed.then(
    (bytes) => unpackWhole(bytes, entry),
    (error: unknown) => {
      throw archiveError(error);
    },
  );
}

function inOnePiece(size: number) {
  return { maxOutputLength: Math.max(1, size), chunkSize: Math.max(64, size + 1) };
}

/** The content of a small file as it is in the archive. */
function packedOf({ bytes }: OpenedZip, entry: Entry): Whole {
  const { relativeOffsetOfLocalHeader: start, compressedSize } = entry;
  const locate = (header: Buffer) => {
    if (!header.subarray(0, LOCAL_HEADER.length).equals(LOCAL_HEADER)) throw damaged(entry);
    return start + LOCAL_LENGTH + header.readUInt16LE(26) + header.readUInt16LE(28);
  };
  const header = bytes.read(start, LOCAL_LENGTH);
  return header instanceof Promise
    ? header.then((read) => bytes.read(locate(read), compressedSize))
    : bytes.read(locate(header), compressedSize);
}

function unpackWhole(packed: Buffer, entry: Entry): Buffer {
  const { uncompressedSize: size } = entry;
  const content = entry.compressionMethod === STORED ? packed : inflate(packed, entry);
  if (content.byteLength !== size || crc32(content) !== entry.crc32) throw damaged(entry);
  return content;
}

function inflate(packed: Buffer, entry: Entry): Buffer {
  try {
    return inflateRawSync(packed, inOnePiece(entry.uncompressedSize));
  } catch (error) {
    throw damaged(entry, error);
  }
}

function damaged({ fileNameRaw }: Entry, cause?: unknown): SourceError {
  const name = JSON.stringify(fileNameRaw.toString());
  return new SourceError("invalid", `the archive's ${name} is damaged`, { cause });
}
