/** What names the version of a URL that was listed, and whether an answer is that one. Loaded by lanes, too: it imports nothing heavy. */
import type { HttpResponse } from "./response.ts";
import { ifMatch, tagIn } from "./validators.ts";

/**
 * What names a version of a URL, as text: `etag "x"`, `modified DATE`, or, from index pages, which know no more,
 * `second DATE` and `minute DATE`. It is kept in tokens and with entries.
 */
export type Validator = string;

/** Compared here as well, because servers ignore conditions; weakly, because a weak ETag fails every If-Match. */
export function sameVersion(
  response: Pick<HttpResponse, "headers">,
  validator: Validator | undefined,
): boolean {
  const [kind, value] = splitValidator(validator);
  const modified = response.headers["last-modified"];
  switch (kind) {
    case "etag":
      return tagIn(response.headers["etag"]) === tagIn(value);
    case "modified":
      return modified === value || isSameDate(modified, value);
    case "second":
      // Of the index: the file itself may come without a date (nginx with SSI).
      return modified === undefined || isSameDate(modified, value);
    case "minute": {
      // In the server's time zone, which the page does not name; zones differ by quarters of an hour.
      const apart = Math.floor(Date.parse(modified ?? "") / 60_000) - Date.parse(value) / 60_000;
      return modified === undefined || (apart % 15 === 0 && Math.abs(apart) <= 14 * 60);
    }
    default:
      return true;
  }
}

function isSameDate(one: string | undefined, other: string): boolean {
  return one !== undefined && Date.parse(one) === Date.parse(other);
}

/** The condition "only if it is still that version". */
export function ifMatchHeaders(validator: Validator | undefined): Record<string, string> {
  const [kind, value] = splitValidator(validator);
  if (kind === "etag") return ifMatch(value);
  if (kind === "second") return { "if-unmodified-since": new Date(value).toUTCString() };
  const isDate = kind === "modified" && !Number.isNaN(Date.parse(value));
  return isDate ? { "if-unmodified-since": value } : {};
}

export function splitValidator(validator: Validator | undefined): [kind: string, value: string] {
  const [, kind = "", value = ""] = /^(\S+) (.*)$/s.exec(validator ?? "") ?? [];
  return [kind, value];
}
