import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import type { FileEntry } from "../src/adapter.ts";
import type { TestData } from "./lane-child.ts";
import { refuseThreads } from "../../../test/support/no-threads.ts";
import { howManyLanes } from "../src/lane/how-many.ts";
import { type LanesInit, openLanes } from "../src/lane/lanes.ts";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "pannier-lanes-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

const { signal } = new AbortController();

function open(
  names: readonly string[],
  init: Partial<LanesInit> = {},
  /** Until this is over, the source does not say what lanes it has. */
  asked = () => Promise.resolve(),
) {
  const warnings: string[] = [];
  const requests: string[] = [];
  const told: string[] = [];
  const texts = Object.fromEntries(names.map((name) => [name, `this is ${name}`]));
  const data: TestData = { texts };
  const module = new URL("./lane-child.ts", import.meta.url);
  const lanes = openLanes(
    {
      lane: () => asked().then(() => ({ module, data, parts: true })),
      most: 1,
      idleTimeout: 20_000,
      mostUnlisted: 1000,
      owner: undefined,
      throttled: () => told.push("throttled"),
      failed: ({ entry }, code) => told.push(`${entry.path} ${code}`),
      request: (operation) => requests.push(operation),
      warn: (message) => warnings.push(message),
      ...init,
    },
    4,
  );
  onTestFinished(() => lanes.close());
  const files = names.map((path) => ({
    entry: {
      kind: "file" as const,
      path,
      size: Buffer.byteLength(texts[path] as string),
      fingerprint: "1",
    },
    path: join(directory, path),
    mode: 0o644,
  }));
  return { lanes, files, warnings, requests, told, texts };
}

/** Asks for bytes 5 to 8 of a file: `this is NAME`. */
function partOf(name: string, init: Partial<LanesInit> = {}) {
  const opened = open([name], init);
  const path = join(directory, name);
  const fd = openSync(path, "wx");
  onTestFinished(() => closeSync(fd));
  const entry = opened.files[0]?.entry as FileEntry;
  const range = { offset: 5, length: 4 };
  const controller = new AbortController();
  return {
    ...opened,
    controller,
    ask: () => opened.lanes.part({ entry, range, fd }, controller.signal),
    written: () => readFileSync(path, "latin1"),
  };
}

describe("a part", () => {
  test("is fetched into its place", async () => {
    const { ask, written, lanes, requests } = partOf("a");
    expect((await ask()).outcome).toBe("done");
    expect(written()).toBe("\0\0\0\0\0is a");
    expect(lanes.received()).toBe(4);
    expect(requests).toEqual(["read"]);
  });

  test.each([
    ["left-1", "left"],
    ["throttled-1", "throttled"],
    ["fails-1", "unavailable"],
    ["short-1", "unavailable"],
    ["long-1", "unavailable"],
    ["throws-1", "unavailable"],
  ])("of %s is %s", async (name, outcome) => {
    const { ask, written, told } = partOf(name);
    expect((await ask()).outcome).toBe(outcome);
    expect(written().length).toBeLessThanOrEqual(9);
    expect(told).toEqual(outcome === "throttled" ? ["throttled"] : []);
  });

  test.each(["crashes-1", "hangs-1"])("of a lane that %s is lost", async (name) => {
    const { ask, warnings, lanes } = partOf(name, { idleTimeout: 500 });
    expect((await ask()).outcome).toBe("lost");
    expect(warnings).toHaveLength(1);
    expect(lanes.open).toBe(false);
    expect((await ask()).outcome).toBe("left");
  });

  test("that nobody waits for any more is given up, and its lane goes on", async () => {
    const { ask, written, controller, lanes, warnings } = partOf("waits-1");
    const answer = ask();
    await expect.poll(written).toHaveLength(6);
    controller.abort();
    expect(await answer).toMatchObject({ outcome: "unavailable", received: 1 });
    expect(lanes.open).toBe(true);
    expect(warnings).toEqual([]);
  });

  test("is left by a source whose lanes read none", async () => {
    const module = new URL("./lane-child.ts", import.meta.url);
    const lane = () => Promise.resolve({ module, data: { texts: {} } });
    expect((await partOf("a", { lane }).ask()).outcome).toBe("left");
  });

  test("is told of when all is closed in the middle of it", async () => {
    const { ask, written, lanes } = partOf("waits-1");
    const answer = ask();
    await expect.poll(written).toHaveLength(6);
    await lanes.close();
    expect(await answer).toMatchObject({ outcome: "unavailable", received: 1 });
  });
});

const here = () => readdirSync(directory).toSorted();

test("batches are fetched side by side, and answered with the facts", async () => {
  const names = Array.from({ length: 40 }, (_, i) => `${i % 2 === 0 ? "pieces" : "whole"}-${i}`);
  const { lanes, files, warnings, requests, texts } = open(names, { most: 2 });
  const answers: Promise<unknown>[] = [];
  for (let at = 0; at < files.length; at += 10) {
    expect(await lanes.ready(signal)).toBe(true);
    answers.push(lanes.fetch(files.slice(at, at + 10)));
  }
  expect((await Promise.all(answers)).flat()).toEqual(
    files.map(({ entry }) => expect.objectContaining({ size: entry.size })),
  );
  expect(here()).toEqual(names.toSorted());
  for (const name of names) expect(readFileSync(join(directory, name), "utf8")).toBe(texts[name]);
  expect(requests).toEqual(names.map(() => "read"));
  expect(lanes.received()).toBe(files.reduce((sum, { entry }) => sum + entry.size, 0));
  expect(lanes.received()).toBe(0);
  expect(warnings).toEqual([]);
});

test("what a lane does not get is left alone, and nothing of it is there", async () => {
  const names = ["a", "left-1", "short-1", "long-1", "other-1", "cut-1", "endless-1"];
  const { lanes, files } = open([...names, "unfinished-1", "b", "throws-1", "c"]);
  await lanes.ready(signal);
  const facts = await lanes.fetch(files);
  expect(
    facts.flatMap((fact, index) => (fact === undefined ? [] : (files[index]?.entry.path ?? []))),
  ).toEqual(["a", "b"]);
  expect(here()).toEqual(["a", "b"]);
  expect(await lanes.ready(signal)).toBe(true);
});

test("what is asked for in vain is told, a throttle at once", async () => {
  const { lanes, files, told } = open(["a", "throttled-1", "fails-1", "other-1", "left-1"]);
  await lanes.ready(signal);
  const facts = await lanes.fetch(files);
  expect(facts.map((fact) => fact !== undefined)).toEqual([true, false, false, false, false]);
  expect(told).toEqual([
    "throttled",
    "throttled-1 throttled",
    "fails-1 unavailable",
    "other-1 unavailable",
  ]);
});

test.each([
  ["throws where nobody catches it", "crashes-1", "this lane is broken"],
  ["ends", "exits-1", "ended"],
])("a lane that %s is done without, and nothing of its batch is there", async (_, name, words) => {
  const { lanes, files, warnings } = open(["a", name, "b"]);
  await lanes.ready(signal);
  expect(await lanes.fetch(files)).toEqual([undefined, undefined, undefined]);
  expect(here()).toEqual([]);
  expect(warnings).toEqual([expect.stringContaining(words)]);
  expect(lanes.open).toBe(false);
  expect(await lanes.ready(signal)).toBe(false);
});

test("a lane that shows no sign of life is given up", async () => {
  const { lanes, files, warnings } = open(["a", "hangs-1", "b"], { idleTimeout: 500 });
  await lanes.ready(signal);
  expect(await lanes.fetch(files)).toEqual([undefined, undefined, undefined]);
  expect(here()).toEqual([]);
  expect(warnings).toEqual([expect.stringContaining("makes no progress")]);
});

test("a module that cannot be loaded is told, and done without", async () => {
  const module = new URL("no-such-lane.ts", import.meta.url);
  const { lanes, files, warnings } = open(["a"], {
    lane: () => Promise.resolve({ module, data: undefined }),
  });
  await lanes.ready(signal);
  expect(await lanes.fetch(files)).toEqual([undefined]);
  expect(warnings).toEqual([expect.stringContaining("no-such-lane")]);
});

test("a source that has no lane for now is not asked again", async () => {
  const lane = vi.fn<LanesInit["lane"]>(() => Promise.resolve(undefined));
  const { lanes } = open(["a"], { lane });
  expect(await lanes.ready(signal)).toBe(false);
  expect(await lanes.ready(signal)).toBe(false);
  expect(lane).toHaveBeenCalledTimes(1);
});

test("a lane that leaves most files alone is not used any more", async () => {
  const { lanes, files } = open(Array.from({ length: 64 }, (_, i) => `left-${i}`));
  await lanes.ready(signal);
  await lanes.fetch(files);
  expect(await lanes.ready(signal)).toBe(false);
});

test("a lane that leaves all it is given does not end those that work", async () => {
  const module = new URL("./lane-child.ts", import.meta.url);
  const names = Array.from({ length: 400 }, (_, i) => `${i}`);
  const texts = Object.fromEntries(names.map((name) => [name, `this is ${name}`]));
  const data: TestData = { texts, only: new Int32Array(new SharedArrayBuffer(4)) };
  const { lanes, files } = open(names, { most: 2, lane: () => Promise.resolve({ module, data }) });
  // No more threads, however slow the disk.
  lanes.allow(2);
  const answers: ReturnType<typeof lanes.fetch>[] = [];
  for (let at = 0; at < files.length; at += 40) {
    expect(await lanes.ready(signal)).toBe(true);
    answers.push(lanes.fetch(files.slice(at, at + 40)));
  }
  const facts = (await Promise.all(answers)).flat();
  const left = facts.filter((fact) => fact === undefined).length;
  expect(left).toBeGreaterThanOrEqual(40);
  // Two batches until it is known, and one that it had by then.
  expect(left).toBeLessThanOrEqual(120);
  expect(lanes.open).toBe(true);
});

test("a lane that turns out to be of no use while the source is asked gets no batch", async () => {
  const left = Array.from({ length: 64 }, (_, i) => `left-${i}`);
  let asked = Promise.resolve();
  const { lanes, files } = open(["waits-1", "waits-2", ...left], { most: 2 }, () => asked);
  lanes.allow(2);
  await lanes.ready(signal);
  void lanes.fetch(files.slice(0, 1));
  await lanes.ready(signal);
  const useless = lanes.fetch(files.slice(2));
  await lanes.ready(signal);
  void lanes.fetch(files.slice(1, 2));
  // One has two batches to do; the other has room for one, until its answer comes.
  const answer = Promise.withResolvers<void>();
  asked = answer.promise;
  const ready = lanes.ready(signal);
  expect(await useless).toEqual(left.map(() => undefined));
  answer.resolve();
  expect(await Promise.race([ready, sleep(100, "waits")])).toBe("waits");
  await lanes.close();
  expect(await ready).toBe(false);
});

test("a source that does not say what lanes it has does not keep who waits no longer", async () => {
  const { lanes } = open([], {}, () => new Promise(() => {}));
  const stop = new AbortController();
  const ready = lanes.ready(stop.signal);
  stop.abort();
  expect(await Promise.race([ready, sleep(1000, "waits")])).toBe(false);
});

test("lanes go on where one that asked for a part waits no longer", async () => {
  const stop = new AbortController();
  const module = new URL("./lane-child.ts", import.meta.url);
  const { lanes, texts } = open(["a"], {
    async lane(asking) {
      await Promise.resolve();
      asking.throwIfAborted();
      return { module, data: { texts }, parts: true };
    },
  });
  const entry = { kind: "file" as const, path: "a", size: 9, fingerprint: "1" };
  const part = lanes.part({ entry, range: { offset: 0, length: 9 }, fd: 0 }, stop.signal);
  stop.abort();
  expect(await part).toEqual({ outcome: "left", received: 0 });
  expect(await lanes.ready(signal)).toBe(true);
});

test("a batch is fetched though the source says just then that it has no lanes any more", async () => {
  const answers: ((is: boolean) => void)[] = [];
  const module = new URL("./lane-child.ts", import.meta.url);
  const { lanes, files, texts } = open(["a"], {
    lane: () =>
      new Promise<boolean>((resolve) => answers.push(resolve)).then((is) =>
        is ? { module, data: { texts }, parts: true } : undefined,
      ),
  });
  lanes.allow(1);
  const fetched = lanes.ready(signal).then(() => lanes.fetch(files));
  const { entry } = files[0] as (typeof files)[0];
  const part = lanes.part({ entry, range: { offset: 0, length: 9 }, fd: 0 }, signal);
  answers[0]?.(true);
  answers[1]?.(false);
  expect(await fetched).toMatchObject([{ size: 9 }]);
  expect(await part).toEqual({ outcome: "left", received: 0 });
  expect(await lanes.ready(signal)).toBe(false);
});

test("where the system has no room for another thread, it is done without", async () => {
  refuseThreads();
  const { lanes, files, warnings } = open(["a"]);
  await lanes.ready(signal);
  expect(await lanes.fetch(files)).toEqual([undefined]);
  expect(await lanes.ready(signal)).toBe(false);
  expect(warnings).toEqual([expect.stringContaining("EAGAIN")]);
});

test("closed in the middle of a batch, it tells what is there by then", async () => {
  const { lanes, files, warnings } = open(["a", "b", "waits-1", "c"]);
  await lanes.ready(signal);
  const answer = lanes.fetch(files);
  await expect.poll(here).toEqual(["a", "b"]);
  const closing = lanes.close();
  expect(await answer).toEqual([expect.anything(), expect.anything(), undefined, undefined]);
  await closing;
  expect(warnings).toEqual([]);
  expect(await lanes.ready(signal)).toBe(false);
});

test("one that hangs does not hold up the end", async () => {
  const { lanes, files } = open(["a", "hangs-1"]);
  await lanes.ready(signal);
  const answer = lanes.fetch(files);
  await expect.poll(here).toEqual(["a", "hangs-1"]);
  await lanes.close();
  expect(await answer).toEqual([undefined, undefined]);
});

describe("requests at once", () => {
  test("stay the only lane's between two batches", async () => {
    const { lanes, files, requests } = open(["allowed-1", "allowed-2"]);
    for (const file of files) {
      await lanes.ready(signal);
      await lanes.fetch([file]);
    }
    expect(requests).toEqual(["read", "allowed 4", "read", "allowed 4"]);
    lanes.allow(3);
    await lanes.ready(signal);
    // It is there already: what counts is what was asked.
    await lanes.fetch(files.slice(0, 1));
    expect(requests.at(-1)).toBe("allowed 4, 3");
  });

  test("are shared by those that have something to do", async () => {
    const { lanes, files, requests } = open(["waits-1", "allowed-1"], { most: 2 });
    for (const file of files) {
      await lanes.ready(signal);
      void lanes.fetch([file]);
    }
    await expect.poll(() => requests).toContain("allowed 2");
  });

  test("that are too few for all go to those that wait, and none is given up for it", async () => {
    const names = ["waits-1", "allowed-1"];
    const { lanes, files, warnings, requests } = open(names, { most: 2, idleTimeout: 400 });
    lanes.allow(1);
    const answers: Promise<unknown>[] = [];
    for (const file of files) {
      await lanes.ready(signal);
      answers.push(lanes.fetch([file]));
    }
    // The first one has the only request, and shows no sign of life: its end makes room for the other.
    expect(await answers[0]).toEqual([undefined]);
    expect(warnings).toEqual([expect.stringContaining("makes no progress")]);
    expect(await answers[1]).toEqual([expect.objectContaining({ size: 17 })]);
    expect(requests).toContain("allowed 1");
    expect(warnings).toHaveLength(1);
  });
});

test("there are none for what is done before one has started", () => {
  vi.stubEnv("PANNIER_TEST_LANES", undefined);
  onTestFinished(() => void vi.unstubAllEnvs());
  expect(howManyLanes({ files: 99, bytes: 1000 })).toBe(0);
  expect(howManyLanes({ files: 99, bytes: 2 ** 24 })).toBe(1);
  expect(howManyLanes({ files: 100, bytes: 0 })).toBe(1);
  expect(howManyLanes({ files: 1, bytes: 2 ** 40 })).toBe(
    Math.min(4, Math.max(1, availableParallelism() - 1)),
  );
  expect(howManyLanes({ files: 1_000_000, bytes: 0 }, "never")).toBe(0);
  expect(howManyLanes({ files: 1, bytes: 0 }, "always")).toBeGreaterThan(0);
});
