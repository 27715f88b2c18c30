import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { Entry } from "../src/source/contract.ts";
import { longestHold } from "./held.ts";
import { openState, type State } from "../src/state/state.ts";
import { orderedEntries } from "../src/snapshot/ordered.ts";

let directory: string;
let state: State;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "pannier-ordered-"));
  state = openState(join(directory, "state.db"));
});
beforeEach(() => state.db.exec("BEGIN"));
afterEach(() => state.db.exec("COMMIT"));
afterAll(() => {
  state.close();
  rmSync(directory, { recursive: true });
});

function fileAt(path: string, fingerprint = "1"): Entry {
  return { kind: "file", path, size: 1, mtime: 1.5, fingerprint };
}

const { signal } = new AbortController();

async function collect(
  batches: AsyncIterable<readonly Entry[]> | Iterable<readonly Entry[]>,
  ordered: boolean,
): Promise<Entry[]> {
  const entries: Entry[] = [];
  for await (const batch of orderedEntries(batches, ordered, state, signal)) entries.push(...batch);
  return entries;
}

function spooled(): number {
  return Number(state.sql("SELECT count(*) AS count FROM spool").get()?.["count"]);
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

const path = fc.string({
  unit: fc.constantFrom("a", "b", "/", "-", "\u{ffff}", "\u{10000}", "é"),
  minLength: 1,
  maxLength: 4,
});

test("a short listing in any order comes out in that of bytes, the last of equals kept", async () => {
  const listing = fc.array(fc.array(path, { maxLength: 20 }), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(listing, async (batches) => {
      let version = 0;
      const entries = batches.map((paths) => paths.map((one) => fileAt(one, `${++version}`)));
      const last = new Map(entries.flat().map((entry) => [entry.path, entry]));
      const expected = [...last.keys()].toSorted(byBytes).map((one) => last.get(one));
      expect(await collect(entries, false)).toEqual(expected);
    }),
  );
});

/** Every number below `count` once, far from its order. */
function* scattered(count: number, version: string): Generator<Entry[]> {
  for (let at = 0; at < count; at += 1000) {
    const batch = Array.from({ length: 1000 }, (_, i) => ((at + i) * 7919) % count);
    yield batch.map((number) =>
      fileAt(`${String.fromCodePoint(0xffff + (number % 2))}/${number}`, version),
    );
  }
}

function* twice(count: number): Generator<Entry[]> {
  yield* scattered(count, "first");
  yield* scattered(count, "second");
}

test("a long one goes through the state, to the same effect, and leaves nothing there", async () => {
  const count = 60_000;
  const entries = await collect(twice(count), false);
  const paths = entries.map((entry) => entry.path);
  expect(paths).toHaveLength(count);
  expect(paths).toEqual(paths.toSorted(byBytes));
  expect(entries.every((entry) => entry.kind === "file" && entry.fingerprint === "second")).toBe(
    true,
  );
  expect(entries[0]).toEqual(fileAt(paths[0] ?? "", "second"));
  expect(spooled()).toBe(0);
});

test("a long one that breaks, or is left early, is of no effect on the next in the same transaction", async () => {
  function* breaking(): Generator<Entry[]> {
    yield* scattered(60_000, "1");
    throw new Error("listing broke");
  }
  await expect(collect(breaking(), false)).rejects.toThrow("listing broke");
  const early = orderedEntries(scattered(80_000, "1"), false, state, signal);
  await early.next();
  await early.return(undefined);
  expect(spooled()).toBeGreaterThan(0);
  const entries = await collect(scattered(60_000, "2"), false);
  expect(entries).toHaveLength(60_000);
  expect(spooled()).toBe(0);
});

test("a name with a NUL or half a character, which SQLite may show otherwise, does not hold it up", async () => {
  const odd = ["a\0b", "a\0", "\u{d800}", "\u{fffd}"].map((one) => fileAt(one));
  const entries = await collect([...scattered(60_000, "1"), odd], false);
  // Both of the last two are one to SQLite.
  expect(entries).toHaveLength(60_003);
  expect(spooled()).toBe(0);
});

test.each([40_000, 200_000])("%i entries that come at once hold nobody up", async (count) => {
  const batches = [...scattered(count, "1")];
  const held = await longestHold(async () => {
    for await (const batch of orderedEntries(batches, false, state, signal))
      expect(batch.length).toBeLessThanOrEqual(1000);
  });
  // 10 ms a slice.
  expect(held).toBeLessThan(250);
});

test("who waits for it no longer is not written for: others may use the state by then", async () => {
  const stop = new AbortController();
  function* stopping(): Generator<readonly Entry[]> {
    for (const batch of scattered(70_000, "1")) {
      yield batch;
      if (spooled() > 0) stop.abort(new Error("enough"));
    }
  }
  await expect(orderedEntries(stopping(), false, state, stop.signal).next()).rejects.toThrow(
    "enough",
  );
  expect(spooled()).toBeLessThan(55_000);
});

test("an ordered listing passes as it is, batch by batch", async () => {
  const batches = [
    [fileAt("a"), fileAt("a-b")],
    [],
    [fileAt("a/b"), fileAt("\u{ffff}")],
    [fileAt("\u{10000}")],
  ];
  const seen: (readonly Entry[])[] = [];
  for await (const batch of orderedEntries(batches, true, state, signal)) seen.push(batch);
  expect(seen).toEqual(batches);
});

test.each([
  ["a step back", ["b", "a"]],
  ["a path twice", ["a", "a"]],
  ["the order of UTF-16 instead of bytes", ["\u{10000}", "\u{ffff}"]],
  ["the order of a walk instead of bytes", ["a/b", "a-b"]],
])("a listing that promises order and has %s is refused", async (_, paths) => {
  const listing = collect(
    paths.map((one) => [fileAt(one)]),
    true,
  );
  await expect(listing).rejects.toMatchObject({
    code: "invalid",
    message: expect.stringContaining("against its promised order") as string,
  });
});
