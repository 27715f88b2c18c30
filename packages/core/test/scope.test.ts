/** What filters and the source's own `.pannierignore` leave out is not judged, whenever the ignore file comes. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Scope, sync, type SyncOptions } from "../src/index.ts";
import { type MemorySource, memorySource, toEntry } from "./memory-source.ts";
import { readTree } from "./trees.ts";

let target: string;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-test-"));
});

afterEach(() => {
  rmSync(target, { recursive: true, force: true });
});

const current = () => readTree(join(target, "current"));
const run = (source: MemorySource, options: Partial<SyncOptions> = {}) =>
  sync({ sources: [source], target, ...options });

/** As a source that reads directory by directory tells what its root has. */
function tell(source: MemorySource) {
  return async (scope: Scope | undefined) => {
    const file = source.content[".pannierignore"];
    await scope?.ignoreFile(file === undefined ? undefined : toEntry(".pannierignore", file));
  };
}

/** All come before `.pannierignore`. */
const FAULTS = {
  "a name that is too long": ["-".repeat(256), "x"],
  "a file that is too large": ["+large", "x".repeat(100)],
  "a path with an empty segment": ["#a//b", "x"],
} as const;

describe.each(Object.entries(FAULTS))("%s, listed before the ignore file", (_, [path, text]) => {
  const limits = { maxFileBytes: 50 };
  const refused = { cause: { code: "invalid" } };
  const tree = { a: "1", [path]: text, z: "2" };
  const ignored = (patterns: string) => ({ ...tree, ".pannierignore": patterns });

  it("is not judged where that excludes it", async () => {
    const source = memorySource(ignored("[-+#]*\n"));
    await run(source, limits);
    expect(current()).toEqual({ a: "1", z: "2" });
  });

  it("fails the listing where it is wanted, with the ignore file or without", async () => {
    for (const content of [tree, ignored("a"), { [path]: text }]) {
      await expect(run(memorySource(content), limits)).rejects.toMatchObject(refused);
    }
  });

  it("fails it too where the ignore file no longer excludes it", async () => {
    const source = memorySource(ignored("[-+#]*\n"));
    await run(source, limits);
    source.content = ignored("a");
    await expect(run(source, limits)).rejects.toMatchObject(refused);
    source.content = tree;
    await expect(run(source, limits)).rejects.toMatchObject(refused);
    expect(current()).toEqual({ a: "1", z: "2" });
  });
});

describe("a source that tells of its ignore file itself", () => {
  const content = { "-a": "1", "-b": "2", ".pannierignore": "-a\n", z: "3" };

  it.each(["beforeList", "midway"] as const)("is heard: %s", async (when) => {
    const source = memorySource(content);
    source[when] = tell(source);
    await run(source);
    expect(current()).toEqual({ "-b": "2", z: "3" });
    // What was listed before it was known is listed again.
    expect(source.lists).toBe(when === "midway" ? 2 : 1);
  });

  it("is listed again where it is another than the last time, or gone", async () => {
    const source = memorySource(content);
    source.beforeList = tell(source);
    const seen: boolean[] = [];
    source.midway = (scope) => void seen.push(scope?.wants("-b") !== false);
    await run(source);
    source.content = { ...content, ".pannierignore": "-b\n" };
    await run(source);
    expect(current()).toEqual({ "-a": "1", z: "3" });
    const { ".pannierignore": _, ...rest } = content;
    source.content = rest;
    await run(source);
    expect(current()).toEqual(rest);
    // The first of two listings ends where the ignore file is told of.
    expect([source.lists, seen]).toEqual([5, [true, false, true]]);
  });

  it("fails when it is another each time", async () => {
    const source = memorySource(content);
    source.beforeList = async (scope) => {
      source.content = { ...content, ".pannierignore": `${source.lists}` };
      await tell(source)(scope);
    };
    await run(source);
    await expect(run(source)).rejects.toThrow("its .pannierignore keeps changing");
  });
});
