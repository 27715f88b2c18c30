/** Streams the objects of one JSON array, so that a long listing is never in memory as a whole. */
import { SourceError } from "@pannier/core/adapter";

/** No envelope and no object of a listing is longer. */
const MAX_PIECE = 64 * 1024;

export interface Envelope {
  /** What stands before the first object, with the `[`. */
  readonly opening: RegExp;
  /** What stands after the last object, from the `]`. */
  readonly closing: RegExp;
  /** What stands in its place where there are no objects. */
  readonly empty?: RegExp | undefined;
}

/** @throws SourceError `invalid` where the text is anything but the envelope with objects in it */
export async function* jsonObjects(
  text: AsyncIterable<string>,
  { opening, closing, empty }: Envelope,
): AsyncGenerator<Record<string, unknown>[]> {
  let rest = "";
  let opened = false;
  for await (const piece of text) {
    rest += piece;
    if (!opened) {
      const start = opening.exec(rest);
      if (start === null && rest.length < MAX_PIECE) continue;
      if (start === null) throw malformed("does not begin as it should");
      rest = rest.slice(start[0].length);
      opened = true;
    }
    const objects: Record<string, unknown>[] = [];
    let from = 0;
    for (;;) {
      // Commas are not counted: whoever writes listings by hand forgives as much.
      const start = /[^\s,]/.exec(rest.slice(from));
      if (start === null || start[0] === "]") break;
      from += start.index;
      const end = endOfObject(rest, from);
      if (end === undefined) break;
      objects.push(parseObject(rest.slice(from, end)));
      from = end;
    }
    rest = rest.slice(from);
    if (rest.length > MAX_PIECE) throw malformed("holds an object that is too long");
    if (objects.length > 0) yield objects;
  }
  if (!opened && empty?.test(rest) === true) return;
  if (!opened || !closing.test(rest)) throw malformed("does not end as it should");
}

/** Where the object that begins at `from` ends; `undefined` when it is not all there yet. */
function endOfObject(text: string, from: number): number | undefined {
  if (text[from] !== "{") throw malformed("holds something other than an object");
  let depth = 0;
  let quoted = false;
  for (let i = from; i < text.length; i++) {
    const char = text[i];
    if (quoted) {
      if (char === "\\") i++;
      else if (char === '"') quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === "{" || char === "[") depth++;
    else if ((char === "}" || char === "]") && --depth === 0) return i + 1;
  }
  return undefined;
}

function parseObject(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    throw malformed("holds an object that cannot be parsed");
  }
}

function malformed(what: string): SourceError {
  return new SourceError("invalid", `the JSON listing ${what}`);
}
