/** The bytes of a tar archive, taken block by block and content by content from whatever pieces they come in. */
import { SourceError } from "@pannier/core/adapter";
import { BLOCK } from "./tar-header.ts";

export interface BlockReader {
  /** The next block, at once where it is there. @throws SourceError `invalid` where the bytes end */
  block(): Buffer | Promise<Buffer>;
  /** Tells that so much content comes next, padded to whole blocks. */
  expect(size: number): void;
  /** What is left of that content. @throws SourceError `invalid` where the bytes end */
  content(): AsyncGenerator<Uint8Array>;
  /** The same in one piece, at once where it is there. For content that may be in memory. */
  whole(): Buffer | Promise<Buffer>;
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

  async function slowBlock(partial: boolean): Promise<Buffer | undefined> {
    await skip();
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

  /** Most blocks are there with the content before them: nobody need wait. */
  function block(partial: boolean): Buffer | Promise<Buffer | undefined> {
    const next = at + left + padding;
    if (next + BLOCK > piece.byteLength) return slowBlock(partial);
    left = 0;
    padding = 0;
    at = next + BLOCK;
    return piece.subarray(next, at);
  }

  function take(): Buffer {
    const chunk = piece.subarray(at, at + left);
    left -= chunk.byteLength;
    at += chunk.byteLength;
    return chunk;
  }

  async function* content(): AsyncGenerator<Buffer> {
    while (left > 0) {
      if (!(await more())) throw cutShort();
      yield take();
    }
  }

  async function gather(): Promise<Buffer> {
    const chunks: Buffer[] = [];
    for await (const chunk of content()) chunks.push(chunk);
    return Buffer.concat(chunks);
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
    block: () => block(false) as Buffer | Promise<Buffer>,
    rest: async () => block(true),
    expect(size) {
      left = size;
      padding = (BLOCK - (size % BLOCK)) % BLOCK;
    },
    content,
    whole: () => (at + left <= piece.byteLength ? take() : gather()),
    async close() {
      await iterator.return?.();
    },
  };
}

function cutShort(): SourceError {
  return new SourceError("invalid", "the archive was cut short");
}
