/** Syncs whose files are fetched by lanes: what is published is what a sync without them would have published. */
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  history,
  SourceError,
  sync,
  type SyncEvent,
  type SyncOptions,
  verify,
} from "../src/index.ts";
import { asTree } from "./crash-content.ts";
import { type Content, memorySource } from "./memory-source.ts";
import { litterOf, readTree } from "./trees.ts";

let target: string;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-lanes-"));
  vi.stubEnv("PANNIER_TEST_LANES", "always");
});
afterEach(() => {
  rmSync(target, { recursive: true, force: true });
  vi.unstubAllEnvs();
});

const run = (source: ReturnType<typeof memorySource>, options: Partial<SyncOptions> = {}) =>
  sync({ sources: [source], target, ...options });

function withLanes(content: Content) {
  const source = memorySource(content);
  source.lane = {};
  return source;
}

const names = (name: string, count = 3) =>
  Array.from({ length: count }, (_, i) => `d${i % 2}/${name}-${i}`);
const textsOf = (paths: readonly string[]) =>
  Object.fromEntries(paths.map((path) => [path, `this is ${path}`]));

it("leaves no timer behind where nothing comes to be fetched", async () => {
  const source = withLanes(textsOf(names("good")));
  mkdirSync(target, { recursive: true });
  // In the way of a directory.
  writeFileSync(join(target, "d0"), "somebody's");
  const begun = vi.spyOn(globalThis, "setInterval");
  const ended = vi.spyOn(globalThis, "clearInterval");
  await expect(run(source, { publish: "mirror" })).rejects.toThrow("did not put there");
  const left = begun.mock.results.filter(
    ({ value }) => !ended.mock.calls.some(([timer]) => timer === value),
  );
  vi.restoreAllMocks();
  expect(left).toEqual([]);
});

describe.each(["swap", "mirror"] as const)("publish %s", (publish) => {
  const root = () => (publish === "swap" ? join(target, "current") : target);
  const published = () => (existsSync(root()) ? readTree(root()) : {});

  it("lanes fetch everything, with times and modes, and the main thread reads nothing", async () => {
    const content = textsOf([...names("good", 300), ...names("pieces", 5)]);
    const source = withLanes({
      ...content,
      "d0/own": { text: "x", mode: 0o755, mtime: 1_700_000_000_000 },
      link: { link: "d0" },
    });
    const events: SyncEvent[] = [];
    const result = await run(source, { publish, onEvent: (event) => events.push(event) });
    expect(source.reads).toEqual([]);
    expect(published()).toEqual({ ...content, "d0/own": "x", link: "-> d0" });
    const bytes = Object.values({ ...content, own: "x" }).join("").length;
    // A listing, and each file once.
    expect(result).toMatchObject({ added: 307, received: bytes, requests: 307 });
    expect(statSync(join(root(), "d0/own"))).toMatchObject({ mtimeMs: 1_700_000_000_000 });
    expect(statSync(join(root(), "d0/own")).mode & 0o777).toBe(0o755);
    expect(events.filter(({ type }) => type === "warning")).toEqual([]);
    expect(events.findLast(({ type }) => type === "progress")).toMatchObject({
      files: 306,
      totalFiles: 306,
      bytes,
    });
    expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
  });

  it("whatever a lane gets wrong or leaves is read by the source", async () => {
    const odd = ["left", "short", "long", "other", "cut", "endless", "unfinished"];
    const content = textsOf([...names("good", 100), ...odd.flatMap((name) => names(name))]);
    const source = withLanes(content);
    await run(source, { publish });
    expect(published()).toEqual(content);
    expect(source.reads.toSorted()).toEqual(odd.flatMap((name) => names(name)).toSorted());
    expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
  });

  it.each(["throws", "crashes", "exits"])("a lane that %s costs nothing but time", async (name) => {
    const content = textsOf([...names("good", 300), ...names(name)]);
    await run(withLanes(content), { publish });
    expect(published()).toEqual(content);
    expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
    expect(litterOf(target)).toEqual([]);
  });

  it("what one file fails with ends the sync, and the next one goes on", async () => {
    const content = textsOf([...names("good", 300), ...names("left", 1)]);
    const source = withLanes(content);
    source.beforeRead = () => {
      throw new SourceError("auth", "not for you");
    };
    await expect(run(source, { publish })).rejects.toThrow("not for you");
    expect(published()).toEqual({});
    source.beforeRead = () => {};
    source.reads = [];
    await run(source, { publish });
    expect(published()).toEqual(content);
    expect(source.reads).toEqual(names("left", 1));
    expect(litterOf(target)).toEqual([]);
  });

  it("an abort ends it with its reason while a lane is at work", async () => {
    const content = textsOf([...names("good", 200), ...names("waits", 1)]);
    const source = withLanes(content);
    const controller = new AbortController();
    const reason = new Error("enough");
    const onEvent = (event: SyncEvent) => {
      if (event.type === "progress" && event.files > 0) controller.abort(reason);
    };
    await expect(run(source, { publish, onEvent, signal: controller.signal })).rejects.toBe(reason);
    expect(published()).toEqual({});
    delete source.content["d0/waits-0"];
    await run(source, { publish });
    expect(published()).toEqual(source.content);
    expect(litterOf(target)).toEqual([]);
  });
});

const descriptors = () => readdirSync("/proc/self/fd").length;

it.each(["swap", "mirror"] as const)(
  "publish %s: a lane that ends at any call on the volume leaves nothing behind, and nothing out",
  { timeout: 120_000 },
  async (publish) => {
    const first: Content = {
      ...textsOf([...names("good", 3), ...names("pieces", 2)]),
      "d0/own": { text: "x".repeat(20), mode: 0o755, mtime: 1_700_000_000_000 },
    };
    const second = { ...first, ...textsOf(names("later", 2)), "d0/own": "y" };
    const root = publish === "swap" ? join(target, "current") : target;
    let opened = 0;
    let at = 0;
    let ended: boolean;
    do {
      const calls = new Int32Array(new SharedArrayBuffer(4));
      const source = withLanes(first);
      // Each lane of either sync, from the call on. To end before a call is to end after the one before.
      source.lane = { kill: { what: "thread", at: ++at, before: true, calls } };
      const warnings: string[] = [];
      const onEvent = (event: SyncEvent) => {
        if (event.type === "warning") warnings.push(event.message);
      };
      for (const content of [first, second]) {
        source.content = content;
        await run(source, { publish, onEvent });
        expect(readTree(root), `call ${at}`).toEqual(asTree(content));
        expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
        const kept = history(target).flatMap(({ path }) => path?.split("/").at(-1) ?? []);
        expect(litterOf(target, kept), `call ${at}`).toEqual([]);
      }
      ended = Atomics.load(calls, 0) >= at;
      expect(warnings.length > 0, `call ${at}`).toBe(ended);
      rmSync(target, { recursive: true });
      mkdirSync(target);
      // The first rounds open some that stay.
      if (at === 3) opened = descriptors();
    } while (ended);
    expect(at).toBeGreaterThan(12);
    await expect.poll(descriptors).toBeLessThanOrEqual(opened);
  },
);

it("what a lane asked for in vain is told, and a throttle leaves fewer requests", async () => {
  const paths = [...names("throttled", 4), ...names("good", 20)];
  const source = withLanes(textsOf(paths));
  const retries: string[] = [];
  await run(source, {
    onEvent(event) {
      if (event.type === "retry")
        retries.push(`${event.what} ${(event.error as SourceError).code}`);
    },
  });
  expect(retries.toSorted()).toEqual(
    names("throttled", 4)
      .map((path) => `${path} throttled`)
      .toSorted(),
  );
  expect(readTree(join(target, "current"))).toEqual(textsOf(paths));
});

it("changes are fetched by lanes too, and content that is the same keeps its inode", async () => {
  const paths = names("good", 50);
  const source = withLanes(textsOf(paths));
  await run(source);
  const [first = "", second = ""] = paths;
  const inode = statSync(join(target, "current", first)).ino;
  source.content[first] = { text: `this is ${first}`, fingerprint: "another" };
  source.content[second] = "changed";
  await run(source);
  expect(statSync(join(target, "current", first)).ino).toBe(inode);
  expect(readFileSync(join(target, "current", second), "utf8")).toBe("changed");
  expect(source.reads).toEqual([]);
});

it("sizes that are not listed are found out; what is over the limit is no business of lanes", async () => {
  const content = textsOf([...names("good", 3), ...names("cut", 1)]);
  const source = withLanes(content);
  source.sizes = false;
  await run(source);
  expect(source.reads).toEqual(names("cut", 1));
  expect(readTree(join(target, "current"))).toEqual(content);
  expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
  for (const sizes of [false, true]) {
    source.sizes = sizes;
    source.content["large"] = "x".repeat(100);
    await expect(run(source, { maxFileBytes: 50 })).rejects.toThrow("more than the 50 ");
  }
});

it("a ceiling on bandwidth is held: nothing passes it in a lane", async () => {
  const source = withLanes(textsOf(names("good", 3)));
  await run(source, { bandwidth: 1_000_000 });
  expect(source.reads.toSorted()).toEqual(names("good", 3).toSorted());
});

it("below the measure there are none", async () => {
  vi.stubEnv("PANNIER_TEST_LANES", undefined);
  const source = withLanes(textsOf(names("good", 99)));
  await run(source);
  expect(source.reads).toHaveLength(99);
});
