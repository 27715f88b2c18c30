/** One digest of a file that is read back range by range, in order. */
import { createHash } from "node:crypto";
import { readSync } from "node:fs";
import type { Digest } from "../source/contract.ts";
import { hasherOf } from "./content-hash.ts";
import { md5Eight, WIDTH } from "./md5-eight.ts";

export interface RangeHasher {
  /** Takes in what an open file has from `start` to `end`; the file stays open up to the digest. @throws errors of the file system */
  update(fd: number, start: number, end: number): void;
  /** In hex. */
  digest(): string;
}

export type DigestKind = Pick<Digest, "algorithm" | "partSize">;

/** Bytes of the largest parts that are hashed side by side, which begins once eight are there. */
const LARGEST = 64 * 2 ** 20;

/** Whether the parts of a file are hashed side by side, which takes less time than its SHA-256. */
export function isSideBySide({ algorithm, partSize = Infinity }: DigestKind): boolean {
  return algorithm === "md5" && partSize <= LARGEST;
}

export function createRangeHasher(kind: DigestKind): RangeHasher {
  const { partSize } = kind;
  return partSize !== undefined && isSideBySide(kind) ? sideBySide(partSize) : inOrder(kind);
}

const buffer = Buffer.allocUnsafeSlow(256 * 1024);

function inOrder(kind: DigestKind): RangeHasher {
  const hasher = hasherOf(kind);
  return {
    update(fd, start, end) {
      for (let at = start; at < end;) {
        const count = readSync(fd, buffer, 0, Math.min(buffer.length, end - at), at);
        // It ends at the end of the file, if that comes first.
        if (count === 0) return;
        hasher.update(buffer.subarray(0, count));
        at += count;
      }
    },
    digest: () => hasher.digest().toString("hex"),
  };
}

/** The MD5 of the MD5s of parts. */
function sideBySide(partSize: number): RangeHasher {
  const all = createHash("md5");
  let file = -1;
  /** What is hashed, and what is there. */
  let hashed = 0;
  let present = 0;

  function take(count: number, length: number): void {
    const digests = md5Eight(count, length, (part, into, position) =>
      fill(file, into, hashed + part * partSize + position),
    );
    for (const digest of digests) all.update(digest);
    hashed += count * length;
  }

  return {
    update(fd, _start, end) {
      file = fd;
      present = end;
      while (present - hashed >= WIDTH * partSize) take(WIDTH, partSize);
    },
    digest() {
      const whole = Math.floor((present - hashed) / partSize);
      if (whole > 0) take(whole, partSize);
      if (present > hashed) take(1, present - hashed);
      return all.digest("hex");
    },
  };
}

function fill(fd: number, into: Uint8Array, position: number): void {
  for (let at = 0; at < into.length;) {
    const count = readSync(fd, into, at, into.length - at, position + at);
    if (count === 0) throw new Error("a file got shorter while it was hashed");
    at += count;
  }
}
