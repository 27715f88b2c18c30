/** Headers of tar archives: ustar, pax, GNU and v7 (POSIX.1-2017, pax; GNU tar's manual, "Basic Tar Format"). */
import { SourceError } from "@pannier/core/adapter";

/** Bytes of a header, and what the content of a member is padded to. */
export const BLOCK = 512;

export interface TarHeader {
  readonly name: string;
  readonly linkname: string;
  readonly mode: number;
  readonly size: number;
  /** Seconds. */
  readonly mtime: number;
  /** One character; old archives have NUL for a file. */
  readonly type: string;
}

/** Values of a pax header, by keyword. An empty one takes back what a global header set. */
export type PaxValues = ReadonlyMap<string, string>;

const CHECKSUM = 148;
const CHECKSUM_LENGTH = 8;
const MAGIC = 257;

/** Whether a block is a header: its own sum says so, whatever its age. */
export function isHeader(block: Uint8Array): boolean {
  if (block.byteLength < BLOCK) return false;
  const wanted = parseOctal(block, CHECKSUM, CHECKSUM_LENGTH);
  let unsigned = 0;
  // Some old programs added up signed bytes.
  let signed = 0;
  for (let at = 0; at < BLOCK; at++) {
    const inSum = at >= CHECKSUM && at < CHECKSUM + CHECKSUM_LENGTH;
    const byte = inSum ? 32 : (block[at] as number);
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  return wanted === unsigned || wanted === signed;
}

export function isZero(block: Uint8Array): boolean {
  return block.every((byte) => byte === 0);
}

/** @throws SourceError `invalid` where it is damaged */
export function parseHeader(block: Buffer): TarHeader {
  if (!isHeader(block)) throw damaged("a header is not valid");
  const magic = block.toString("latin1", MAGIC, MAGIC + 6);
  const prefix = magic === "ustar\0" ? textOf(block, 345, 155) : "";
  const name = textOf(block, 0, 100);
  return {
    name: prefix === "" ? name : `${prefix}/${name}`,
    mode: (parseOctal(block, 100, 8) ?? 0) & 0o7777,
    size: parseSize(block),
    mtime: parseNumber(block, 136, 12) ?? 0,
    type: String.fromCharCode(block[156] as number),
    linkname: textOf(block, 157, 100),
  };
}

function parseSize(block: Buffer): number {
  const size = parseNumber(block, 124, 12);
  if (size === undefined || size < 0) throw damaged("a size is not valid");
  return size;
}

/** Up to the first NUL. */
function textOf(block: Buffer, start: number, length: number): string {
  const end = block.indexOf(0, start);
  return block.toString("utf8", start, end === -1 ? start + length : Math.min(end, start + length));
}

/** Digits between blanks and NULs; none at all count as 0. */
function parseOctal(block: Uint8Array, start: number, length: number): number | undefined {
  const text = Buffer.from(block.buffer, block.byteOffset + start, length).toString("latin1");
  const digits = /^[ \0]*([0-7]*)[ \0]*/.exec(text)?.[1] ?? "";
  // What follows the first NUL or blank behind the digits is anybody's.
  const whole = /^[ \0]*[0-7]*([ \0]|$)/.test(text);
  return whole ? Number.parseInt(digits || "0", 8) : undefined;
}

/** Octal, or where the highest bit is set the bytes themselves, two's complement (GNU, star). */
function parseNumber(block: Uint8Array, start: number, length: number): number | undefined {
  const first = block[start] as number;
  if ((first & 0x80) === 0) return parseOctal(block, start, length);
  let value = first & 0x40 ? -1n : 0n;
  value = (value << 6n) | BigInt(first & 0x3f);
  for (let at = start + 1; at < start + length; at++) {
    value = (value << 8n) | BigInt(block[at] as number);
  }
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : undefined;
}

/** @throws SourceError `invalid` where it is damaged */
export function parsePax(content: Buffer): PaxValues {
  const values = new Map<string, string>();
  for (let at = 0; at < content.byteLength;) {
    const blank = content.indexOf(0x20, at);
    const digits = blank === -1 ? "" : content.toString("latin1", at, blank);
    const end = at + Number(digits);
    const equals = content.indexOf(0x3d, blank);
    if (
      !/^\d{1,8}$/.test(digits) ||
      end > content.byteLength ||
      equals === -1 ||
      equals >= end ||
      content[end - 1] !== 0x0a
    ) {
      throw damaged("a pax header is not valid");
    }
    values.set(
      content.toString("utf8", blank + 1, equals),
      content.toString("utf8", equals + 1, end - 1),
    );
    at = end;
  }
  return values;
}

export function damaged(what: string): SourceError {
  return new SourceError("invalid", `the archive is damaged: ${what}`);
}
