/**
 * Takes a list as the API server sends it apart while it comes: a page of 500 objects may have 500 MiB, and none of it is held
 * but the object that is being read.
 */
import { SourceError } from "@pannier/core/adapter";
import { notApi, parseJson } from "./errors.ts";

/** Bytes of one object: etcd takes 1.5 MiB, which JSON and Base64 make larger. */
export const LONGEST_OBJECT = 32 << 20;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** What a list says beside its items. */
export interface ListMeta {
  readonly resourceVersion?: unknown;
  /** Where the next page goes on; none or empty for the last one. */
  readonly continue?: unknown;
}

/**
 * The objects in `items` of a list, one by one; returns its `metadata`.
 *
 * @throws SourceError `invalid` where that is not what comes, or ends before it is whole
 */
export async function* readItems(
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<unknown, ListMeta> {
  /** Of brackets of both kinds. */
  let depth = 0;
  let inString = false;
  let escaped = false;
  /** Whether what is open at depth 2 is an array. */
  let inItems = false;
  let ended = false;
  /** Of the object that is being read. */
  let parts: Uint8Array[] = [];
  let held = 0;
  let meta: ListMeta | undefined;
  let lists = 0;

  for await (const received of body) {
    const chunk = Buffer.from(received.buffer, received.byteOffset, received.byteLength);
    /** Where in this chunk the object goes on; -1: none is open. */
    let from = held > 0 ? 0 : -1;
    // The next of each from here on, so that no byte is looked at more than once for either.
    let quote = -1;
    let backslash = -1;
    for (let at = 0; at < chunk.length; at++) {
      if (inString) {
        if (escaped) {
          escaped = false;
          continue;
        }
        // Most of a list is text, of which only its end matters.
        if (quote < at) quote = indexIn(chunk, QUOTE, at);
        if (backslash < at) backslash = indexIn(chunk, BACKSLASH, at);
        at = Math.min(quote, backslash);
        if (backslash < quote) escaped = true;
        else if (quote < chunk.length) inString = false;
        continue;
      }
      switch (chunk[at]) {
        case QUOTE:
          if (depth === 0) throw notApi();
          inString = true;
          break;
        case OPEN_BRACE:
          depth++;
          if (from === -1 && (depth === 2 || (depth === 3 && inItems))) from = at;
          break;
        case OPEN_BRACKET:
          depth++;
          if (depth === 1) throw notApi();
          if (depth === 2) {
            inItems = true;
            lists++;
          }
          break;
        case CLOSE_BRACKET:
          if (depth === 2) inItems = false;
          depth--;
          break;
        case CLOSE_BRACE: {
          const isItem = inItems && depth === 3;
          if (isItem || (!inItems && depth === 2)) {
            const text = Buffer.concat([...parts, chunk.subarray(from, at + 1)]).toString();
            const value = parseJson(text);
            parts = [];
            held = 0;
            from = -1;
            if (isItem) yield value;
            else meta = value as ListMeta;
          }
          depth--;
          if (depth === 0) ended = true;
          break;
        }
        default:
          if (depth === 0 && !isBlank(chunk[at] as number)) throw notApi();
      }
      if (depth < 0) throw notApi();
    }
    if (from !== -1) {
      // The chunk's memory may be used again.
      const part = Uint8Array.from(chunk.subarray(from));
      parts.push(part);
      held += part.length;
      if (held > LONGEST_OBJECT) {
        throw new SourceError("invalid", `an object is larger than ${LONGEST_OBJECT} bytes`);
      }
    }
  }
  if (!ended || depth !== 0 || meta === undefined || lists > 1) throw notApi();
  return meta;
}

function indexIn(chunk: Buffer, byte: number, from: number): number {
  const at = chunk.indexOf(byte, from);
  return at === -1 ? chunk.length : at;
}

function isBlank(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
}
