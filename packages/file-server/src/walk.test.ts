import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { comparePaths, type Entry, type Scope } from "@pannier/core/adapter";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DirectoryItem } from "./directory-item.ts";
import { walk } from "./walk.ts";

const signal = new AbortController().signal;

function entryOf(path: string): Entry {
  return { kind: "file", path, fingerprint: "x" };
}

function file(name: string): DirectoryItem {
  return { name, kind: "entry", entry: entryOf };
}

function directory(name: string): DirectoryItem {
  return { name, kind: "directory" };
}

type Count = (names: number, characters: number) => void;

/** A tree of nested objects; `null` is a file. */
interface Tree {
  readonly [name: string]: Tree | null;
}

function reader(tree: Tree, before: (prefix: string) => Promise<void> = async () => {}) {
  return async (prefix: string) => {
    await before(prefix);
    let at: Tree = tree;
    for (const name of prefix.split("/").slice(0, -1)) at = at[name] as Tree;
    return Object.entries(at).map(([name, below]) =>
      below === null ? file(name) : directory(name),
    );
  };
}

/** Reads what the tree holds now; what `onRead` takes from it is gone. */
function changing(tree: Tree, onRead: (prefix: string) => void) {
  const asked: string[] = [];
  const read = async (prefix: string) => {
    asked.push(prefix);
    onRead(prefix);
    let at: Tree | null | undefined = tree;
    for (const name of prefix.split("/").slice(0, -1)) at = at?.[name];
    if (at === undefined || at === null) return undefined;
    return reader(at)("");
  };
  return { asked, listed: () => paths(walk({ read, concurrency: 1, signal })) };
}

function pathsOf(tree: Tree, prefix = ""): string[] {
  return Object.entries(tree).flatMap(([name, below]) =>
    below === null ? [prefix + name] : pathsOf(below, `${prefix}${name}/`),
  );
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** MiB. */
function heapUsed(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

/** 1,000 directories of 100 files. */
async function readMany(prefix: string): Promise<DirectoryItem[]> {
  return prefix === ""
    ? Array.from({ length: 1000 }, (_, i) => directory(`d${i}`))
    : Array.from({ length: 100 }, (_, i) => file(`${"long ".repeat(20)}${i}`));
}

async function paths(batches: AsyncIterable<readonly Entry[]>): Promise<string[]> {
  const found: string[] = [];
  for await (const batch of batches) found.push(...batch.map(({ path }) => path));
  return found;
}

test("lists in the order of the bytes of whole paths", async () => {
  const tree = {
    a: { z: null, "～": null, "😀": { x: null } },
    "a-": null,
    "a.b": null,
    a0: { "": null },
    é: null,
  };
  delete (tree.a0 as { ""?: null })[""];
  expect(await paths(walk({ read: reader(tree), concurrency: 4, signal }))).toEqual([
    "a-",
    "a.b",
    "a/z",
    "a/～",
    "a/😀/x",
    "é",
  ]);
});

test("any tree, whichever directory comes first, is listed in order and whole", async () => {
  const name = fc
    .string({
      unit: fc.constantFrom("a", "b", "-", ".", "0", "é", "～", "😀"),
      minLength: 1,
      maxLength: 3,
    })
    .filter((text) => text !== "." && text !== "..");
  const tree = fc.letrec<{ tree: Tree }>((tie) => ({
    tree: fc.dictionary(name, fc.option(tie("tree"), { nil: null }), { maxKeys: 6 }),
  })).tree;
  await fc.assert(
    fc.asyncProperty(
      tree,
      fc.scheduler(),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 0, max: 10 }),
      async (made, scheduler, concurrency, ahead) => {
        const read = reader(made, (prefix) => scheduler.schedule(Promise.resolve(), prefix));
        const listed = paths(walk({ read, concurrency, ahead, signal }));
        const found = await scheduler.waitFor(listed);
        expect(found).toEqual(pathsOf(made).toSorted(comparePaths));
      },
    ),
  );
});

test("reads several directories at once, and no more than allowed", async () => {
  const tree: Record<string, Tree> = {};
  for (let i = 0; i < 40; i++) tree[`d${i}`] = { f: null };
  let now = 0;
  let most = 0;
  const five = Promise.withResolvers<void>();
  const read = reader(tree, async (prefix) => {
    if (prefix === "") return;
    most = Math.max(most, ++now);
    // The first ones wait for each other, and those after them for whoever might come beside them.
    if (most === 5) five.resolve();
    await five.promise;
    await setImmediate();
    now--;
  });
  expect((await paths(walk({ read, concurrency: 5, signal }))).length).toBe(40);
  expect(most).toBe(5);
});

test("does not read far ahead of a consumer that does not come", async () => {
  let read = 0;
  const batches = walk({
    async read(prefix) {
      if (prefix === "") return Array.from({ length: 1000 }, (_, i) => directory(`d${i}`));
      read++;
      return Array.from({ length: 100 }, (_, i) => file(`f${i}`));
    },
    concurrency: 4,
    ahead: 1000,
    signal,
  });
  await batches.next();
  // As long as anything new is read.
  for (let before = -1; before !== read;) {
    before = read;
    await setImmediate();
  }
  expect(read).toBeLessThan(30);
  await batches.return(undefined);
});

test("100,000 entries in memory that stays flat", async () => {
  let count = 0;
  const samples: number[] = [];
  for await (const batch of walk({ read: readMany, concurrency: 8, ahead: 5000, signal })) {
    count += batch.length;
    if (count < (samples.length + 1) * 10_000) continue;
    samples.push(heapUsed());
  }
  expect(count).toBe(100_000);
  // Not the last one: at the end all is let go.
  const [early, late] = [samples[1] as number, samples.at(-2) as number];
  expect(late - early, "MiB between 20,000 and 90,000 entries").toBeLessThan(3);
});

describe("a directory that is gone", () => {
  test("has nothing in it", async () => {
    const tree: Record<string, Tree | null> = { a: { x: { f: null }, y: { f: null } }, kept: null };
    const { asked, listed } = changing(tree, (prefix) => {
      if (prefix === "a/y/") delete tree["a"];
    });
    expect(await listed()).toEqual(["a/x/f", "kept"]);
    expect(asked).toEqual(["", "a/", "a/x/", "a/y/", "a/", ""]);
  });

  test("costs one look above, however many there are", async () => {
    const tree: Record<string, Tree | null> = { kept: null };
    for (let i = 0; i < 50; i++) tree[`d${i}`] = { f: null };
    const { asked, listed } = changing(tree, (prefix) => {
      if (prefix !== "")
        for (const name of Object.keys(tree)) if (name !== "kept") delete tree[name];
    });
    expect(await listed()).toEqual(["kept"]);
    expect(asked.filter((prefix) => prefix === "").length).toBe(2);
  });

  test("fails the listing where the root is gone too, as the root does", async () => {
    const failure = new Error("not there");
    let there = true;
    const read = async (prefix: string) => {
      if (prefix === "a/") there = false;
      if (prefix !== "") return undefined;
      if (!there) throw failure;
      return [directory("a"), directory("b"), file("f")];
    };
    await expect(paths(walk({ read, concurrency: 2, signal }))).rejects.toBe(failure);
  });

  test("fails where the look above has no end", async () => {
    let looks = 0;
    let seen = 0;
    const read = async (prefix: string, _: AbortSignal, count: Count) => {
      if (prefix !== "") return undefined;
      if (looks++ > 0) for (; seen < 2_000_000; seen += 100) count(100, 100);
      return [directory("a"), file("f")];
    };
    await expect(paths(walk({ read, concurrency: 1, signal }))).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringMatching(/holds more than 400,000 names/),
    });
    expect(seen).toBeLessThan(500_000);
  });

  const LISTED = 'the server lists "a/", and says that it does not exist';
  test.each([
    ["is still listed", () => [directory("a"), file("f")], LISTED],
    ["is something else", () => [file("a"), file("f")], LISTED],
    ["went with all, as from a disk", () => [], '"a/" disappeared with all that was beside it'],
  ])("is not taken for deleted where it %s", async (_, later, message) => {
    let looks = 0;
    const read = async (prefix: string) =>
      prefix !== "" ? undefined : looks++ === 0 ? [directory("a"), file("f")] : later();
    const listing = paths(walk({ read, concurrency: 1, signal }));
    await expect(listing).rejects.toMatchObject({ name: "SourceError", code: "changed", message });
  });
});

const GONE: DirectoryItem = { name: "g", kind: "gone" };
/** @param looks what each look at the root finds */
function listLooks(looks: readonly (readonly DirectoryItem[])[], scope?: Scope) {
  let look = 0;
  const read = async () => looks[look++];
  return paths(walk({ read, concurrency: 1, signal, scope }));
}

describe("what is gone though it was just listed", () => {
  test("is left out where another look no longer lists it", async () => {
    expect(await listLooks([[file("a"), GONE], [file("a")]])).toEqual(["a"]);
    expect(await listLooks([[GONE], []])).toEqual([]);
  });

  test.each([[GONE], [file("g")], [directory("g")]])(
    "fails where it is still listed",
    async (later) => {
      await expect(
        listLooks([
          [file("a"), GONE],
          [file("a"), later],
        ]),
      ).rejects.toMatchObject({
        code: "changed",
        message: 'the server lists "g", and says that it does not exist',
      });
    },
  );

  test("is not looked for where nobody wants it", async () => {
    const scope: Scope = {
      filters: true,
      wants: (path) => path === "a",
      enters: () => false,
      ignoreFile: async () => {},
    };
    expect(await listLooks([[file("a"), GONE]], scope)).toEqual(["a"]);
  });
});

test("throws what the first directory in order failed with, after what comes before it", async () => {
  const failure = new Error("no");
  const seen: string[] = [];
  const read = async (prefix: string) => {
    if (prefix === "b/") throw failure;
    if (prefix === "c/") throw new Error("of a later one");
    return prefix === "" ? [directory("c"), directory("b"), directory("a")] : [file("x")];
  };
  const listing = (async () => {
    for await (const batch of walk({ read, concurrency: 3, signal }))
      seen.push(...batch.map(({ path }) => path));
  })();
  await expect(listing).rejects.toBe(failure);
  expect(seen).toEqual(["a/x"]);
});

test("an abort ends it at once, and what is being read", async () => {
  const abort = new AbortController();
  const reason = new Error("enough");
  const told: unknown[] = [];
  const read = (prefix: string, inner: AbortSignal) =>
    prefix === ""
      ? Promise.resolve([directory("a"), directory("b")])
      : new Promise<never>((_, reject) => {
          inner.addEventListener("abort", () => {
            told.push(prefix);
            reject(inner.reason);
          });
          if (prefix === "b/") abort.abort(reason);
        });
  await expect(paths(walk({ read, concurrency: 2, signal: abort.signal }))).rejects.toBe(reason);
  expect(told).toEqual(["a/", "b/"]);
});

test("being left ends what is being read", async () => {
  let told = false;
  const batches = walk({
    read: async (prefix, inner) => {
      if (prefix === "") return [file("a"), directory("b")];
      return new Promise((_, reject) => {
        inner.addEventListener("abort", () => {
          told = true;
          reject(inner.reason);
        });
      });
    },
    concurrency: 2,
    signal,
  });
  expect((await batches.next()).value).toHaveLength(1);
  await batches.return(undefined);
  expect(told).toBe(true);
});

test.each(["", ".", "..", "a/b", "a\0b", "/etc/passwd"])("refuses the name %j", async (name) => {
  for (const item of [file(name), directory(name)]) {
    const listing = paths(walk({ read: async () => [item], concurrency: 1, signal }));
    await expect(listing).rejects.toMatchObject({ name: "SourceError", code: "invalid" });
  }
});

/* oxlint-disable unicorn/consistent-function-scoping -- each test has a server of its own */
describe("a server without an end", () => {
  test("a directory with more names than can be held is refused while it is read", async () => {
    let told = 0;
    const read = async (
      _prefix: string,
      _signal: AbortSignal,
      count: (names: number, characters: number) => void,
    ) => {
      for (;;) {
        count(1000, 10_000);
        told += 1000;
      }
    };
    await expect(paths(walk({ read, concurrency: 4, signal }))).rejects.toMatchObject({
      code: "invalid",
      transient: false,
      message: '"/", with the directories above it, holds more than 400,000 names',
    });
    expect(told).toBe(400_000);
  });

  test("long names count as more than one", async () => {
    let told = 0;
    const read = async (
      _: string,
      _signal: AbortSignal,
      count: (names: number, characters: number) => void,
    ) => {
      for (;;) {
        count(1, 16_000);
        told++;
      }
    };
    await expect(paths(walk({ read, concurrency: 4, signal }))).rejects.toMatchObject({
      code: "invalid",
    });
    expect(told).toBeLessThan(4000);
  });

  test("names of directories above count, and those of one level after the other do not", async () => {
    const read = async (prefix: string): Promise<DirectoryItem[]> => {
      const depth = prefix.split("/").length;
      const files = Array.from({ length: 60_000 }, (_, i) => file(`f${i}`));
      return depth > 20 ? files : [directory("a"), ...files];
    };
    await expect(paths(walk({ read, concurrency: 1, signal }))).rejects.toMatchObject({
      code: "invalid",
      message: '"a/a/a/a/a/a/", with the directories above it, holds more than 400,000 names',
    });
    const flat = async (prefix: string): Promise<DirectoryItem[]> =>
      prefix === ""
        ? Array.from({ length: 12 }, (_, i) => directory(`${i}`))
        : Array.from({ length: 60_000 }, (_, i) => file(`f${i}`));
    expect((await paths(walk({ read: flat, concurrency: 4, signal }))).length).toBe(720_000);
  });

  test("large directories that are read ahead wait for their turn", async () => {
    const asked: string[] = [];
    let most = 0;
    let underway = 0;
    const read = async (
      prefix: string,
      _signal: AbortSignal,
      count: (names: number, characters: number) => void,
    ): Promise<DirectoryItem[]> => {
      asked.push(prefix);
      if (prefix === "") return Array.from({ length: 4 }, (_, i) => directory(`${i}`));
      let mine = 0;
      try {
        for (; mine < 90_000; mine += 1000) {
          underway += 1000;
          most = Math.max(most, underway);
          count(1000, 10_000);
          await setImmediate();
        }
        return Array.from({ length: mine }, (_, i) => file(`${i}`));
      } finally {
        underway -= mine;
      }
    };
    expect((await paths(walk({ read, concurrency: 4, signal }))).length).toBe(360_000);
    expect(most).toBeLessThan(200_000);
    expect(asked.length).toBeGreaterThan(5);
  });

  test("a directory that holds itself ends with its path", async () => {
    const read = async () => [directory("loop")];
    await expect(paths(walk({ read, concurrency: 4, signal }))).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringMatching(/^a directory's path is longer than 4,096 bytes: "loop\/loop/),
    });
  });

  test("directories without number that hold no file", async () => {
    let read = 0;
    const make = async (prefix: string) => {
      read++;
      return prefix.split("/").length > 6
        ? []
        : Array.from({ length: 10 }, (_, i) => directory(`${i}`));
    };
    await expect(paths(walk({ read: make, concurrency: 4, signal }))).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringMatching(/^100,000 directories, one after the other, hold nothing/),
    });
    expect(read).toBeLessThan(101_000);
  });

  test("a large directory holds up nobody for long", async () => {
    const read = async (
      prefix: string,
      _signal: AbortSignal,
      count: (names: number, characters: number) => void,
    ) => {
      const items: DirectoryItem[] = [];
      if (prefix !== "") return items;
      for (let at = 0; at < 300_000; at++) {
        items.push(at % 3 === 0 ? directory(`${at}`) : file(`${(at * 7919) % 300_007}`));
        if (at % 1000 !== 999) continue;
        count(1000, 10_000);
        await setImmediate();
      }
      return items;
    };
    const waits: number[] = [];
    // In CPU time: what other processes take of the machine does not count.
    let last = process.cpuUsage();
    const timer = setInterval(() => {
      const { user, system } = process.cpuUsage(last);
      waits.push((user + system) / 1000);
      last = process.cpuUsage();
    }, 1);
    for await (const batch of walk({ read, concurrency: 4, signal })) {
      expect(batch.length).toBeGreaterThan(0);
      await setImmediate();
    }
    clearInterval(timer);
    // Of the longest, collecting garbage has a share.
    expect(waits.toSorted((a, b) => b - a)[5]).toBeLessThan(100);
    expect(waits.length).toBeGreaterThan(20);
  });
});

test("what is left out is told in its place, once", async () => {
  const told: string[] = [];
  const items: Readonly<Record<string, DirectoryItem[]>> = {
    "": [{ name: "z", kind: "special" }, directory("d"), file("f")],
    "d/": [{ name: "fifo", kind: "special" }],
  };
  const read = async (prefix: string) => items[prefix];
  const listed = await paths(
    walk({ read, concurrency: 1, signal, onSpecial: (path) => told.push(path) }),
  );
  expect({ listed, told }).toEqual({ listed: ["f"], told: ["d/fifo", "z"] });
});
