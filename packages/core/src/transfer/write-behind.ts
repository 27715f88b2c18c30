/**
 * Writing a file as it comes, in larger pieces than it comes in, while the next piece is being received. A write costs the
 * thread that receives some 30 µs, and waiting for each leaves the connection idle meanwhile.
 */
import { writeAll } from "./output.ts";

/** Bytes of one write, at most. Each large file in work has two of these. */
const PIECE = 256 * 1024;

export interface WriteBehind {
  /** Takes bytes over: their memory may be another's afterwards. @throws what an earlier write failed with */
  write(chunk: Uint8Array): Promise<void>;
  /** Waits until all is written. @throws what a write failed with */
  flush(): Promise<void>;
  /** Starts again from the first position. What was not written yet is forgotten. */
  restart(): Promise<void>;
}

/**
 * @param start position of the first byte in the file
 * @param length how many are to come, as far as that is known
 */
export function writeBehind(fd: number, start: number, length = Infinity): WriteBehind {
  const size = Math.max(1, Math.min(PIECE, length));
  let position = start;
  let piece: Buffer | undefined;
  let filled = 0;
  /** The other one, free once the write under way is done. */
  let other: Buffer | undefined;
  let writing: Promise<void> = Promise.resolve();

  async function send(): Promise<void> {
    await writing;
    if (filled === 0) return;
    const full = piece as Buffer;
    writing = writeAll(fd, full.subarray(0, filled), position);
    // Whoever writes or flushes next is told.
    writing.catch(() => {});
    position += filled;
    filled = 0;
    [piece, other] = [other, full];
  }

  return {
    async write(chunk) {
      if (chunk.length >= size) {
        await send();
        await writing;
        await writeAll(fd, chunk, position);
        position += chunk.length;
        return;
      }
      for (let at = 0; at < chunk.length;) {
        piece ??= Buffer.allocUnsafeSlow(size);
        const part = chunk.subarray(at, at + size - filled);
        piece.set(part, filled);
        filled += part.length;
        at += part.length;
        if (filled === size) await send();
      }
    },
    async flush() {
      await send();
      await writing;
    },
    async restart() {
      filled = 0;
      await writing;
      position = start;
    },
  };
}
