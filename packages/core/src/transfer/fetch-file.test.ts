import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Body, ByteRange, FileEntry, Source } from "../source/contract.ts";
import { SourceError } from "../source/errors.ts";
import { createBandwidth } from "./bandwidth.ts";
import { fetchFile } from "./fetch-file.ts";
import type { FetchOptions } from "./fetch-options.ts";
import { openRangeHashes } from "./range-hash.ts";
import { openSmallFiles } from "./small-files.ts";
import { createLimiter } from "./limiter.ts";

const rangeHashes = openRangeHashes();
afterAll(() => rangeHashes.close());

let directory: string;
let destination: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "pannier-fetch-"));
  destination = join(directory, "file");
  // No jitter: every try follows at once.
  vi.spyOn(Math, "random").mockReturnValue(0);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(directory, { recursive: true, force: true });
});

const CONTENT = Buffer.from("0123456789abcdefghijklmnopqrstuvwxyz");

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function entryOf(content: Uint8Array, more: Partial<FileEntry> = {}): FileEntry {
  return { kind: "file", path: "a/file", size: content.length, fingerprint: "1", ...more };
}

interface ReadCall {
  readonly range: ByteRange | undefined;
  readonly signal: AbortSignal;
}

/** A source whose nth read does what the nth function says; the last one says it for all that follow. */
function scripted(
  reads: readonly ((call: ReadCall) => Body | Promise<Body>)[],
  more: Partial<Source> = {},
): Source & { readonly calls: ReadCall[] } {
  const calls: ReadCall[] = [];
  return {
    calls,
    probe: async () => undefined,
    list: () => Promise.reject(new Error("not listed here")),
    async read(_, range, signal) {
      const call = { range, signal };
      calls.push(call);
      const read = reads[Math.min(calls.length, reads.length) - 1];
      if (read === undefined) throw new Error("nothing to read");
      return read(call);
    },
    close: async () => {},
    ...more,
  };
}

function slice(content: Uint8Array, range: ByteRange | undefined): Uint8Array {
  const start = range?.offset ?? 0;
  return content.subarray(start, range?.length === undefined ? undefined : start + range.length);
}

async function* chunked(bytes: Uint8Array, size: number, end?: Error): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  if (end !== undefined) throw end;
}

/** As the contract allows it: each chunk in the memory of the one before. */
async function* inOnePlace(bytes: Uint8Array, piece: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += piece.length) {
    const chunk = bytes.subarray(at, at + piece.length);
    piece.set(chunk);
    yield piece.subarray(0, chunk.length);
    piece.fill(0);
  }
}

const atOnce = (call: ReadCall) => slice(CONTENT, call.range);
const streamed = (call: ReadCall) => chunked(slice(CONTENT, call.range), 7);
const reset = () => new SourceError("unavailable", "connection reset");

function fetching(source: Source, more: Partial<FetchOptions> = {}): FetchOptions {
  return {
    source,
    entry: entryOf(CONTENT),
    destination,
    mode: 0o644,
    limits: { maxFileBytes: Infinity },
    idleTimeout: 5000,
    attempts: 3,
    limiter: createLimiter(4),
    smallFiles: openSmallFiles(1),
    rangeHashes,
    signal: new AbortController().signal,
    ...more,
  };
}

/** Answers nothing until it is aborted. */
function silence(call: ReadCall): Promise<never> {
  return new Promise((_, reject) => {
    call.signal.addEventListener("abort", () => reject(new Error("aborted")));
  });
}

async function* silentAfter(call: ReadCall, bytes: number): AsyncGenerator<Uint8Array> {
  yield CONTENT.subarray(0, bytes);
  await silence(call);
}

async function* slowly(content: Uint8Array): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunked(content, 12)) {
    await new Promise((resolve) => {
      setTimeout(resolve, 100);
    });
    yield chunk;
  }
}

async function expectNothingLeft(): Promise<void> {
  expect(await readdir(directory)).toEqual([]);
}

describe("a file that comes as it should", () => {
  test.each([
    ["small", 1000, true],
    ["of a size that was not told", 1000, false],
    ["large", 300_000, true],
  ])("in memory that is used again: %s", async (_, size, told) => {
    const content = Buffer.alloc(size, "0123456789");
    // Two types, whose `slice` is not the same: a Buffer's copies nothing.
    for (const piece of [new Uint8Array(300), Buffer.alloc(300)]) {
      const entry = entryOf(content, told ? {} : { size: undefined });
      await fetchFile(fetching(scripted([() => inOnePlace(content, piece)]), { entry }));
      expect((await readFile(destination)).equals(content)).toBe(true);
      await rm(destination);
    }
  });

  test.each([
    ["at once", atOnce],
    ["as a stream", streamed],
  ])("%s", async (_, read) => {
    const received: number[] = [];
    const fetched = await fetchFile(
      fetching(scripted([read]), {
        mtime: 1_700_000_000_123,
        mode: 0o640,
        onBytes: (count) => received.push(count),
      }),
    );
    const stats = await stat(destination);
    expect(await readFile(destination)).toEqual(CONTENT);
    expect(fetched).toEqual({
      size: CONTENT.length,
      sha256: digest(CONTENT),
      ino: stats.ino,
      mtime: stats.mtimeMs,
    });
    expect(Math.floor(stats.mtimeMs)).toBe(1_700_000_000_123);
    expect(stats.mode & 0o7777).toBe(0o640);
    expect(received.reduce((sum, count) => sum + count)).toBe(CONTENT.length);
  });

  test("of no bytes", async () => {
    const empty = new Uint8Array();
    for (const body of [empty, chunked(empty, 1)]) {
      const source = scripted([() => body]);
      const fetched = await fetchFile(fetching(source, { entry: entryOf(empty) }));
      expect(fetched).toMatchObject({ size: 0, sha256: digest(empty) });
      expect((await stat(destination)).size).toBe(0);
      await rm(destination);
    }
  });

  test("of unknown size", async () => {
    const source = scripted([streamed]);
    const entry = entryOf(CONTENT, { size: undefined });
    expect(await fetchFile(fetching(source, { entry }))).toMatchObject({ size: CONTENT.length });
  });

  test("with bits that the umask would take away, and without those that no source may set", async () => {
    const before = process.umask(0o077);
    try {
      await fetchFile(fetching(scripted([atOnce]), { mode: 0o4777 }));
    } finally {
      process.umask(before);
    }
    expect((await stat(destination)).mode & 0o7777).toBe(0o777);
  });

  test.skipIf(process.getuid?.() !== 0)("with the owner asked for (needs root)", async () => {
    await fetchFile(fetching(scripted([atOnce]), { owner: { uid: 12_345, gid: 23_456 } }));
    expect(await stat(destination)).toMatchObject({ uid: 12_345, gid: 23_456 });
  });

  test("from a source that uses its buffer again", async () => {
    const buffer = new Uint8Array(4);
    async function* reusing() {
      for (let at = 0; at < CONTENT.length; at += 4) {
        buffer.set(CONTENT.subarray(at, at + 4));
        yield buffer;
        buffer.fill(0);
      }
    }
    expect(await fetchFile(fetching(scripted([reusing])))).toMatchObject({
      sha256: digest(CONTENT),
    });
    expect(await readFile(destination)).toEqual(CONTENT);
  });

  test("no faster than the bandwidth allows", async () => {
    const start = performance.now();
    // 36 bytes at 100 a second, of which 100 ms are credit.
    const bandwidth = createBandwidth(100);
    await fetchFile(fetching(scripted([streamed]), { bandwidth }));
    expect(performance.now() - start).toBeGreaterThan(240);
  });
});

describe("times", () => {
  test("are kept as exactly as Node can set them, and never show an earlier millisecond", async () => {
    // Until 2106. After that, seconds as a double have steps of nearly a microsecond.
    const time = fc.integer({ min: 0, max: 2 ** 32 * 1000 - 1 });
    await fc.assert(
      fc.asyncProperty(time, fc.integer({ min: 0, max: 999 }), async (whole, micros) => {
        const mtime = whole + micros / 1000;
        const fetched = await fetchFile(fetching(scripted([atOnce]), { mtime }));
        await rm(destination);
        expect(Math.abs(fetched.mtime - mtime)).toBeLessThan(0.001);
        expect(Math.floor(fetched.mtime)).toBe(whole);
      }),
      { numRuns: 200 },
    );
  });
});

test.each([-1, -1000, -1_098_972_393_176])("the time %d, before 1970, is kept", async (mtime) => {
  const fetched = await fetchFile(fetching(scripted([atOnce]), { mtime }));
  expect(fetched.mtime).toBeCloseTo(mtime, 2);
});

describe("a read that breaks", () => {
  test("goes on from where it broke off where ranges are cheap", async () => {
    const source = scripted([() => chunked(CONTENT.subarray(0, 20), 7, reset()), streamed], {
      ranges: true,
    });
    const fetched = await fetchFile(fetching(source));
    expect(source.calls.map((call) => call.range)).toEqual([undefined, { offset: 20 }]);
    expect(fetched).toMatchObject({ size: CONTENT.length, sha256: digest(CONTENT) });
    expect(await readFile(destination)).toEqual(CONTENT);
  });

  test("starts over where they are not, and leaves nothing of the first try", async () => {
    const longer = Buffer.concat([CONTENT, CONTENT]);
    const source = scripted([() => chunked(longer, 7, reset()), streamed]);
    const entry = entryOf(CONTENT, { size: undefined });
    const fetched = await fetchFile(fetching(source, { entry }));
    expect(source.calls.map((call) => call.range)).toEqual([undefined, undefined]);
    expect(fetched).toMatchObject({ size: CONTENT.length, sha256: digest(CONTENT) });
    expect(await readFile(destination)).toEqual(CONTENT);
  });

  test("after its last byte is complete", async () => {
    const source = scripted([() => chunked(CONTENT, 7, reset())], { ranges: true });
    expect(await fetchFile(fetching(source))).toMatchObject({ sha256: digest(CONTENT) });
    expect(source.calls).toHaveLength(1);
  });

  test("that ends too early counts as cut short and is tried again", async () => {
    const source = scripted([() => chunked(CONTENT.subarray(0, 9), 4), streamed], { ranges: true });
    const messages: string[] = [];
    await fetchFile(fetching(source, { onRetry: (error) => messages.push(error.message) }));
    expect(messages).toEqual(['reading "a/file" was cut short at 9 of 36 bytes']);
    expect(await readFile(destination)).toEqual(CONTENT);
  });

  test("each time is given up, with nothing left", async () => {
    const source = scripted([() => chunked(CONTENT.subarray(0, 9), 4)]);
    await expect(fetchFile(fetching(source))).rejects.toMatchObject({
      code: "unavailable",
      message: 'reading "a/file" was cut short at 9 of 36 bytes (after 3 attempts)',
    });
    expect(source.calls).toHaveLength(3);
    await expectNothingLeft();
  });

  test.each(["changed", "not-found", "auth", "invalid", "unsupported"] as const)(
    "for good (%s) is not tried again, and nothing is left",
    async (code) => {
      const source = scripted([
        () => chunked(CONTENT.subarray(0, 9), 4, new SourceError(code, "no")),
      ]);
      await expect(fetchFile(fetching(source))).rejects.toMatchObject({ code, message: "no" });
      expect(source.calls).toHaveLength(1);
      await expectNothingLeft();
    },
  );

  test("before the first byte creates nothing", async () => {
    const source = scripted([() => Promise.reject(new SourceError("auth", "no"))]);
    await expect(fetchFile(fetching(source))).rejects.toMatchObject({ code: "auth" });
    await expectNothingLeft();
  });

  test("throttled makes the source's limiter give way", async () => {
    const slow = new SourceError("throttled", "slow down");
    const source = scripted([() => Promise.reject(slow), atOnce]);
    const limiter = createLimiter(8);
    await fetchFile(fetching(source, { limiter }));
    expect(limiter.limit).toBe(4);
  });
});

describe("a source that stalls", () => {
  test.each([
    ["before its body", silence],
    ["in its body", (call: ReadCall) => silentAfter(call, 9)],
    ["and does not listen to its signal", () => new Promise<never>(() => {})],
  ])("%s is given up and tried again", async (_, read) => {
    const source = scripted([read, atOnce]);
    const messages: string[] = [];
    await fetchFile(
      fetching(source, {
        idleTimeout: 40,
        onRetry: (error) => messages.push(`${error.code}: ${error.message}`),
      }),
    );
    expect(messages).toEqual(['unavailable: reading "a/file" stalled: no byte for 0.04 s']);
    expect(source.calls[0]?.signal.aborted).toBe(true);
    expect(await readFile(destination)).toEqual(CONTENT);
  });

  test("is not one whose bytes come slowly, nor one that waits for us", async () => {
    // The bytes take longer in all than the source may be silent, and so does our own wait after the first of them.
    const bandwidth = createBandwidth(30);
    const source = scripted([() => slowly(CONTENT)]);
    await fetchFile(fetching(source, { idleTimeout: 250, bandwidth, attempts: 1 }));
    expect(source.calls).toHaveLength(1);
  });

  test("and answers later has its late stream freed", async () => {
    const freed = Promise.withResolvers<string>();
    const late = Promise.withResolvers<Body>();
    const source = scripted([() => late.promise, atOnce]);
    await fetchFile(fetching(source, { idleTimeout: 20 }));
    late.resolve({
      [Symbol.asyncIterator]: () => ({
        next: () => new Promise(() => {}),
        return: async () => {
          freed.resolve("freed");
          return { done: true, value: undefined };
        },
      }),
    });
    expect(await freed.promise).toBe("freed");
  });
});

describe("content that is not what was listed", () => {
  test("is refused when longer than listed, and the stream freed at once", async () => {
    let freed = false;
    async function* endless() {
      try {
        for (;;) yield CONTENT;
      } finally {
        freed = true;
      }
    }
    const source = scripted([endless]);
    await expect(fetchFile(fetching(source))).rejects.toMatchObject({
      code: "changed",
      message: '"a/file" is longer than the 36 bytes listed',
    });
    expect(freed).toBe(true);
    await expectNothingLeft();
  });

  test("is refused beyond maxFileBytes, known or found while it comes", async () => {
    const limits = { maxFileBytes: 20 };
    const known = scripted([streamed]);
    await expect(fetchFile(fetching(known, { limits }))).rejects.toMatchObject({ code: "invalid" });
    expect(known.calls).toHaveLength(0);

    const unknown = scripted([streamed]);
    const entry = entryOf(CONTENT, { size: undefined });
    await expect(fetchFile(fetching(unknown, { limits, entry }))).rejects.toMatchObject({
      code: "invalid",
      message: '"a/file" has more than the 20 bytes allowed for one file',
    });
    expect(unknown.calls).toHaveLength(1);
    await expectNothingLeft();
  });

  test("is read once more when its checksum is wrong, whole", async () => {
    const damaged = Buffer.from(CONTENT);
    damaged[3] = 0;
    const source = scripted([() => chunked(damaged, 7), streamed], { ranges: true });
    const entry = entryOf(CONTENT, {
      digest: { algorithm: "sha256", value: digest(CONTENT).toUpperCase() },
    });
    expect(await fetchFile(fetching(source, { entry }))).toMatchObject({ sha256: digest(CONTENT) });
    expect(source.calls.map((call) => call.range)).toEqual([undefined, undefined]);
    expect(await readFile(destination)).toEqual(CONTENT);
  });

  test("is checked against what only the answer tells", async () => {
    const value = createHash("md5").update(CONTENT).digest("hex");
    const vouched = (bytes: Buffer) =>
      Object.assign(chunked(bytes, 7), { digest: { algorithm: "md5", value } as const });
    const damaged = Buffer.from(CONTENT);
    damaged[3] = 0;
    const source = scripted([() => vouched(damaged), () => vouched(CONTENT)], { ranges: true });
    expect(await fetchFile(fetching(source))).toMatchObject({ sha256: digest(CONTENT) });
    expect(source.calls).toHaveLength(2);
  });

  test("is refused when it is wrong again", async () => {
    const source = scripted([streamed]);
    const entry = entryOf(CONTENT, {
      digest: { algorithm: "sha256", value: "0".repeat(64) },
    });
    await expect(fetchFile(fetching(source, { entry }))).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringContaining(digest(CONTENT)) as string,
    });
    expect(source.calls).toHaveLength(2);
    await expectNothingLeft();
  });
});

describe("the destination", () => {
  test("that exists is left as it is", async () => {
    await writeFile(destination, "mine");
    await expect(fetchFile(fetching(scripted([atOnce])))).rejects.toMatchObject({ code: "EEXIST" });
    expect(await readFile(destination, "utf8")).toBe("mine");
  });

  test("that is a symlink is neither followed nor removed", async () => {
    await symlink(join(directory, "elsewhere"), destination);
    await expect(fetchFile(fetching(scripted([atOnce])))).rejects.toMatchObject({ code: "EEXIST" });
    expect(await readdir(directory)).toEqual(["file"]);
  });

  test("whose directory is not there is the caller's to hear of", async () => {
    const options = fetching(scripted([atOnce]), { destination: join(directory, "no", "file") });
    await expect(fetchFile(options)).rejects.toMatchObject({ code: "ENOENT" });
  });
});

describe("an abort", () => {
  test("at any moment rejects with its reason and leaves no file", async () => {
    const content = Buffer.alloc(4096, 1);
    const action = fc.record({
      after: fc.integer({ min: 0, max: 40 }),
      inMemory: fc.boolean(),
      ranges: fc.boolean(),
      breaks: fc.boolean(),
    });
    let aborted = 0;
    await fc.assert(
      fc.asyncProperty(action, async ({ after, inMemory, ranges, breaks }) => {
        const controller = new AbortController();
        const reason = new Error("stop");
        let steps = 0;
        const step = () => {
          if (steps++ === after) controller.abort(reason);
        };
        async function* stepping(bytes: Uint8Array) {
          for await (const chunk of chunked(bytes, 256)) {
            step();
            yield chunk;
            step();
          }
          if (breaks && steps < 20) throw reset();
        }
        const read = (call: ReadCall) => {
          step();
          const bytes = slice(content, call.range);
          return inMemory ? bytes : stepping(breaks ? bytes.subarray(0, 1024) : bytes);
        };
        const entry = entryOf(content);
        const signal = controller.signal;
        const limiter = createLimiter(1);
        const source = scripted([read], { ranges });
        const options = fetching(source, { entry, signal, limiter, attempts: 5, onBytes: step });
        const outcome = await fetchFile(options).catch((error: unknown) => error);
        const left = await readdir(directory);
        const failed = outcome instanceof Error;
        const written = failed ? content : await readFile(destination);
        await rm(destination, { force: true });
        if (failed && controller.signal.aborted) aborted++;
        expect(left).toEqual(failed ? [] : ["file"]);
        expect(written.equals(content)).toBe(true);
        expect(outcome === reason).toBe(failed && controller.signal.aborted);
      }),
      { numRuns: 100 },
    );
    expect(aborted).toBeGreaterThan(10);
  });

  test("while the adapter is deaf to it ends the fetch all the same", async () => {
    const controller = new AbortController();
    const source = scripted([() => new Promise<never>(() => {})]);
    const done = fetchFile(fetching(source, { signal: controller.signal }));
    controller.abort(new Error("stop"));
    await expect(done).rejects.toThrow("stop");
    await expectNothingLeft();
  });

  test("leaves no listener on a signal that lives on", async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };
    const source = scripted([() => chunked(CONTENT.subarray(0, 9), 4, reset()), streamed]);
    await fetchFile(fetching(source, { signal }));
    expect(listeners).toBe(0);
  });
});
