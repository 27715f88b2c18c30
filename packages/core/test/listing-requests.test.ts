/** The requests of a long listing are repeated one by one. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type SourceContext, SourceError, type SyncEvent, sync } from "../src/index.ts";
import { memorySource } from "./memory-source.ts";

let target: string;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-test-"));
});

afterEach(() => {
  rmSync(target, { recursive: true, force: true });
});

/** A source whose listing takes ten requests at once, of which some fail. */
function requestingSource(fails: (request: number) => Error | undefined) {
  const source = memorySource({ a: "A" });
  const { adapter } = source;
  const stats = { requests: 0, atOnce: 0, most: 0 };
  const { signal } = new AbortController();
  let context: SourceContext | undefined;
  const request = async () => {
    const number = ++stats.requests;
    stats.most = Math.max(stats.most, ++stats.atOnce);
    await new Promise((resolve) => setImmediate(resolve));
    stats.atOnce--;
    const error = fails(number);
    if (error !== undefined) throw error;
  };
  source.beforeList = async () => {
    const all = Array.from({ length: 10 }, () => context?.retry(request, signal));
    await Promise.all(all);
  };
  const open: typeof adapter.open = (location, options, given) => {
    context = given;
    return adapter.open(location, options, given);
  };
  return { source: { ...source, adapter: { ...adapter, open } }, listed: source, stats };
}

it("a request that fails for a while is made again, and the listing is not", async () => {
  const throttled = new SourceError("throttled", "slow down", { retryAfter: 1 });
  const { source, listed, stats } = requestingSource((request) =>
    request === 3 || request === 4 ? throttled : undefined,
  );
  const events: SyncEvent[] = [];
  const onEvent = (event: SyncEvent) => events.push(event);
  await sync({ sources: [source], target, concurrency: 4, onEvent });
  expect(listed.lists).toBe(1);
  expect(stats).toMatchObject({ requests: 12, most: 4 });
  expect(events.filter(({ type }) => type === "retry")).toHaveLength(2);
});

it("one that goes on failing fails the listing, which is not made again for it", async () => {
  const { source, listed } = requestingSource(() => new SourceError("unavailable", "down"));
  await expect(sync({ sources: [source], target, attempts: 2 })).rejects.toThrow(/down/);
  expect(listed.lists).toBe(1);
});
