import { createHash } from "node:crypto";
import { close, closeSync, open, openSync, writeSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import * as fc from "fast-check";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { ByteRange, Source } from "../source/contract.ts";
import { SourceError } from "../source/errors.ts";
import { fetchFile } from "./fetch-file.ts";
import type { FetchOptions } from "./fetch-options.ts";
import { openRangeHashes } from "./range-hash.ts";
import { openSmallFiles } from "./small-files.ts";
import { createLimiter } from "./limiter.ts";
import { fetchParts } from "./parts.ts";
import type { PartOutcome } from "../lane/lane-thread.ts";
import type { Lanes } from "../lane/lanes.ts";

const rangeHashes = openRangeHashes();
afterAll(() => rangeHashes.close());

let directory: string;
let destination: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "pannier-parts-"));
  destination = join(directory, "file");
  // No jitter: every try follows at once.
  vi.spyOn(Math, "random").mockReturnValue(0);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(directory, { recursive: true, force: true });
});

function sourceOf(read: (range: ByteRange | undefined) => AsyncIterable<Uint8Array>): Source {
  return {
    ranges: true,
    probe: async () => undefined,
    list: () => Promise.reject(new Error("not listed here")),
    read: async (_, range) => read(range),
    close: async () => {},
  };
}

function fetching(source: Source, size: number, more: Partial<FetchOptions> = {}): FetchOptions {
  return {
    source,
    entry: { kind: "file", path: "large", size, fingerprint: "1" },
    destination,
    mode: 0o644,
    limits: { maxFileBytes: Infinity },
    idleTimeout: 5000,
    attempts: 4,
    limiter: createLimiter(4),
    smallFiles: openSmallFiles(1),
    rangeHashes,
    signal: new AbortController().signal,
    ...more,
  };
}

/** Bytes in which every position differs from those around it, so that a misplaced part shows. */
function contentOf(size: number): Buffer {
  const content = Buffer.alloc(size);
  for (let at = 0; at < size; at++) content[at] = (at * 31 + (at >> 8) * 17) & 255;
  return content;
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

test("parts of any size, in chunks of any size, cut anywhere, come together to the content", async () => {
  const setting = fc.record({
    size: fc.integer({ min: 1, max: 3000 }),
    partSize: fc.integer({ min: 1, max: 1000 }),
    chunkSizes: fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 8 }),
    cutEvery: fc.integer({ min: 2, max: 9 }),
    concurrency: fc.integer({ min: 1, max: 9 }),
  });
  await fc.assert(
    fc.asyncProperty(setting, async ({ size, partSize, chunkSizes, cutEvery, concurrency }) => {
      const content = contentOf(size);
      let chunks = 0;
      let reads = 0;
      async function* read(range: ByteRange | undefined) {
        const { offset, length = size } = range ?? { offset: 0 };
        const end = offset + length;
        const breaks = reads++ % 2 === 0;
        for (let at = offset; at < end;) {
          const next = Math.min(end, at + (chunkSizes[chunks % chunkSizes.length] ?? 1));
          yield content.subarray(at, next);
          at = next;
          if (++chunks % cutEvery === 0 && breaks) throw new SourceError("unavailable", "reset");
        }
      }
      const options = fetching(sourceOf(read), size, {
        limiter: createLimiter(concurrency),
        smallFiles: openSmallFiles(1),
        rangeHashes,
        attempts: 1000,
      });
      const fd = await promisify(open)(destination, "wx+");
      const { sha256 } = await fetchParts(options, fd, size, partSize);
      await promisify(close)(fd);
      const written = await readFile(destination);
      await rm(destination);
      expect(written.equals(content)).toBe(true);
      expect(sha256).toBe(digest(content));
    }),
    { numRuns: 60 },
  );
});

test("an abort does not wait until all that came is hashed", async () => {
  const abort = new AbortController();
  const reason = new Error("enough");
  let dropped = false;
  const slow = {
    expect() {},
    update() {},
    finish() {
      abort.abort(reason);
      return new Promise<never>(() => {});
    },
    async drop() {
      dropped = true;
    },
  };
  const source = sourceOf(() => Readable.from([contentOf(10)]));
  const options = fetching(source, 10, {
    rangeHashes: { open: () => slow },
    signal: abort.signal,
  });
  const fd = await promisify(open)(destination, "wx+");
  const fetched = fetchParts(options, fd, 10, 10);
  const late = promisify(setTimeout)(1000, "waits");
  await expect(Promise.race([fetched, late])).rejects.toBe(reason);
  expect(dropped).toBe(true);
  await promisify(close)(fd);
});

const LARGE = 64 * 1024 * 1024 + 12_345;
const MiB = 1024 * 1024;

test("a large file is fetched in parts side by side, each tried again on its own", async () => {
  const content = contentOf(LARGE);
  const ranges: ByteRange[] = [];
  let running = 0;
  let most = 0;
  async function* read(range: ByteRange | undefined) {
    const { offset, length = LARGE } = range ?? { offset: 0 };
    ranges.push({ offset, length });
    most = Math.max(most, ++running);
    try {
      for (let at = offset; at < offset + length; at += MiB) {
        yield content.subarray(at, Math.min(at + MiB, offset + length));
        if (at === 21 * MiB) throw new SourceError("unavailable", "reset");
      }
    } finally {
      running--;
    }
  }
  const source = sourceOf(read);
  const fetched = await fetchFile(fetching(source, LARGE, { limiter: createLimiter(3) }));
  expect(fetched).toMatchObject({ size: LARGE, sha256: digest(content) });
  expect((await readFile(destination)).equals(content)).toBe(true);
  expect(ranges.toSorted((a, b) => a.offset - b.offset)).toEqual([
    { offset: 0, length: 16 * MiB },
    { offset: 16 * MiB, length: 16 * MiB },
    { offset: 22 * MiB, length: 10 * MiB },
    { offset: 32 * MiB, length: 16 * MiB },
    { offset: 48 * MiB, length: 16 * MiB },
    { offset: 64 * MiB, length: 12_345 },
  ]);
  expect(most).toBe(3);
});

test("one part that fails for good ends the others, and the file is removed", async () => {
  let running = 0;
  let most = 0;
  async function* read(range: ByteRange | undefined, signal: AbortSignal) {
    most = Math.max(most, ++running);
    try {
      yield new Uint8Array(MiB);
      if (range?.offset === 32 * MiB) throw new SourceError("changed", "replaced");
      await new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(new Error("aborted")));
      });
    } finally {
      running--;
    }
  }
  const source: Source = {
    ...sourceOf(async function* nothing() {}),
    read: async (_, range, signal) => read(range, signal),
  };
  await expect(fetchFile(fetching(source, LARGE))).rejects.toMatchObject({
    code: "changed",
    message: "replaced",
  });
  expect(most).toBeGreaterThan(1);
  expect(running).toBe(0);
  expect(await readdir(directory)).toEqual([]);
});

test("a source that gives more than the range asked for is refused", async () => {
  const source = sourceOf(async function* read() {
    for (let i = 0; i < 17; i++) yield new Uint8Array(MiB);
  });
  await expect(fetchFile(fetching(source, LARGE))).rejects.toMatchObject({
    code: "invalid",
    message: expect.stringContaining("more than the 16777216 bytes asked for") as string,
  });
  expect(await readdir(directory)).toEqual([]);
});

test("damage in a part is found, and the whole is fetched once more", async () => {
  const content = contentOf(LARGE);
  let reads = 0;
  const source = sourceOf(async function* read(range) {
    const { offset, length = LARGE } = range ?? { offset: 0 };
    const part = Buffer.from(content.subarray(offset, offset + length));
    if (reads++ === 2) part[100] = (part[100] ?? 0) ^ 1;
    yield part;
  });
  const options = fetching(source, LARGE);
  const md5 = createHash("md5").update(content).digest("hex");
  const entry = { ...options.entry, digest: { algorithm: "md5", value: md5 } as const };
  expect(await fetchFile({ ...options, entry })).toMatchObject({ sha256: digest(content) });
  expect(reads).toBe(10);
});

describe("a source that only resumes", () => {
  const content = contentOf(LARGE);
  const whole = { size: LARGE, sha256: digest(content) };

  /** Reads that are cut after so many bytes each; the last one for all that follow. */
  function cutAfter(...bytes: readonly number[]) {
    const offsets: number[] = [];
    const read = async function* read(range: ByteRange | undefined) {
      const { offset, length = LARGE } = range ?? { offset: 0 };
      offsets.push(offset);
      const stop = offset + (bytes[Math.min(offsets.length, bytes.length) - 1] ?? LARGE);
      for (let at = offset; at < Math.min(stop, offset + length); at += MiB)
        yield content.subarray(at, Math.min(at + MiB, stop, offset + length));
      if (stop < LARGE) throw new SourceError("unavailable", "reset");
    };
    const source: Source = { ...sourceOf(read), ranges: "resume" };
    return { source, offsets };
  }

  test("is read in one, and checked by what it vouches for", async () => {
    const { source, offsets } = cutAfter();
    const value = createHash("md5").update(content).digest("hex");
    const entry = {
      ...fetching(source, LARGE).entry,
      digest: { algorithm: "md5", value } as const,
    };
    expect(await fetchFile(fetching(source, LARGE, { entry }))).toMatchObject(whole);
    expect((await readFile(destination)).equals(content)).toBe(true);
    expect(offsets).toEqual([0]);
  });

  test("goes on after any number of cuts that bring it forward", async () => {
    const { source, offsets } = cutAfter(16 * MiB);
    const fetched = await fetchFile(fetching(source, LARGE, { attempts: 1 }));
    expect(fetched).toMatchObject(whole);
    expect((await readFile(destination)).equals(content)).toBe(true);
    expect(offsets).toEqual([0, 16, 32, 48, 64].map((at) => at * MiB));
  });

  test("is given up where the same bytes do not come, and nothing is left", async () => {
    const { source, offsets } = cutAfter(20 * MiB, 0);
    await expect(fetchFile(fetching(source, LARGE, { attempts: 3 }))).rejects.toThrow("reset");
    expect(offsets).toEqual([0, 20, 20, 20, 20, 20].map((at) => at * MiB));
    expect(await readdir(directory)).toEqual([]);
  });
});

describe("parts in lanes", () => {
  const content = contentOf(LARGE);
  /** Where the first part ends, which is read here. */
  const FIRST = 64 * 1024;
  const PARTS = [0, FIRST, ...[16, 32, 48, 64].map((at) => at * MiB)];

  type Outcome = PartOutcome["outcome"];

  /** Lanes that answer the n-th part as told, and fetch all others. */
  function lanesOf(...outcomes: readonly Outcome[]) {
    const asked: number[] = [];
    const lanes: Pick<Lanes, "part"> = {
      async part({ range: { offset, length }, fd }) {
        const outcome = outcomes[asked.push(offset) - 1] ?? "done";
        if (outcome === "done") writeSync(fd, content, offset, length, offset);
        return { outcome, received: outcome === "done" ? length : 0 };
      },
    };
    return { asked, lanes };
  }

  function readHere() {
    const offsets: number[] = [];
    const source = sourceOf(async function* read(range) {
      const { offset, length = LARGE } = range ?? { offset: 0 };
      offsets.push(offset);
      yield content.subarray(offset, offset + length);
    });
    return { source, offsets };
  }

  const fetch = (
    { source }: ReturnType<typeof readHere>,
    lanes: Pick<Lanes, "part">,
    more: Partial<FetchOptions> = {},
  ) => fetchFile(fetching(source, LARGE, { lanes, limiter: createLimiter(2), ...more }));

  const whole = { size: LARGE, sha256: digest(content) };

  test.each<[string, Outcome[], number[], string[]]>([
    ["fetch all but the first, which tells of the file", [], [0], []],
    ["leave one: they are not asked again", ["left"], PARTS, []],
    ["fail with one: it alone is read here", ["unavailable"], [0, FIRST], ["unavailable"]],
    [
      "fail with three: the rest is read here",
      ["unavailable", "done", "unavailable", "unavailable"],
      [0, FIRST, 32 * MiB, 48 * MiB, 64 * MiB],
      ["unavailable", "unavailable", "unavailable"],
    ],
    [
      "meet a throttle: it is told, and that part read here",
      ["throttled"],
      [0, FIRST],
      ["throttled"],
    ],
  ])("%s", async (_, outcomes, offsets, told) => {
    const here = readHere();
    const { lanes } = lanesOf(...outcomes);
    const retries: string[] = [];
    const limiter = createLimiter(2);
    let lowest = 2;
    const onRetry = (error: SourceError) => {
      retries.push(error.code);
      lowest = Math.min(lowest, limiter.limit);
    };
    expect(await fetch(here, lanes, { onRetry, limiter })).toMatchObject(whole);
    expect((await readFile(destination)).equals(content)).toBe(true);
    expect(here.offsets.toSorted((a, b) => a - b)).toEqual(offsets);
    expect(retries).toEqual(told);
    expect(lowest).toBe(told.includes("throttled") ? 1 : 2);
  });

  test("what a lane has of a part when it fails is not read again", async () => {
    const here = readHere();
    let asked = 0;
    const lanes: Pick<Lanes, "part"> = {
      async part({ range: { offset, length }, fd }) {
        const isCut = ++asked === 1;
        const received = isCut ? 6 * MiB : length;
        writeSync(fd, content, offset, received, offset);
        return { outcome: isCut ? "unavailable" : "done", received };
      },
    };
    expect(await fetch(here, lanes)).toMatchObject(whole);
    expect(here.offsets).toEqual([0, FIRST + 6 * MiB]);
  });

  test("a file that a lost thread may still write to is made again, without lanes", async () => {
    const here = readHere();
    let kept = 0;
    const lanes: Pick<Lanes, "part"> = {
      async part({ fd }) {
        // As the kernel keeps what a thread that hangs there writes to.
        if (kept === 0) kept = openSync(`/proc/self/fd/${fd}`, "r+");
        return { outcome: "lost", received: 0 };
      },
    };
    expect(await fetch(here, lanes)).toMatchObject(whole);
    writeSync(kept, "something else", 0);
    closeSync(kept);
    expect((await readFile(destination)).equals(content)).toBe(true);
  });

  test("what does not have its checksum is fetched once more without them", async () => {
    const here = readHere();
    const asked: number[] = [];
    const lanes: Pick<Lanes, "part"> = {
      async part({ range: { offset, length } }) {
        asked.push(offset);
        return { outcome: "done", received: length };
      },
    };
    const md5 = createHash("md5").update(content).digest("hex");
    const entry = {
      ...fetching(here.source, LARGE).entry,
      digest: { algorithm: "md5", value: md5 } as const,
    };
    expect(await fetch(here, lanes, { entry })).toMatchObject(whole);
    expect(asked).toHaveLength(5);
    const again = [0, 16, 32, 48, 64].map((at) => at * MiB);
    expect(here.offsets.toSorted((a, b) => a - b)).toEqual([0, ...again]);
  });

  test("an abort ends it with its reason, and leaves nothing", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const lanes: Pick<Lanes, "part"> = {
      async part(_, signal) {
        controller.abort(reason);
        expect(signal.aborted).toBe(true);
        return { outcome: "unavailable", received: 0 };
      },
    };
    const { signal } = controller;
    await expect(fetch(readHere(), lanes, { signal })).rejects.toBe(reason);
    expect(await readdir(directory)).toEqual([]);
  });
});
