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

const STATUS = /^HTTP\/1\.1 ([2-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
/** RFC 9110, 5.1 and 5.5. A name may be followed by nothing but its colon. */
const FIELD = /^([\w!#$%&'*+.^`|~-]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)$/;
const LENGTH = /^\d{1,15}$/;

/** @param text all up to the empty line, which is left out; latin1. @returns `undefined` where it is refused */
export function parseHead(text: string): Head | undefined {
  const lines = text.split("\r\n");
  const status = STATUS.exec(lines[0] as string)?.[1];
  if (status === undefined) return undefined;
  const headers = Object.create(null) as Record<string, string>;
  for (let at = 1; at < lines.length; at++) {
    const [, written, value] = FIELD.exec(lines[at] as string) ?? [];
    if (written === undefined || value === undefined) return undefined;
    const name = written.toLowerCase();
    const before = headers[name];
    if (before !== undefined && SINGLE.has(name)) return undefined;
    headers[name] = before === undefined ? value.trimEnd() : `${before},${value.trimEnd()}`;
  }
  const length = headers["content-length"];
  if (length === undefined || !LENGTH.test(length)) return undefined;
  for (const name of REFUSED) if (headers[name] !== undefined) return undefined;
  const connection = headers["connection"]?.toLowerCase();
  const keepAlive = connection === undefined || connection === "keep-alive";
  return { status: Number(status), headers, length: Number(length), keepAlive };
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
