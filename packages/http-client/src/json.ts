/** JSON of servers that may mean harm. */
import { readBytes } from "./body.ts";

/** Objects and arrays within each other. */
const MAX_DEPTH = 16;

export interface JsonLimits {
  /** Bytes. */
  readonly size: number;
  /** Objects and arrays. */
  readonly values: number;
}

/**
 * A body's JSON. A text with more objects and arrays than such an answer has, or too many in each other, takes the parser seconds, in which
 * nothing else is done (8 MiB of brackets: two), so these are counted before.
 *
 * @param invalid makes the error for what is not JSON, or exceeds the limits
 * @throws SourceError `invalid` where it is larger; what `invalid` makes
 */
export async function readJson(
  body: AsyncIterable<Uint8Array>,
  { size, values }: JsonLimits,
  invalid: (cause?: unknown) => Error,
): Promise<unknown> {
  const bytes = await readBytes(body, size);
  if (!isFlat(bytes, values)) throw invalid();
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalid(error);
  }
}

function isFlat(bytes: Buffer, most: number): boolean {
  let depth = 0;
  let values = 0;
  for (let at = 0; at < bytes.byteLength; at++) {
    switch (bytes[at]) {
      case QUOTE:
        // Over a text, which may hold anything.
        for (at++; at < bytes.byteLength && bytes[at] !== QUOTE; at++)
          if (bytes[at] === BACKSLASH) at++;
        break;
      case 0x5b:
      case 0x7b:
        if (++depth > MAX_DEPTH || ++values > most) return false;
        break;
      case 0x5d:
      case 0x7d:
        depth--;
        break;
    }
  }
  return true;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
