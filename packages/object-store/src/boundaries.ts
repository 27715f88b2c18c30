/**
 * Where to cut a range of keys of which only the beginning is known. Keys are read as numbers: the place at which a page's first
 * and last key part is a digit, and so are its neighbours, each with the characters that may stand there. A page's distance
 * from end to end, added to its last key, is then about where the next page ends. Whether a guess is good decides how fast
 * a listing is, never what it holds: any text can be a cut.
 */
/** Negative where `a` comes before `b`, positive where it comes behind. */
export type Compare = (a: string, b: string) => number;

/** Digits before and after the one at which keys part: enough to carry over, and to be within a double's 53 bits. */
const BEFORE = 5;
const AFTER = 4;

export interface Known {
  /** Keys of one page, in order; at least two. */
  readonly keys: readonly string[];
  /** Characters at the start of all keys of the listing, which are never cut. */
  readonly fixed: number;
  /** End of the range; `undefined`: that of the listing. */
  readonly to: string | undefined;
  readonly compare: Compare;
}

/**
 * Guesses at most `count` cuts behind the last key, ascending and inside the range, each `pages` times what the page covers
 * behind the one before.
 */
export function guessBoundaries(known: Known, count: number, pages: number): string[] {
  const { keys, fixed, to, compare } = known;
  const first = keys[0] as string;
  const last = keys.at(-1) as string;
  const parted = partedAt(first, last);
  const start = Math.max(fixed, parted - BEFORE);
  const digits: Alphabet[] = [];
  const typical = new Set<number>();
  for (let at = parted + 1; at <= parted + AFTER; at++) addSeen(typical, keys, at);
  for (let at = start; at <= parted + AFTER; at++) {
    const seen = new Set<number>();
    if (at < parted) seen.add(last.charCodeAt(at));
    else addSeen(seen, keys, at);
    if (seen.size === 0) break;
    digits.push(alphabetOf(seen, at <= parted ? typical : undefined));
  }
  const unit = digits.slice(parted - start + 1).reduce((size, { length }) => size * length, 1);
  const from = toNumber(last, start, digits);
  const step = Math.max(from - toNumber(first, start, digits), unit / 8) * pages;
  const capacity = digits.reduce((size, { length }) => size * length, 1);
  const stem = last.slice(0, start);

  const cuts: string[] = [];
  let previous = last;
  for (let i = 1; i <= count; i++) {
    const value = from + step * i;
    if (value >= capacity) break;
    const cut = stem + toText(value, digits);
    if (to !== undefined && compare(cut, to) >= 0) break;
    if (compare(cut, previous) <= 0) continue;
    cuts.push(cut);
    previous = cut;
  }
  return cuts;
}

/** Character codes that may stand at one place, ascending. */
type Alphabet = readonly number[];

function partedAt(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a.charCodeAt(at) === b.charCodeAt(at)) at++;
  return at;
}

function addSeen(seen: Set<number>, keys: readonly string[], at: number): void {
  for (const key of keys) if (at < key.length) seen.add(key.charCodeAt(at));
}

/**
 * What was seen, and its like: what stands in the places behind where that holds it all (hexadecimal digits), or else all
 * digits for a digit, and all letters for a letter.
 *
 * @param typical what stands behind; `undefined` for those places themselves, where all is seen that matters
 */
function alphabetOf(seen: ReadonlySet<number>, typical: ReadonlySet<number> | undefined): Alphabet {
  const codes = new Set(seen);
  for (const code of seen) {
    const [from, to] = likeOf(code);
    if (from === to || (codes.has(from) && codes.has(to))) continue;
    if (typical === undefined && code >= 0x3a && code < 0x80) continue;
    if (typical?.has(code) === true) {
      for (const like of typical) if (isAlphanumeric(like)) codes.add(like);
    } else {
      for (let like = from; like <= to; like++) codes.add(like);
    }
  }
  return [...codes].toSorted((a, b) => a - b);
}

function isAlphanumeric(code: number): boolean {
  const [from, to] = likeOf(code);
  return from < to;
}

function likeOf(code: number): readonly [from: number, to: number] {
  if (code >= 0x30 && code <= 0x39) return [0x30, 0x39];
  if (code >= 0x41 && code <= 0x5a) return [0x41, 0x5a];
  if (code >= 0x61 && code <= 0x7a) return [0x61, 0x7a];
  // Separators stay what they are, and the first half of a surrogate pair.
  if (code < 0x80 || (code >= 0xd800 && code < 0xdc00)) return [code, code];
  if (code >= 0xdc00 && code < 0xe000) return [code & ~0xff, code | 0xff];
  return [code & ~0xfff, Math.min(code | 0xfff, code < 0xd800 ? 0xd7ff : 0xffff)];
}

function toNumber(key: string, start: number, digits: readonly Alphabet[]): number {
  let value = 0;
  digits.forEach((alphabet, i) => {
    const code = start + i < key.length ? key.charCodeAt(start + i) : -1;
    const place = alphabet.findIndex((each) => each >= code);
    value = value * alphabet.length + (place === -1 ? alphabet.length - 1 : place);
  });
  return value;
}

function toText(number: number, digits: readonly Alphabet[]): string {
  let value = Math.floor(number);
  const codes: number[] = [];
  for (const alphabet of digits.toReversed()) {
    codes.push(alphabet[value % alphabet.length] as number);
    value = Math.floor(value / alphabet.length);
  }
  return String.fromCharCode(...codes.toReversed()).toWellFormed();
}
