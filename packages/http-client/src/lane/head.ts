/**
 * The head of an answer, as strictly as can be: whatever HTTP/1.1 leaves open, or parsers read in different ways, is refused, and so is what
 * is not needed here (chunks, interim answers, HTTP/1.0). Nothing is taken that llhttp refuses; see the test.
 */

/** Bytes of a head; llhttp's limit in Node. */
export const MAX_HEAD = 16 * 1024;

export interface Head {
  readonly status: number;
  /** By lower-case name; repeated ones joined with commas. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Bytes of the body. */
  readonly length: number;
  /** Whether the connection can be used again. */
  readonly keepAlive: boolean;
}

/**
 * RFC 9112, 4, and RFC 9110, 5.1 and 5.5: a name may be followed by nothing but its colon. All of it in one expression: one for each line takes several
 * times as long.
 */
const HEAD =
  /^HTTP\/1\.1 ([2-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?(?:\r\n[\w!#$%&'*+.^`|~-]+:[\t\x20-\x7e\x80-\xff]*)*$/;
const AROUND = /^[\t ]+|[\t ]+$/g;
const LENGTH = /^\d{1,15}$/;

/** @param text all up to the empty line, which is left out; latin1. @returns `undefined` where it is refused */
export function parseHead(text: string): Head | undefined {
  const status = HEAD.exec(text)?.[1];
  if (status === undefined) return undefined;
  const headers = Object.create(null) as Record<string, string>;
  for (let line = 0, end = text.indexOf("\r\n"); end !== -1; line++) {
    const { written, name } = nameAt(text, end + 2, line);
    const start = end + 2 + written.length;
    end = text.indexOf("\r\n", start);
    const value = valueIn(text, start, end === -1 ? text.length : end);
    const before = headers[name];
    if (before !== undefined && SINGLE.has(name)) return undefined;
    headers[name] = before === undefined ? value : `${before},${value}`;
  }
  const length = headers["content-length"];
  if (length === undefined || !LENGTH.test(length)) return undefined;
  for (const name of REFUSED) if (headers[name] !== undefined) return undefined;
  const connection = headers["connection"]?.toLowerCase();
  const keepAlive = connection === undefined || connection === "keep-alive";
  return { status: Number(status), headers, length: Number(length), keepAlive };
}

interface Name {
  /** With its colon. */
  readonly written: string;
  readonly name: string;
}

/** Lines of a head whose names are remembered. */
const USUAL_LINES = 50;

/** Names of the last heads, by their lines. A server sends the same ones again and again: they are compared, and not made anew. */
const usual: Name[] = [];

function nameAt(text: string, start: number, line: number): Name {
  const known = usual[line];
  if (known !== undefined && text.startsWith(known.written, start)) return known;
  const written = text.slice(start, text.indexOf(":", start) + 1);
  const found = { written, name: written.slice(0, -1).toLowerCase() };
  if (line < USUAL_LINES) usual[line] = found;
  return found;
}

const BLANK = 0x20;

/** Without the blanks around it; almost all have one before them. */
function valueIn(text: string, from: number, to: number): string {
  const start = text.charCodeAt(from) === BLANK ? from + 1 : from;
  const value = text.slice(start, to);
  const isTrimmed = value.charCodeAt(0) > BLANK && value.charCodeAt(value.length - 1) > BLANK;
  return isTrimmed ? value : value.replace(AROUND, "");
}

/** What decides where an answer ends, and which version it is. */
const SINGLE: ReadonlySet<string> = new Set([
  "content-length",
  "content-encoding",
  "content-range",
  "content-type",
  "date",
  "etag",
  "last-modified",
]);

/** What an answer of this kind has no use for. */
const REFUSED: readonly string[] = ["transfer-encoding", "upgrade", "trailer"];
