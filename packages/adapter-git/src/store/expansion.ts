/** How large a pack grows: to be known before it is read by who holds every object of it in memory. */
import { setImmediate } from "node:timers/promises";
import { inflateSync } from "node:zlib";
import { SourceError } from "@pannier/core/adapter";

/** What any pack may grow to, in bytes. */
const HARMLESS = 16 * 1024 * 1024;

const OFFSET_DELTA = 6;
const REF_DELTA = 7;

/** Milliseconds of work before others get their turn. */
const SLICE = 10;

/**
 * Goes through the objects of a pack, one by one. Format: https://git-scm.com/docs/gitformat-pack
 *
 * @param most how many times its own size a pack may hold
 * @throws SourceError `invalid` where it holds more, or is broken
 */
export async function checkExpansion(
  pack: Buffer,
  most: number,
  signal: AbortSignal,
): Promise<void> {
  const allowed = Math.max(HARMLESS, most * pack.length);
  const objects = objectSizes(pack);
  let total = 0;
  let started = performance.now();
  for (const size of objects) {
    total += size;
    if (total > allowed)
      throw new SourceError(
        "invalid",
        `the repository's objects have more than ${most} times the size of their pack`,
        { hint: "install git, which need not hold them in memory" },
      );
    if (performance.now() - started < SLICE) continue;
    await setImmediate();
    signal.throwIfAborted();
    started = performance.now();
  }
}

/** The size of each object; of a delta what it makes, and itself where it is larger. Told before it is inflated. */
function* objectSizes(pack: Buffer): Generator<number> {
  let at = 12;
  for (let left = pack.readUInt32BE(8); left > 0; left--) {
    const head = pack.readUInt8(at);
    const type = (head >> 4) & 7;
    const size = readSize(pack, at, 4);
    yield size.value;
    at = size.end;
    if (type === REF_DELTA) at += 20;
    if (type === OFFSET_DELTA) while (pack.readUInt8(at++) >= 0x80);
    const { data, length } = inflate(pack.subarray(at), size.value);
    at += length;
    if (type !== OFFSET_DELTA && type !== REF_DELTA) continue;
    const base = readSize(data, 0, 7);
    yield Math.max(0, readSize(data, base.end, 7).value - size.value);
  }
}

/** A number in groups of seven bits, the lowest first; the first byte may hold fewer. */
function readSize(
  bytes: Buffer,
  start: number,
  firstBits: number,
): { readonly value: number; readonly end: number } {
  let at = start;
  let byte = bytes.readUInt8(at++);
  let value = byte & (2 ** firstBits - 1);
  for (let unit = 2 ** firstBits; byte >= 0x80; unit *= 128) {
    byte = bytes.readUInt8(at++);
    value += (byte & 0x7f) * unit;
  }
  return { value, end: at };
}

/** @returns what comes out, and how much went in */
function inflate(bytes: Buffer, size: number): { readonly data: Buffer; readonly length: number } {
  const options = { info: true, maxOutputLength: Math.max(1, size) };
  // What the types do not know: with `info` the engine comes along.
  const { buffer, engine } = inflateSync(bytes, options) as unknown as {
    readonly buffer: Buffer;
    readonly engine: { readonly bytesWritten: number };
  };
  return { data: buffer, length: engine.bytesWritten };
}
