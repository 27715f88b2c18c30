/**
 * A listing whose pages are fetched side by side and come out in order. It begins as one range. Whenever a page shows that its
 * range goes on, what is left is cut into ranges that are fetched at the same time, where {@link guessBoundaries} takes the
 * following pages to begin. A range that proves long is cut again, nearest first; one that proves empty has cost a request.
 *
 * Memory is bounded by pages that wait for their turn. The range that is being given out may always go on; where all the
 * room is taken by ranges far behind it, the farthest is forgotten and fetched again when its time comes.
 */
import { comparePaths, quotePath, SourceError } from "@pannier/core/adapter";
import { type Compare, guessBoundaries } from "./boundaries.ts";

/** Keys behind `after`, up to and with `to`; `undefined`: from the first, to the last. */
export interface KeyRange {
  readonly after: string | undefined;
  readonly to: string | undefined;
}

/** Objects in ascending order of their keys: see `PagesInit.compare`. */
export interface Page<Item> {
  readonly items: readonly Item[];
  /** Goes on behind this page; `undefined` where nothing follows. */
  readonly next: string | undefined;
  /** True where the store told of something that is not among the items: such a page is not empty. */
  readonly passed?: boolean | undefined;
}

/**
 * Asks for one page. The store need not know the range's end: what lies behind it is passed over. Called for several
 * ranges at once.
 *
 * @param continuation {@link Page.next} of the page before it in this range
 */
export type ListPage<Item> = (
  range: KeyRange,
  continuation: string | undefined,
  signal: AbortSignal,
) => Promise<Page<Item>>;

export interface PagesInit<Item extends { readonly key: string }> {
  readonly listPage: ListPage<Item>;
  /** What every key of the listing starts with. */
  readonly prefix: string;
  /** Pages asked for at once; 1 for a store that can only go on from page to page. */
  readonly atOnce: number;
  /** The order in which the store lists. Default: that of UTF-8 bytes. */
  readonly compare?: Compare | undefined;
  /** Where the store is, for messages. */
  readonly endpoint?: (() => Promise<string>) | undefined;
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

interface Segment<Item> {
  readonly after: string | undefined;
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

/**
 * @throws what `listPage` throws, as soon as that happens; SourceError `invalid` where the store does not list in order, or gets no further
 */
export async function* orderedPages<Item extends { readonly key: string }>(
  init: PagesInit<Item>,
  signal: AbortSignal,
): AsyncGenerator<readonly Item[]> {
  const { listPage, atOnce, prefix, compare = comparePaths } = init;
  const room = atOnce * WAITING;
  const abort = new AbortController();
  const onAbort = () => abort.abort(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener("abort", onAbort, { once: true });

  const segments: Segment<Item>[] = [segment(undefined, undefined)];
  let asking = 0;
  /** Pages that wait or are asked for, those with long keys several times. */
  let held = 0;
  /** How many times a full page counts, with keys like those of the last one. */
  let heavy = 1;
  /** Keys of the fullest page. */
  let fullest = 0;
  /** New ranges at once: more as guesses prove right, fewer as they prove empty. */
  let width = LEAST_AT_ONCE;
  let reach = PAGES_A_RANGE;
  /** A text where the store is at fault. */
  let failure: { readonly error: unknown } | undefined;
  let wake: (() => void) | undefined;
  let starved = false;

  function fail(what: string): void {
    failure ??= { error: what };
  }

  async function ask(range: Segment<Item>): Promise<void> {
    range.state = "asking";
    asking++;
    held++;
    try {
      const { after, to, continuation } = range;
      const page = await listPage({ after, to }, continuation, abort.signal);
      asking--;
      held--;
      take(range, page);
      fill();
    } catch (error) {
      failure ??= { error };
      abort.abort(error);
    }
    wake?.();
  }

  function take(range: Segment<Item>, { items, next, passed }: Page<Item>): void {
    const first = items[0];
    const floor = range.last ?? range.after;
    if (first !== undefined && floor !== undefined && compare(first.key, floor) <= 0) {
      fail(outOfOrder(first.key, floor));
      return;
    }
    const wrong = firstOutOfOrder(items, compare);
    if (wrong !== undefined) {
      fail(outOfOrder((items[wrong] as Item).key, (items[wrong - 1] as Item).key));
      return;
    }
    range.empty = items.length === 0 && passed !== true ? range.empty + 1 : 0;
    // Pages may be empty, and others follow; this one would be asked for again and again.
    if (next !== undefined && next === range.continuation) {
      fail("its listing goes on where it was");
      return;
    }
    if (range.empty > EMPTY_PAGES) {
      fail(`it answers page after page without a key, ${EMPTY_PAGES} in a row`);
      return;
    }
    const inside = within(items, range.to, compare);
    const before = range.began;
    range.began = inside[0]?.key ?? before;
    if (range.guessed) width = inside.length > 0 ? width + 1 : Math.max(LEAST_AT_ONCE, width >> 1);
    range.guessed = false;
    range.last = inside.at(-1)?.key ?? range.last;
    range.continuation = next;
    range.state = next === undefined || inside.length < items.length ? "done" : "waiting";
    if (inside.length > 0) {
      range.fetched++;
      range.pages.push(inside);
      fullest = Math.max(fullest, inside.length);
      heavy = weightOf(inside, fullest);
      held += weightOf(inside);
    }
    if (range.state === "done" && range.to !== undefined) learn(range);
    // One page tells how its keys go on, two how they are carried over: `a/999` to `b/000`.
    else if (range.state === "waiting" && before !== undefined) split(range, before, inside);
  }

  /** A range that ended at once was cut too short for its pages to be worth while, one that went on and on too long. */
  function learn({ fetched }: Segment<Item>): void {
    if (fetched === 1) reach = Math.min(reach * 1.25, 64);
    else if (fetched > 2 * PAGES_A_RANGE) reach = Math.max(reach / 1.25, 0.5);
  }

  /** @param began the first key of the page before */
  function split(range: Segment<Item>, began: string, page: readonly Item[]): void {
    const known = {
      keys: [began, ...page.map(({ key }) => key)],
      fixed: prefix.length,
      to: range.to,
      compare,
    };
    const at = segments.indexOf(range);
    if (atOnce === 1 || at === -1 || at >= atOnce) return;
    const cuts = guessBoundaries(known, Math.min(width, atOnce), reach / 2);
    if (cuts.length === 0) return;
    const ends = [...cuts.slice(1), range.to];
    segments.splice(
      at + 1,
      0,
      ...cuts.map((cut, i) => ({ ...segment<Item>(cut, ends[i]), guessed: true })),
    );
    range.to = cuts[0];
    range.fetched = 0;
  }

  /** Asks for what is missing, nearest first. */
  function fill(): void {
    if (failure !== undefined) return;
    for (const [position, range] of segments.entries()) {
      if (asking >= atOnce || (asking > 0 && asking * heavy >= atOnce)) return;
      if (range.state !== "waiting") continue;
      if (range.pages.length >= WAITING) continue;
      if (held >= room && !(isStarved() && forgetBehind(position)) && position > 0) return;
      void ask(range);
    }
  }

  /** Whether the reader waits for the first range. */
  function isStarved(): boolean {
    return starved && segments[0]?.pages.length === 0;
  }

  /** Makes room for a range by what waits farthest behind it. */
  function forgetBehind(position: number): boolean {
    const farthest = segments.findLastIndex(
      ({ state, pages }, at) => at > position + 1 && state !== "asking" && pages.length > 0,
    );
    const range = segments[farthest];
    if (range === undefined) return false;
    held -= range.pages.reduce((sum, page) => sum + weightOf(page), 0);
    segments[farthest] = segment(range.after, range.to);
    return true;
  }

  try {
    for (let first = segments[0]; first !== undefined; first = segments[0]) {
      if (failure !== undefined) {
        const { error } = failure;
        throw typeof error === "string" ? faulty(await init.endpoint?.(), error) : error;
      }
      signal.throwIfAborted();
      const page = first.pages.shift();
      if (page !== undefined) {
        held -= weightOf(page);
        fill();
        yield page;
      } else if (first.state === "done") {
        segments.shift();
      } else {
        const woken = new Promise<void>((resolve) => (wake = resolve));
        starved = true;
        fill();
        await woken;
        starved = false;
      }
    }
  } finally {
    abort.abort();
    signal.removeEventListener("abort", onAbort);
  }
}

function weightOf(page: readonly { readonly key: string }[], keys = page.length): number {
  // The keys of a page are about as long as each other.
  const ends = [page[0], page.at(-1)].map((item) => Buffer.byteLength(item?.key ?? ""));
  return Math.max(1, Math.round((Math.max(...ends) * keys) / USUAL));
}

function segment<Item>(after: string | undefined, to: string | undefined): Segment<Item> {
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

function faulty(endpoint: string | undefined, what: string): SourceError {
  const at = endpoint === undefined ? "" : ` at ${endpoint}`;
  return new SourceError("invalid", `the store${at} is at fault: ${what}`, {
    hint: "ask who runs it, or check the endpoint",
  });
}

/** The place of the first item that does not come behind the one before it. */
function firstOutOfOrder(
  items: readonly { readonly key: string }[],
  compare: Compare,
): number | undefined {
  let before: string | undefined;
  for (const [index, { key }] of items.entries()) {
    // The plain comparison is quick, and the orders of stores differ from it only where this is false.
    if (before !== undefined && !(key > before) && compare(key, before) <= 0) return index;
    before = key;
  }
  return undefined;
}

/** What is wrong with a key that does not come behind the one before it. */
function outOfOrder(key: string, before: string): string {
  return key === before
    ? `it lists ${quotePath(key)} twice`
    : `it lists ${quotePath(key)} after ${quotePath(before)}, out of their order`;
}

/** Those up to the end of the range. */
function within<Item extends { readonly key: string }>(
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
