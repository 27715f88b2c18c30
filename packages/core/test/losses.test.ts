/** Something of a target goes while nobody looks, or half way through a sync. What is published then is whole, or nothing is said to be. */
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { follow, sync, type SyncOptions, verify } from "../src/index.ts";
import { FROM_SOURCES } from "../../../test/support/from-sources.ts";
import { memorySource, type MemorySource } from "./memory-source.ts";
import { readTree } from "./trees.ts";

let target: string;
let source: MemorySource;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-losses-"));
  chmodSync(target, 0o755);
  source = memorySource(contentOf(0));
});

afterEach(() => rmSync(target, { recursive: true, force: true }));

type Publish = "swap" | "mirror";

/** Twelve files and some links, half of which change from one number to the next. */
function contentOf(number: number): MemorySource["content"] {
  return Object.fromEntries(
    Array.from({ length: 16 }, (_, i) => {
      const version = i % 2 === 0 ? number : 0;
      const content = i % 4 < 3 ? `${i} ${version}` : { link: `to-${version}` };
      return [`d${i % 3}/e/x${i}`, content];
    }),
  );
}

const shown = (publish: Publish) => readTree(publish === "swap" ? join(target, "current") : target);

function expected({ content }: MemorySource): Record<string, string> {
  return Object.fromEntries(
    Object.entries(content).map(([path, value]) => [
      path,
      typeof value === "string" ? value : "link" in value ? `-> ${value.link}` : value.text,
    ]),
  );
}

/** What is ours for the time of a sync. */
function workPlaces(): string[] {
  const home = join(target, ".pannier");
  return readdirSync(home)
    .filter((name) => /^(candidate|staging)-/.test(name))
    .map((name) => join(home, name));
}

const WAYS: Record<string, (place: string) => void> = {
  "removed whole": (place) => rmSync(place, { recursive: true }),
  emptied: (place) => {
    for (const name of readdirSync(place)) rmSync(join(place, name), { recursive: true });
  },
  "emptied of one entry": (place) => {
    const [first] = readdirSync(place);
    if (first !== undefined) rmSync(join(place, first), { recursive: true });
  },
  "moved away": (place) => renameSync(place, join(target, ".pannier/elsewhere")),
  "replaced by another": (place) => {
    rmSync(place, { recursive: true });
    // The same names, and other content.
    for (const name of ["1", "2", "3"]) writeFileSync(`${place}-${name}`, "x");
  },
};

describe.each(["swap", "mirror"] as const)("the tree at work, --publish %s", (publish) => {
  describe.each(["after half of the reads", "after all of them"])("%s", (when) => {
    it.each(Object.keys(WAYS))("%s", async (way) => {
      const options: SyncOptions = { sources: [source], target, publish, concurrency: 1 };
      await sync(options);
      const before = shown(publish);
      source.content = contentOf(1);
      const lose = () => {
        const places = workPlaces();
        expect(places).toHaveLength(1);
        for (const place of places) WAYS[way]?.(place);
      };
      let reads = 0;
      source.beforeRead = () => {
        if (when === "after half of the reads" && ++reads === 4) lose();
      };
      const onEvent: SyncOptions["onEvent"] = (event) => {
        if (when === "after all of them" && event.type === "step" && event.step === "publish")
          lose();
      };
      const error = await sync({ ...options, onEvent }).catch((failure: Error) => failure);
      // Other people's doing, not a fault of ours.
      const isTold = error instanceof Error;
      expect(isTold ? error.name : "TargetError", String(error)).toBe("TargetError");
      expect(shown(publish)).toEqual(isTold ? before : expected(source));
      source.beforeRead = () => {};
      await sync(options);
      expect(shown(publish)).toEqual(expected(source));
      expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
    });
  });
});

it("the tree at work, where threads write its files", async () => {
  const many = Array.from({ length: 600 }, (_, i) => [`d${i % 3}/x${i}`, `content ${i}`]);
  source.content = Object.fromEntries(many);
  let reads = 0;
  source.beforeRead = () => {
    if (++reads === 300) for (const place of workPlaces()) rmSync(place, { recursive: true });
  };
  const error = await sync({ sources: [source], target }).catch((failure: Error) => failure);
  expect(String(error)).toMatch(/^TargetError: the target .* cannot be worked on/);
  source.beforeRead = () => {};
  await sync({ sources: [source], target });
  expect(shown("swap")).toEqual(expected(source));
});

/** What of a first tree may be lost before it is published, and whether it is noticed that something else is in its place. */
const LOSSES: Record<string, (candidate: string) => void> = {
  "a file": (at) => rmSync(join(at, "few/x1")),
  "a file between directories": (at) => rmSync(join(at, "mixed/x1")),
  "a link": (at) => rmSync(join(at, "few/x3")),
  "a directory": (at) => rmSync(join(at, "few"), { recursive: true }),
  "a file, for a directory": (at) => {
    rmSync(join(at, "few/x1"));
    mkdirSync(join(at, "few/x1"));
  },
  "a file, for a link": (at) => {
    rmSync(join(at, "few/x1"));
    symlinkSync("x2", join(at, "few/x1"));
  },
  "a directory, for a link to one like it": (at) => {
    renameSync(join(at, "few"), join(target, "elsewhere"));
    symlinkSync("../../elsewhere", join(at, "few"));
  },
  "a file of very many": (at) => rmSync(join(at, "many/x1234")),
  "the whole of a file": (at) => truncateSync(join(at, "few/x1")),
  "a file, for another of its size": (at) => {
    rmSync(join(at, "few/x1"));
    writeFileSync(join(at, "few/x1"), "2");
  },
};

describe("a first tree", () => {
  const content: MemorySource["content"] = {};
  for (let i = 0; i < 1300; i++) content[`many/x${i}`] = "1";
  for (let i = 0; i < 5; i++) {
    content[`few/x${i}`] = i === 3 ? { link: "x2" } : "1";
    content[`mixed/x${i}`] = "1";
    content[`mixed/x${i}.d/y`] = "1";
  }

  it.each(Object.keys(LOSSES))("is not published without %s", async (what) => {
    source.content = content;
    let lost = false;
    const onEvent: SyncOptions["onEvent"] = (event) => {
      if (event.type !== "step" || event.step !== "publish" || lost) return;
      lost = true;
      for (const place of workPlaces()) LOSSES[what]?.(place);
    };
    const options: SyncOptions = { sources: [source], target };
    await expect(sync({ ...options, onEvent })).rejects.toThrow("was changed or removed");
    expect(readdirSync(target)).not.toContain("current");
    await sync(options);
    expect(shown("swap")).toEqual(expected(source));
  });
});

it("does not believe what a killed mirror had staged and somebody removed", async () => {
  for (const at of [1, 2, 3]) {
    const order = { target, publish: "mirror", dirMode: 0o755, call: "renameSync", at };
    const child = join(import.meta.dirname, "half-made-child.ts");
    const { signal } = spawnSync(process.execPath, [...FROM_SOURCES, child, JSON.stringify(order)]);
    expect(signal).toBe("SIGKILL");
    const places = workPlaces();
    expect(places).toHaveLength(1);
    for (const place of places) rmSync(place, { recursive: true });
    source.content = { "d/e/f": "1", "d/g": "2", "h/i": { link: "j" } };
    await sync({ sources: [source], target, publish: "mirror" });
    expect(shown("mirror")).toEqual(expected(source));
    rmSync(target, { recursive: true });
  }
});

/** What somebody's clean-up takes from a volume, and what it leaves. */
const CLEANINGS: Record<string, (root: string) => void> = {
  "all but the state": (root) => {
    for (const name of readdirSync(root))
      if (name !== ".pannier") rmSync(join(root, name), { recursive: true });
    const home = join(root, ".pannier");
    for (const name of readdirSync(home))
      if (name !== "state.db") rmSync(join(home, name), { recursive: true });
  },
  "all but Pannier's own directory": (root) => {
    for (const name of readdirSync(root))
      if (name !== ".pannier") rmSync(join(root, name), { recursive: true });
  },
  "all but the state and its journal": (root) => {
    for (const name of readdirSync(root))
      if (name !== ".pannier") rmSync(join(root, name), { recursive: true });
    const home = join(root, ".pannier");
    for (const name of readdirSync(home))
      if (!name.startsWith("state.db")) rmSync(join(home, name), { recursive: true });
  },
};

describe.each(["swap", "mirror"] as const)("a volume that was cleaned, --publish %s", (publish) => {
  describe.each([true, false])("with a source that tells that nothing changed: %s", (tells) => {
    it.each(Object.keys(CLEANINGS))("%s, between two syncs", async (what) => {
      if (tells) source.token = "same";
      const options = { sources: [source], target, publish };
      await sync(options);
      CLEANINGS[what]?.(target);
      await sync(options);
      expect(shown(publish)).toEqual(expected(source));
      expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
    });

    it.each(Object.keys(CLEANINGS))("%s, under a follow", async (what) => {
      if (tells) source.token = "same";
      const options = { sources: [source], target, publish, period: 5 };
      let cleaned = false;
      for await (const event of follow(options)) {
        if (event.type === "failed" && event.error.name !== "TargetError") throw event.error;
        if (event.type !== "done") continue;
        if (cleaned) break;
        cleaned = true;
        CLEANINGS[what]?.(target);
      }
      expect(shown(publish)).toEqual(expected(source));
      expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
    });
  });
});

it("looks for all files of a mirror, some at each sync", async () => {
  source.content = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`d/${i}`, `${i}`]));
  source.token = "same";
  let syncs = 0;
  for await (const event of follow({ sources: [source], target, publish: "mirror", period: 1 })) {
    if (event.type !== "done") continue;
    if (++syncs === 1) rmSync(join(target, "d/99"));
    // Of 500 files 200 at a time: after three looks all were looked for.
    if (syncs === 5) break;
  }
  expect(shown("mirror")).toEqual(source.content);
});
