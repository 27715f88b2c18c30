/**
 * The CRCs that object stores vouch with and Node lacks, eight bytes at a step ("slicing-by-8", Kounavis and Berry 2005).
 * Measured on one busy core over 64 MiB: CRC-32C 690 MiB/s, CRC-64/NVME 490; beside them MD5 740 and SHA-256 1,660.
 */

/** Eight tables of 256 entries, one after the other; of CRC-64 the upper and the lower halves apart. */
type Table = Int32Array;

/** A CRC-32C (Castagnoli, RFC 3720 B.4) that goes on from `crc`, which is 0 at the start. */
export function crc32c(bytes: Uint8Array, crc: number): number {
  const t = (crc32cTable ??= table32(0x82f63b78));
  let value = ~crc;
  let at = 0;
  for (const end = bytes.length - 7; at < end; at += 8) {
    value ^= word(bytes, at);
    value =
      (t[1792 + (value & 255)] as number) ^
      (t[1536 + ((value >>> 8) & 255)] as number) ^
      (t[1280 + ((value >>> 16) & 255)] as number) ^
      (t[1024 + (value >>> 24)] as number) ^
      (t[768 + (bytes[at + 4] as number)] as number) ^
      (t[512 + (bytes[at + 5] as number)] as number) ^
      (t[256 + (bytes[at + 6] as number)] as number) ^
      (t[bytes[at + 7] as number] as number);
  }
  for (; at < bytes.length; at++) {
    value = (value >>> 8) ^ (t[(value ^ (bytes[at] as number)) & 255] as number);
  }
  return ~value >>> 0;
}

/** A CRC-64/NVME (NVM Express command set, 5.2.1.3.4) in two halves, which are 0 at the start. */
export interface Crc64 {
  upper: number;
  lower: number;
}

/** Goes on from `crc`, in place. */
export function crc64nvme(bytes: Uint8Array, crc: Crc64): void {
  const { upper, lower } = (crc64Tables ??= tables64(0x9a6c9329, 0xac4bc9b5));
  let high = ~crc.upper;
  let low = ~crc.lower;
  let at = 0;
  for (const end = bytes.length - 7; at < end; at += 8) {
    low ^= word(bytes, at);
    high ^= word(bytes, at + 4);
    const a = 1792 + (low & 255);
    const b = 1536 + ((low >>> 8) & 255);
    const c = 1280 + ((low >>> 16) & 255);
    const d = 1024 + (low >>> 24);
    const e = 768 + (high & 255);
    const f = 512 + ((high >>> 8) & 255);
    const g = 256 + ((high >>> 16) & 255);
    const h = high >>> 24;
    low = xor(lower, a, b, c, d) ^ xor(lower, e, f, g, h);
    high = xor(upper, a, b, c, d) ^ xor(upper, e, f, g, h);
  }
  for (; at < bytes.length; at++) {
    const index = (low ^ (bytes[at] as number)) & 255;
    low = ((low >>> 8) | (high << 24)) ^ (lower[index] as number);
    high = (high >>> 8) ^ (upper[index] as number);
  }
  crc.upper = ~high >>> 0;
  crc.lower = ~low >>> 0;
}

let crc32cTable: Table | undefined;
let crc64Tables: { upper: Table; lower: Table } | undefined;

function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}

function xor(table: Table, a: number, b: number, c: number, d: number): number {
  return (table[a] as number) ^ (table[b] as number) ^ (table[c] as number) ^ (table[d] as number);
}

function table32(polynomial: number): Table {
  const table = new Int32Array(2048);
  for (let i = 0; i < 256; i++) {
    let value = i;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? polynomial : 0);
    table[i] = value;
  }
  for (let i = 256; i < 2048; i++) {
    const before = table[i - 256] as number;
    table[i] = (before >>> 8) ^ (table[before & 255] as number);
  }
  return table;
}

function tables64(polynomialUpper: number, polynomialLower: number) {
  const upper = new Int32Array(2048);
  const lower = new Int32Array(2048);
  for (let i = 0; i < 256; i++) {
    let high = 0;
    let low = i;
    for (let bit = 0; bit < 8; bit++) {
      const odd = low & 1;
      low = (low >>> 1) | (high << 31);
      high >>>= 1;
      if (odd === 1) {
        low ^= polynomialLower;
        high ^= polynomialUpper;
      }
    }
    upper[i] = high;
    lower[i] = low;
  }
  for (let i = 256; i < 2048; i++) {
    const high = upper[i - 256] as number;
    const low = lower[i - 256] as number;
    const index = low & 255;
    lower[i] = ((low >>> 8) | (high << 24)) ^ (lower[index] as number);
    upper[i] = (high >>> 8) ^ (upper[index] as number);
  }
  return { upper, lower };
}
