/** Reads a file mostly forwards, in pieces that many small reads share. */
import type { FileHandle } from "node:fs/promises";

/** How much is read ahead: at first and after each jump, and at most. A file that is read backwards must not be read many times over. */
const LEAST = 4096;
const MOST = 1024 * 1024;

export interface Window {
  /** Bytes from a position on. At once where they are there. Good until the next read, which writes to the same memory. */
  read(position: number, length: number): Buffer | Promise<Buffer>;
}

/**
 * @param start of the file, from which positions count
 * @param cutShort what is thrown where the file ends before
 */
export function openWindow(file: FileHandle, start: number, cutShort: () => Error): Window {
  let held = Buffer.alloc(0);
  /** Read into again and again: for every few MiB of new memory V8 would look through its heap. */
  let buffer = Buffer.alloc(0);
  let from = 0;
  let ahead = LEAST;

  async function move(position: number, length: number): Promise<Buffer> {
    const isNext = position >= from && position <= from + held.byteLength;
    ahead = isNext ? Math.min(MOST, ahead * 2) : LEAST;
    const wanted = Math.max(length, ahead);
    held = held.subarray(0, 0);
    if (buffer.byteLength < wanted) buffer = Buffer.allocUnsafeSlow(wanted);
    let got = 0;
    while (got < length) {
      const at = start + position + got;
      const { bytesRead } = await file.read(buffer, got, wanted - got, at);
      if (bytesRead === 0) throw cutShort();
      got += bytesRead;
    }
    held = buffer.subarray(0, got);
    from = position;
    return held.subarray(0, length);
  }

  return {
    read(position, length) {
      const at = position - from;
      if (at >= 0 && at + length <= held.byteLength) return held.subarray(at, at + length);
      return move(position, length);
    },
  };
}
