/** Bodies that tell the truth: one that was cut short fails, and one that is larger than allowed is not kept. */
import { createPace, releaseAfterUse, SourceError } from "@pannier/core/adapter";
import type { HttpResponse } from "./response.ts";
import { connectionError } from "./errors.ts";

/**
 * Wraps an undici body so that its failures are SourceErrors (or the signal's reason). Its end is an error where
 * `Content-Length` announced more, and so is a body that hardly moves.
 */
export function checkedBody(
  stream: AsyncIterable<Uint8Array>,
  {
    length,
    what,
    idleTimeout,
    paced,
    signal,
  }: {
    readonly length: number | undefined;
    readonly what: string;
    readonly idleTimeout: number;
    readonly paced: boolean;
    readonly signal: AbortSignal | undefined;
  },
): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = stream[Symbol.asyncIterator]();
      const pace = paced ? createPace(`${what}the answer`, { idleTimeout }) : undefined;
      let received = 0;
      return {
        async next() {
          try {
            const asked = performance.now();
            const result = await iterator.next();
            if (result.done !== true) {
              received += result.value.byteLength;
              pace?.came(performance.now() - asked, result.value.byteLength);
            } else if (length !== undefined && received !== length) {
              throw new SourceError(
                "unavailable",
                `${what}the answer ended after ${received} of ${length} bytes`,
              );
            }
            return result;
          } catch (error) {
            signal?.throwIfAborted();
            throw connectionError(error, what);
          }
        },
        async return() {
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}

/**
 * The whole body.
 *
 * @throws SourceError `invalid` when it is larger than `limit` bytes
 */
export async function readBytes(body: AsyncIterable<Uint8Array>, limit: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > limit) throw new SourceError("invalid", `the answer is larger than ${limit} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

/**
 * The whole body as UTF-8. Text by text as it comes: bytes of the whole, and the text that Node keeps outside of the heap for them, would be
 * in memory until the collector looks.
 *
 * @throws SourceError `invalid` when it is larger than `limit` bytes or not UTF-8
 */
export async function readText(body: AsyncIterable<Uint8Array>, limit: number): Promise<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  let size = 0;
  const decode = (chunk?: Uint8Array): string => {
    try {
      return decoder.decode(chunk, { stream: chunk !== undefined });
    } catch (error) {
      throw new SourceError("invalid", "the answer is not UTF-8 text", { cause: error });
    }
  };
  for await (const chunk of releaseAfterUse(body)) {
    size += chunk.byteLength;
    if (size > limit) throw new SourceError("invalid", `the answer is larger than ${limit} bytes`);
    text += decode(chunk);
  }
  return text + decode();
}

/** Bytes of a body that is read as a whole: a stream costs more than it saves. */
const WHOLE = 256 * 1024;

/** Milliseconds after which what came of it is passed on: it may come for a long time. */
const PASS_ON_AFTER_MS = 1000;

/** A body for the engine, which is done with each chunk when it asks for the next. */
export async function contentOf({
  headers,
  body,
}: Pick<HttpResponse, "headers" | "body">): Promise<Uint8Array | AsyncIterable<Uint8Array>> {
  const length = Number(headers["content-length"] ?? Infinity);
  if (length > WHOLE) return releaseAfterUse(body);
  const chunks: Uint8Array[] = [];
  const iterator = body[Symbol.asyncIterator]();
  const began = performance.now();
  for (;;) {
    const result = await iterator.next();
    if (result.done === true) return Buffer.concat(chunks);
    chunks.push(result.value);
    if (performance.now() - began > PASS_ON_AFTER_MS) return begunWith(chunks, iterator);
  }
}

async function* begunWith(
  chunks: readonly Uint8Array[],
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
    for (;;) {
      const result = await rest.next();
      if (result.done === true) return;
      yield result.value;
    }
  } finally {
    await rest.return?.();
  }
}
