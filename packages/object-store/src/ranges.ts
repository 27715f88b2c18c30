/**
 * The ranges that a listing is cut into, in order, with the pages of each that came. Nothing here asks for anything: see
 * {@link orderedPages}.
 */
import { quotePath } from "@pannier/core/adapter";
import { type Compare, guessBoundaries } from "./boundaries.ts";

/** Objects in ascending order of their keys. */
export interface Page<Item> {
  readonly items: readonly Item[];
  /** Goes on behind this page; `undefined` where nothing follows. */
  readonly next: string | undefined;
  /** True where the store told of something that is not among the items: such a page is not empty. */
  readonly passed?: boolean | undefined;
}

export interface Keyed {
  readonly key: string;
}

export interface Range<Item> {
  /** Keys behind this one; `undefined`: from the first. */
  readonly after: string | undefined;
  /** Up to and with this one; `undefined`: to the last. */
  to: string | undefined;
  /** The last key that came. */
  last: string | undefined;
  continuation: string | undefined;
  /** Not yet given out. */
  pages: (readonly Item[])[];
  state: "waiting" | "asking" | "done";
  /** Begins at a guess, and no page of it has come yet. */
  guessed: boolean;
  /** Pages that came. */
  fetched: number;
  /** The first key of the last of them. */
  began: string | undefined;
  /** Empty ones in a row. */
  empty: number;
}

export interface Ranges<Item> {
  readonly all: Range<Item>[];
  /** What every key of the listing starts with. */
  readonly prefix: string;
  /** The most ranges that are asked for pages at once. */
  readonly atOnce: number;
  readonly compare: Compare;
  /** Pages that wait or are asked for, those with long keys several times. */
  held: number;
  /** How many times a full page counts, with keys like those of the last one. */
  heavy: number;
  /** Keys of the fullest page. */
  fullest: number;
  /** New ranges at once: more as guesses prove right, fewer as they prove empty. */
  width: number;
  /** Pages that a new range is meant to have. */
  reach: number;
}

/**
 * Empty pages in a row of one range. Stores answer them where they look through what was deleted, some thousand keys a page; a
 * listing that consists of nothing else has no end.
 */
const EMPTY_PAGES = 1000;
/** Pages that wait for their turn, for each one asked for at once. */
const WAITING = 4;
/** Bytes of a page's keys as pages usually have them; one with longer keys counts as several. */
const USUAL = 100_000;
/** Ranges that a range is cut into at least, however badly the last guesses went. */
const LEAST_AT_ONCE = 4;
/** How many pages a new range is meant to have: the more, the fewer half-empty last pages. */
const PAGES_A_RANGE = 2.5;

/** A listing as one range. */
export function oneRange<Item extends Keyed>(
  init: Pick<Ranges<Item>, "prefix" | "atOnce" | "compare">,
): Ranges<Item> {
  return {
    ...init,
    all: [range(undefined, undefined)],
    held: 0,
    heavy: 1,
    fullest: 0,
    width: LEAST_AT_ONCE,
    reach: PAGES_A_RANGE,
  };
}

/**
 * Takes a page that came, and cuts the range where that shows that it goes on.
 *
 * @returns what the store is at fault with, if it is
 */
export function take<Item extends Keyed>(
  ranges: Ranges<Item>,
  of: Range<Item>,
  { items, next, passed }: Page<Item>,
): string | undefined {
  const { compare } = ranges;
  const fault = outOfOrder(items, of.last ?? of.after, compare);
  if (fault !== undefined) return fault;
  of.empty = items.length === 0 && passed !== true ? of.empty + 1 : 0;
  // Pages may be empty, and others follow; this one would be asked for again and again.
  if (next !== undefined && next === of.continuation) return "its listing goes on where it was";
  if (of.empty > EMPTY_PAGES) {
    return `it answers page after page without a key, ${EMPTY_PAGES} in a row`;
  }
  const inside = within(items, of.to, compare);
  const before = of.began;
  of.began = inside[0]?.key ?? before;
  if (of.guessed) {
    ranges.width =
      inside.length > 0 ? ranges.width + 1 : Math.max(LEAST_AT_ONCE, ranges.width >> 1);
  }
  of.guessed = false;
  of.last = inside.at(-1)?.key ?? of.last;
  of.continuation = next;
  of.state = next === undefined || inside.length < items.length ? "done" : "waiting";
  if (inside.length > 0) {
    of.fetched++;
    of.pages.push(inside);
    ranges.fullest = Math.max(ranges.fullest, inside.length);
    ranges.heavy = weightOf(inside, ranges.fullest);
    ranges.held += weightOf(inside);
  }
  if (of.state === "done" && of.to !== undefined) learn(ranges, of.fetched);
  // One page tells how its keys go on, two how they are carried over: `a/999` to `b/000`.
  else if (of.state === "waiting" && before !== undefined) split(ranges, of, before, inside);
  return undefined;
}

/** A range that ended at once was cut too short for its pages to be worth while, one that went on and on too long. */
function learn(ranges: { reach: number }, fetched: number): void {
  if (fetched === 1) ranges.reach = Math.min(ranges.reach * 1.25, 64);
  else if (fetched > 2 * PAGES_A_RANGE) ranges.reach = Math.max(ranges.reach / 1.25, 0.5);
}

/** @param began the first key of the page before */
function split<Item extends Keyed>(
  { all, prefix, atOnce, compare, width, reach }: Ranges<Item>,
  of: Range<Item>,
  began: string,
  page: readonly Item[],
): void {
  const at = all.indexOf(of);
  if (atOnce === 1 || at === -1 || at >= atOnce) return;
  const keys = [began, ...page.map(({ key }) => key)];
  const known = { keys, fixed: prefix.length, to: of.to, compare };
  const cuts = guessBoundaries(known, Math.min(width, atOnce), reach / 2);
  if (cuts.length === 0) return;
  const ends = [...cuts.slice(1), of.to];
  const added = cuts.map((cut, i) => ({ ...range<Item>(cut, ends[i]), guessed: true }));
  all.splice(at + 1, 0, ...added);
  of.to = cuts[0];
  of.fetched = 0;
}

/** The range to ask for its next page now: of those that miss some, the nearest. */
export function wanted<Item extends Keyed>(
  ranges: Ranges<Item>,
  { asking, starved }: { readonly asking: number; readonly starved: boolean },
): Range<Item> | undefined {
  const { all, atOnce, heavy } = ranges;
  if (asking >= atOnce || (asking > 0 && asking * heavy >= atOnce)) return undefined;
  const position = all.findIndex(
    ({ state, pages }) => state === "waiting" && pages.length < WAITING,
  );
  if (position === -1) return undefined;
  const isStarved = starved && all[0]?.pages.length === 0;
  const hasRoom = ranges.held < atOnce * WAITING || (isStarved && forgetBehind(ranges, position));
  // The first one, which is being given out, may always go on.
  return hasRoom || position === 0 ? all[position] : undefined;
}

/** The next page of the first range, which nobody holds any longer. */
export function nextPage<Item extends Keyed>(ranges: Ranges<Item>): readonly Item[] | undefined {
  const page = ranges.all[0]?.pages.shift();
  if (page !== undefined) ranges.held -= weightOf(page);
  return page;
}

/** Makes room for a range by what waits farthest behind it. @returns whether there was something */
function forgetBehind<Item extends Keyed>(ranges: Ranges<Item>, position: number): boolean {
  const farthest = ranges.all.findLastIndex(
    ({ state, pages }, at) => at > position + 1 && state !== "asking" && pages.length > 0,
  );
  const forgotten = ranges.all[farthest];
  if (forgotten === undefined) return false;
  ranges.held -= forgotten.pages.reduce((sum, page) => sum + weightOf(page), 0);
  ranges.all[farthest] = range(forgotten.after, forgotten.to);
  return true;
}

function range<Item>(after: string | undefined, to: string | undefined): Range<Item> {
  return {
    after,
    to,
    last: undefined,
    continuation: undefined,
    pages: [],
    state: "waiting",
    guessed: false,
    fetched: 0,
    began: undefined,
    empty: 0,
  };
}

function weightOf(page: readonly Keyed[], keys = page.length): number {
  // The keys of a page are about as long as each other.
  const ends = [page[0], page.at(-1)].map((item) => Buffer.byteLength(item?.key ?? ""));
  return Math.max(1, Math.round((Math.max(...ends) * keys) / USUAL));
}

/** What is wrong with the first key that does not come behind the one before it, if there is one. */
function outOfOrder(
  items: readonly Keyed[],
  floor: string | undefined,
  compare: Compare,
): string | undefined {
  let before = floor;
  for (const [at, { key }] of items.entries()) {
    // The plain comparison is quick, and the orders of stores differ from it only where this is false.
    const isBehind = at > 0 && before !== undefined && key > before;
    if (before !== undefined && !isBehind && compare(key, before) <= 0) {
      return key === before
        ? `it lists ${quotePath(key)} twice`
        : `it lists ${quotePath(key)} after ${quotePath(before)}, out of their order`;
    }
    before = key;
  }
  return undefined;
}

/** Those up to the end of the range. */
function within<Item extends Keyed>(
  items: readonly Item[],
  to: string | undefined,
  compare: Compare,
): readonly Item[] {
  const last = items.at(-1);
  if (to === undefined || last === undefined || compare(last.key, to) <= 0) return items;
  let low = 0;
  for (let high = items.length; low < high;) {
    const middle = (low + high) >> 1;
    if (compare((items[middle] as Item).key, to) <= 0) low = middle + 1;
    else high = middle;
  }
  return items.slice(0, low);
}
