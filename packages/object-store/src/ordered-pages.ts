/**
 * A listing whose pages are fetched side by side and come out in order. It begins as one range. Whenever a page shows that its
 * range goes on, what is left is cut into ranges that are fetched at the same time, where {@link guessBoundaries} takes the
 * following pages to begin. A range that proves long is cut again, nearest first; one that proves empty has cost a request.
 *
 * Memory is bounded by pages that wait for their turn. The range that is being given out may always go on; where all the
 * room is taken by ranges far behind it, the farthest is forgotten and fetched again when its time comes.
 */
import { comparePaths, SourceError } from "@pannier/core/adapter";
import type { Compare } from "./boundaries.ts";
import { type Keyed, nextPage, oneRange, type Page, type Range, take, wanted } from "./ranges.ts";

/** Keys behind `after`, up to and with `to`; `undefined`: from the first, to the last. */
export interface KeyRange {
  readonly after: string | undefined;
  readonly to: string | undefined;
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

export interface PagesInit<Item extends Keyed> {
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
 * @throws what `listPage` throws, as soon as that happens; SourceError `invalid` where the store does not list in order, or gets no further
 */
export async function* orderedPages<Item extends Keyed>(
  init: PagesInit<Item>,
  signal: AbortSignal,
): AsyncGenerator<readonly Item[]> {
  const { listPage, atOnce, prefix, compare = comparePaths } = init;
  const abort = new AbortController();
  const onAbort = () => abort.abort(signal.reason);
  signal.throwIfAborted();
  signal.addEventListener("abort", onAbort, { once: true });

  const ranges = oneRange<Item>({ prefix, atOnce, compare });
  let asking = 0;
  let failure: { readonly error: unknown } | undefined;
  let wake: (() => void) | undefined;
  let starved = false;

  async function ask(range: Range<Item>): Promise<void> {
    range.state = "asking";
    asking++;
    ranges.held++;
    try {
      const { after, to, continuation } = range;
      const page = await listPage({ after, to }, continuation, abort.signal);
      asking--;
      ranges.held--;
      const fault = take(ranges, range, page);
      if (fault === undefined) fill();
      else failure ??= { error: faulty(await init.endpoint?.(), fault) };
    } catch (error) {
      failure ??= { error };
      abort.abort(error);
    }
    wake?.();
  }

  function fill(): void {
    while (failure === undefined) {
      const range = wanted(ranges, { asking, starved });
      if (range === undefined) return;
      void ask(range);
    }
  }

  try {
    for (let first = ranges.all[0]; first !== undefined; first = ranges.all[0]) {
      if (failure !== undefined) throw failure.error;
      signal.throwIfAborted();
      const page = nextPage(ranges);
      if (page !== undefined) {
        fill();
        yield page;
      } else if (first.state === "done") {
        ranges.all.shift();
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

function faulty(endpoint: string | undefined, what: string): SourceError {
  const at = endpoint === undefined ? "" : ` at ${endpoint}`;
  return new SourceError("invalid", `the store${at} is at fault: ${what}`, {
    hint: "ask who runs it, or check the endpoint",
  });
}
