/** What every object store is put through beside the conformance suite: whole syncs over a line that fails, with the engine's own tries. */
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createFaultProxy,
  type Faults,
  type FaultStats,
  type Harness,
  type Store,
} from "@pannier/adapter-kit";
import { type Adapter, resolveSource, type Source, sync, type SyncEvent } from "@pannier/core";
import { afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";

const FILES = 500;
const AT_ONCE = 16;
const LARGE = 80 * 2 ** 20;

interface Outcome {
  readonly events: readonly SyncEvent[];
  readonly stats: FaultStats;
  readonly path: string;
}

/** @param create where a store holds some hundred objects, and a large one */
export function describeFailingLine({ adapter, create }: Pick<Harness, "adapter" | "create">) {
  describe("a sync over a line that fails", () => {
    const files = new Map(
      Array.from({ length: FILES }, (_, i) => [`dir-${i % 7}/${i}`, randomBytes(2048)]),
    );
    let store: Store;
    afterEach(() => void vi.stubEnv("PANNIER_TEST_LANES", undefined));
    beforeAll(async () => {
      store = await create(stored(files));
      return () => store.close();
    }, 60_000);

    test("rides out a server that is too busy, with fewer requests, and then with more again", async () => {
      // Lanes ask without being seen here.
      vi.stubEnv("PANNIER_TEST_LANES", "never");
      const http = { status: 429, probability: 0.3, seed: 1, first: 100 };
      const watched = watchReads(adapter);
      const { events, stats, path } = await syncThrough(store, watched.adapter, { http });
      expect(stats.answered).toBe(100);
      expect(retriesIn(events)).toBeGreaterThanOrEqual(100);
      await expectContent(path, files);
      // It ends with as many as the server now takes: the last ones do not wait for each other.
      expect(Math.min(...watched.underWay.slice(50, 350))).toBeLessThan(AT_ONCE / 4);
      expect(Math.max(...watched.underWay.slice(-100))).toBeGreaterThanOrEqual(AT_ONCE / 2);
    });

    test("rides out a server that is too busy for lanes", async () => {
      vi.stubEnv("PANNIER_TEST_LANES", "always");
      const http = { status: 429, probability: 0.3, seed: 1, first: 100 };
      const { events, stats, path } = await syncThrough(store, adapter, { http });
      expect(stats.answered).toBe(100);
      expect(retriesIn(events)).toBeGreaterThanOrEqual(100);
      await expectContent(path, files);
    });

    test.each<[what: string, faults: Faults]>([
      ["resets", { resetAfter: 20_000, times: 10 }],
      ["stalls", { stallAfter: 20_000, times: 3 }],
    ])("rides out %s", async (_, faults) => {
      const { events, stats, path } = await syncThrough(store, adapter, faults);
      expect(stats.strikes).toBe(faults.times);
      expect(retriesIn(events)).toBeGreaterThan(0);
      await expectContent(path, files);
    });
  });

  test("a large object comes in parts, and goes on where the line was cut", async () => {
    const large = new Map([["large", randomBytes(LARGE)]]);
    const store = await create(stored(large));
    onTestFinished(() => store.close());
    const faults = { cutAfter: 6 * 2 ** 20, times: 3 };
    const { stats, path } = await syncThrough(store, adapter, faults);
    expect(stats.strikes).toBe(3);
    await expectContent(path, large);
    // Begun again, three parts of 16 MiB would bring a fifth more.
    expect(stats.received).toBeLessThan(LARGE * 1.05);
  });
}

function stored(files: ReadonlyMap<string, Buffer>) {
  return new Map(
    Array.from(files, ([path, content]) => [path, { kind: "file", content }] as const),
  );
}

/** A sync into an empty target, with faults while objects are read. */
async function syncThrough(store: Store, adapter: Adapter, faults: Faults): Promise<Outcome> {
  const target = await mkdtemp(join(tmpdir(), "pannier-line-"));
  onTestFinished(() => rm(target, { recursive: true, force: true }));
  const proxy = await createFaultProxy({ target: store.server as { host: string; port: number } });
  onTestFinished(() => proxy.close());
  const { url, options, credentials } = store.source({ port: proxy.port });
  const events: SyncEvent[] = [];
  await sync({
    sources: [resolveSource(url, [adapter], { options })],
    target,
    credentials,
    concurrency: AT_ONCE,
    attempts: 12,
    idleTimeout: 3000,
    onEvent(event) {
      events.push(event);
      // Not before: a page of the listing is so long that it would take all of them.
      if (event.type === "step" && event.step === "fetch") void proxy.set(faults);
    },
  });
  return { events, stats: proxy.stats, path: join(target, "current") };
}

/** How many reads were under way whenever one began. */
function watchReads(adapter: Adapter): { adapter: Adapter; underWay: number[] } {
  const underWay: number[] = [];
  let now = 0;
  const read = (source: Source): Source["read"] => {
    return async (...asked) => {
      underWay.push(++now);
      try {
        return await source.read(...asked);
      } finally {
        now--;
      }
    };
  };
  const open: Adapter["open"] = async (...given) => {
    const source = await adapter.open(...given);
    return { ...source, read: read(source) };
  };
  return { adapter: { ...adapter, open }, underWay };
}

function retriesIn(events: readonly SyncEvent[]): number {
  return events.filter(({ type }) => type === "retry").length;
}

async function expectContent(path: string, files: ReadonlyMap<string, Buffer>): Promise<void> {
  const found = await readdir(path, { recursive: true, withFileTypes: true });
  expect(found.filter((entry) => entry.isFile())).toHaveLength(files.size);
  for (const [name, content] of files) {
    expect((await readFile(join(path, name))).equals(content), name).toBe(true);
  }
}
