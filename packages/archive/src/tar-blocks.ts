/** The bytes of a tar archive, taken block by block and content by content from whatever pieces they come in. */
import { SourceError } from "@pannier/core/adapter";
import { BLOCK } from "./tar-header.ts";

export interface BlockReader {
  /** The next block. @throws SourceError `invalid` where the bytes end */
  block(): Promise<Buffer>;
  /** Tells that so much content comes next, padded to whole blocks. */
  expect(size: number): void;
  /** What is left of that content. @throws SourceError `invalid` where the bytes end */
  content(): AsyncGenerator<Uint8Array>;
  /** Passes over what is left of the content, and its padding. */
  skip(): Promise<void>;
  /** The next block, or what there is of it; `undefined` where nothing is left. */
  rest(): Promise<Buffer | undefined>;
  /** Gives up the bytes. */
  close(): Promise<void>;
}

export function createBlockReader(bytes: AsyncIterable<Uint8Array>): BlockReader {
  const iterator = bytes[Symbol.asyncIterator]();
  let piece: Buffer = Buffer.alloc(0);
  let at = 0;
  /** Of the content. */
  let left = 0;
  let padding = 0;

  /** Makes sure that there is something in the piece. @returns false at the end */
  async function more(): Promise<boolean> {
    while (at === piece.byteLength) {
      const { done, value } = await iterator.next();
      if (done === true) return false;
      piece = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      at = 0;
    }
    return true;
  }

  async function block(partial: boolean): Promise<Buffer | undefined> {
    await skip();
    if (piece.byteLength - at >= BLOCK) return piece.subarray(at, (at += BLOCK));
    const whole = Buffer.alloc(BLOCK);
    let filled = 0;
    while (filled < BLOCK) {
      if (!(await more())) {
        if (!partial) throw cutShort();
        return filled === 0 ? undefined : whole.subarray(0, filled);
      }
      const end = Math.min(piece.byteLength, at + BLOCK - filled);
      piece.copy(whole, filled, at, end);
      filled += end - at;
      at = end;
    }
    return whole;
  }

  async function skip(): Promise<void> {
    left += padding;
    padding = 0;
    while (left > 0) {
      if (!(await more())) throw cutShort();
      const end = Math.min(piece.byteLength, at + left);
      left -= end - at;
      at = end;
    }
  }

  return {
    block: async () => (await block(false)) as Buffer,
    rest: () => block(true),
    expect(size) {
      left = size;
      padding = (BLOCK - (size % BLOCK)) % BLOCK;
    },
    async *content() {
      while (left > 0) {
        if (!(await more())) throw cutShort();
        const chunk = piece.subarray(at, at + left);
        left -= chunk.byteLength;
        at += chunk.byteLength;
        yield chunk;
      }
    },
    skip,
    async close() {
      await iterator.return?.();
    },
  };
}

function cutShort(): SourceError {
  return new SourceError("invalid", "the archive was cut short");
}
