import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { comparePaths, SourceError } from "@pannier/core/adapter";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ListPage, orderedPages } from "./ordered-pages.ts";

interface Item {
  readonly key: string;
}

/** A store of sorted keys. */
function storeOf(keys: readonly string[], pageSize: number, delay: () => number = () => 0) {
  const store = { requests: 0, atOnce: 0, most: 0 };
  const behind = (after = "") => {
    let low = 0;
    for (let high = keys.length; low < high;) {
      const middle = (low + high) >> 1;
      if (comparePaths(keys[middle] as string, after) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const listPage: ListPage<Item> = async (range, continuation, signal) => {
    store.requests++;
    store.most = Math.max(store.most, ++store.atOnce);
    await sleep(delay(), undefined, { signal });
    store.atOnce--;
    const at = continuation === undefined ? behind(range.after) : Number(continuation);
    const end = at + pageSize;
    return {
      items: keys.slice(at, end).map((key) => ({ key })),
      next: end < keys.length ? String(end) : undefined,
    };
  };
  return { ...store, store, listPage };
}

async function keysOf(pages: AsyncIterable<readonly Item[]>): Promise<string[]> {
  const keys: string[] = [];
  for await (const page of pages) keys.push(...page.map(({ key }) => key));
  return keys;
}

const { signal } = new AbortController();
const sorted = (keys: Iterable<string>) => [...new Set(keys)].toSorted(comparePaths);
const four = (number: number) => String(number).padStart(4, "0");
const hex = (text: unknown) => createHash("md5").update(String(text)).digest("hex");
const many = (name: (i: number) => string) =>
  sorted(Array.from({ length: 20_000 }, (_, i) => name(i)));

test("lists any keys, all and once and in order, however they are cut and answered", async () => {
  const key = fc.oneof(
    fc.string({ unit: "grapheme", maxLength: 12 }),
    fc.string({ unit: fc.constantFrom("a", "b", "/", "0", "z", "😀", "中"), maxLength: 8 }),
    fc.integer({ min: 0, max: 999 }).map((i) => `${"stem/".repeat(20)}${i}`),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(key, { maxLength: 300 }),
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 9 }),
      fc.infiniteStream(fc.integer({ min: 0, max: 2 })),
      async (texts, pageSize, atOnce, delays) => {
        const keys = sorted(texts.filter((text) => text !== "" && text.isWellFormed()));
        const { listPage } = storeOf(keys, pageSize, () => delays.next().value ?? 0);
        expect(await keysOf(orderedPages({ listPage, prefix: "", atOnce }, signal))).toEqual(keys);
      },
    ),
    { numRuns: 60 },
  );
});

describe("asks for pages side by side, and for few in vain, where keys are", () => {
  test.each<[shape: string, name: (i: number) => string]>([
    ["numbered", (i) => `objects/${String(i).padStart(8, "0")}`],
    ["digests", (i) => hex(i)],
    ["of one long stem", (i) => `${"x".repeat(700)}/${hex(i)}`],
    ["in many small directories", (i) => `d-${Math.floor(i / 30)}/${hex(i)}.html`],
    ["nearly all in one place", (i) => (i % 100 === 0 ? `${hex(i)}` : `5/hot/${1e9 + i}`)],
    ["Chinese", (i) => String.fromCodePoint(0x4e00 + ((i * 7919) % 20_000), 0x4e00 + i)],
  ])("%s", async (_shape, name) => {
    const keys = many(name);
    const { listPage, store } = storeOf(keys, 100, () => 1);
    expect(await keysOf(orderedPages({ listPage, prefix: "", atOnce: 16 }, signal))).toEqual(keys);
    expect(store.most).toBe(16);
    expect(store.requests).toBeLessThan((keys.length / 100) * 2);
  });
});

test("one at a time goes from page to page", async () => {
  const keys = many(hex);
  const { listPage, store } = storeOf(keys, 100);
  expect(await keysOf(orderedPages({ listPage, prefix: "", atOnce: 1 }, signal))).toEqual(keys);
  expect(store).toMatchObject({ most: 1, requests: 200 });
});

test("holds few pages where nobody takes them", async () => {
  const { listPage, store } = storeOf(many(hex), 10);
  const pages = orderedPages({ listPage, prefix: "", atOnce: 4 }, signal);
  await pages.next();
  // No request is under way, and none begins in the turns after the last.
  for (let quiet = 0; quiet < 10; quiet++) {
    await new Promise(setImmediate);
    if (store.atOnce > 0) quiet = 0;
  }
  expect(store.requests).toBeLessThan(40);
  await pages.return(undefined);
});

test("asks for few pages in vain where the reader takes time, and each directory fills a page", async () => {
  const keys = many((i) => `d-${four(Math.floor(i / 20))}/${four(i % 20)}`);
  const { listPage, store } = storeOf(keys, 20);
  let found = 0;
  for await (const page of orderedPages({ listPage, prefix: "", atOnce: 16 }, signal)) {
    found += page.length;
    await sleep(1);
  }
  expect(found).toBe(keys.length);
  expect(store.requests).toBeLessThan((keys.length / 20) * 1.5);
});

test.each([
  ["short", "d/", 24],
  ["long", "d".repeat(500), 5],
  ["long and not ASCII", "ж".repeat(500), 3],
])("pages with keys that are %s wait by their bytes", async (_, stem, most) => {
  const keys = Array.from({ length: 60_000 }, (_each, i) => `${stem}${String(i).padStart(8, "0")}`);
  const { listPage, store } = storeOf(keys, 1000, () => 1);
  let found = 0;
  for await (const page of orderedPages({ listPage, prefix: "", atOnce: 24 }, signal)) {
    found += page.length;
  }
  expect(found).toBe(keys.length);
  expect(store.most).toBeLessThanOrEqual(most);
});

test("fails where a page fails, and gives up the others", async () => {
  const failure = new SourceError("unavailable", "cut");
  const signals: AbortSignal[] = [];
  const { listPage, store } = storeOf(many(hex), 10, () => 1);
  const failing: ListPage<Item> = async (range, continuation, own) => {
    signals.push(own);
    if (store.requests > 100) throw failure;
    return listPage(range, continuation, own);
  };
  const pages = orderedPages({ listPage: failing, prefix: "", atOnce: 8 }, signal);
  await expect(keysOf(pages)).rejects.toBe(failure);
  expect(signals.at(-1)?.aborted).toBe(true);
});

test("ends with the reason of an abort", async () => {
  const abort = new AbortController();
  const { listPage } = storeOf(many(hex), 10, () => 1);
  const pages = orderedPages({ listPage, prefix: "", atOnce: 8 }, abort.signal);
  await pages.next();
  const reason = new Error("enough");
  abort.abort(reason);
  await expect(keysOf(pages)).rejects.toBe(reason);
});

test("refuses a store that begins a page before where it was asked to", async () => {
  const page = { items: [{ key: "a" }, { key: "b" }], next: "x" };
  const pages = orderedPages({ listPage: async () => page, prefix: "", atOnce: 4 }, signal);
  await expect(keysOf(pages)).rejects.toMatchObject({ code: "invalid" });
});

test("refuses a store that goes on where it was, without an object", async () => {
  let asked = 0;
  const listPage: ListPage<Item> = async () => {
    // So that the test ends where nothing is refused.
    if (++asked > 100) throw new Error("went on");
    return { items: [], next: "x" };
  };
  const pages = orderedPages({ listPage, prefix: "", atOnce: 4 }, signal);
  await expect(keysOf(pages)).rejects.toMatchObject({ code: "invalid" });
});

test("goes on behind pages that happen to be empty", async () => {
  const keys = many(hex).slice(0, 20);
  const { listPage } = storeOf(keys, 1);
  const sparse: ListPage<Item> = async (...asked) => {
    const { items, next } = await listPage(...asked);
    return { items: items.filter(({ key }) => key === keys[15]), next };
  };
  const pages = orderedPages({ listPage: sparse, prefix: "", atOnce: 4 }, signal);
  expect(await keysOf(pages)).toEqual([keys[15]]);
});
