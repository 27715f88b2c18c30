/** Parts of files: RFC 9110, section 14. */
import type { ByteRange } from "@pannier/core/adapter";
import type { HttpResponse } from "./response.ts";

/** The value of `Range`. */
export function rangeHeader({ offset, length }: ByteRange): string {
  return `bytes=${offset}-${length === undefined ? "" : offset + length - 1}`;
}

/** The headers that ask for a part, if it is one that is wanted. */
export function rangeHeaders(range: ByteRange | undefined): Readonly<Record<string, string>> {
  return range === undefined ? {} : { range: rangeHeader(range) };
}

/**
 * Why an answer is not the part that was asked for, or not the whole; `undefined` if it is. What stands between may ignore
 * the range.
 *
 * @param size the file's, as listed
 * @param range what was asked for; `undefined`: the whole
 */
export function rangeMismatch(
  { status, headers }: Pick<HttpResponse, "status" | "headers">,
  size: number | undefined,
  range: ByteRange | undefined,
): string | undefined {
  if (range === undefined) {
    if (status === 206) return "the server sent a part instead of the whole";
    return sizeMismatch(headers["content-length"], size);
  }
  if (status === 200) return "the server sent the whole instead of a part";
  const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers["content-range"] ?? "") ?? [];
  if (Number(start) !== range.offset) return "the server sent a different part than requested";
  return sizeMismatch(total === "*" ? undefined : total, size);
}

function sizeMismatch(found: string | undefined, size: number | undefined): string | undefined {
  if (found === undefined || size === undefined || Number(found) === size) return undefined;
  return `it has ${found} bytes; ${size} were listed`;
}
