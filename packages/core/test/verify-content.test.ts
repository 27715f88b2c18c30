import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { plan, repair, sync, type SyncEvent, type SyncOptions } from "../src/index.ts";
import { type Content, type MemorySource, memorySource } from "./memory-source.ts";
import { litterOf, readTree } from "./trees.ts";

let target: string;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-test-"));
});

afterEach(() => {
  rmSync(target, { recursive: true, force: true });
});

let planned: SyncEvent | undefined;

function onEvent(event: SyncEvent): void {
  if (event.type === "planned") planned = event;
}

/** Files whose fingerprint says nothing of their content, as size and time do on a share. */
const vague = (texts: Record<string, string>): Content =>
  Object.fromEntries(
    Object.entries(texts).map(([path, text]) => [path, { text, fingerprint: "same" }]),
  );

describe.each(["swap", "mirror"] as const)("verifyContent with %s", (publish) => {
  const place = () => (publish === "swap" ? join(target, "current") : target);
  const tree = () => readTree(place());
  const run = (source: MemorySource, options: Partial<SyncOptions> = {}) => {
    source.reads = [];
    return sync({ sources: [source], target, publish, ...options });
  };

  it("publishes content that changed under the same fingerprint, as a revision of its own", async () => {
    const source = memorySource(vague({ a: "1", b: "1" }));
    source.revision = source.token = "r1";
    await run(source);
    const inode = statSync(join(place(), "b")).ino;
    source.content = vague({ a: "2", b: "1" });
    expect(await run(source)).toMatchObject({ result: "unchanged" });
    const result = await run(source, { verifyContent: true });
    expect(result).toMatchObject({ result: "published", added: 0, changed: 1, deleted: 0 });
    expect(result.revision).not.toBe("r1");
    expect(tree()).toEqual({ a: "2", b: "1" });
    expect(statSync(join(place(), "b")).ino, "what did not change stays").toBe(inode);
    expect(await run(source)).toMatchObject({ result: "unchanged", revision: result.revision });
    expect(litterOf(target)).toEqual([]);
  });

  it("reads everything each time, and publishes nothing where it is the same", async () => {
    const source = memorySource(vague({ a: "1", "d/b": "22" }));
    source.token = "t";
    const first = await run(source);
    const inode = statSync(join(place(), "a")).ino;
    for (let times = 0; times < 2; times++) {
      expect(await run(source, { verifyContent: true, onEvent })).toMatchObject({
        result: "unchanged",
        revision: first.revision,
        received: 3,
      });
      expect(source.reads.toSorted()).toEqual(["a", "d/b"]);
      expect(statSync(join(place(), "a")).ino).toBe(inode);
    }
    // What is the same takes no room of its own.
    expect(planned).toMatchObject({ changed: 0, fetchFiles: 0, rereadFiles: 2, rereadBytes: 3 });
    expect(litterOf(target)).toEqual([]);
  });

  it("notices along with other changes", async () => {
    const source = memorySource({ ...vague({ a: "1", b: "1" }), c: "1" });
    await run(source);
    source.content = { ...vague({ a: "2", b: "1" }), c: "2", d: "1" };
    expect(await run(source, { verifyContent: true })).toMatchObject({ added: 1, changed: 2 });
    expect(tree()).toEqual({ a: "2", b: "1", c: "2", d: "1" });
  });

  it("reads of several sources what is seen of them", async () => {
    const below = memorySource(vague({ a: "below", b: "1" }), "below");
    const above = memorySource(vague({ a: "above" }), "above");
    const options = { sources: [below, above], verifyContent: true, onEvent };
    await run(below, options);
    below.content = vague({ a: "hidden", b: "2" });
    expect(await run(below, options)).toMatchObject({ result: "published", changed: 1 });
    expect(below.reads).toEqual(["b"]);
    above.content = vague({ a: "risen" });
    expect(await run(below, options)).toMatchObject({ result: "published", changed: 1 });
    expect(tree()).toEqual({ a: "risen", b: "2" });
    expect(await run(below, options)).toMatchObject({ result: "unchanged" });
    expect(planned).toMatchObject({ changed: 0, fetchFiles: 0, rereadFiles: 2 });
    above.content = vague({ c: "1" });
    expect(await run(below, options)).toMatchObject({ added: 1, changed: 1 });
    expect(planned).toMatchObject({ changed: 1, fetchFiles: 2, rereadFiles: 1 });
    expect(tree()).toEqual({ a: "hidden", b: "2", c: "1" });
  });

  it("goes by what .pannierignore says now", async () => {
    const source = memorySource(vague({ ".pannierignore": "a", a: "1", b: "1" }));
    await run(source);
    source.content = vague({ ".pannierignore": "b", a: "1", b: "1" });
    await run(source, { verifyContent: true });
    expect(tree()).toEqual({ a: "1" });
  });

  it("puts right what was damaged, from what the source has now", async () => {
    const source = memorySource(vague({ a: "1", b: "1" }));
    await run(source);
    writeFileSync(join(place(), "a"), "x");
    source.content = vague({ a: "2", b: "2" });
    await repair({ sources: [source], target, publish, verifyContent: true, onEvent });
    expect(planned).toMatchObject({ changed: 1, fetchFiles: 1, rereadFiles: 1 });
    expect(tree()).toEqual({ a: "2", b: "2" });
  });

  it("takes a dry run at the listing's word", async () => {
    const source = memorySource(vague({ a: "1" }));
    await run(source);
    source.reads = [];
    const changes: unknown[] = [];
    const options = { sources: [source], target, publish, verifyContent: true };
    const result = await plan(options, (change) => changes.push(change));
    expect(result).toMatchObject({ result: "unchanged" });
    expect([changes, source.reads]).toEqual([[], []]);
  });

  it("does not read again where a fingerprint is the content's", async () => {
    const source = memorySource({ a: "1" });
    source.token = "t";
    source.contentAddressed = true;
    await run(source, { verifyContent: true });
    await run(source, { verifyContent: true });
    expect([source.reads, source.lists]).toEqual([[], 1]);
  });

  it("finds after a sync that was cut what that one had found", async () => {
    const source = memorySource(vague({ a: "1", b: "1", c: "1" }));
    await run(source);
    source.content = vague({ a: "2", b: "1", c: "1" });
    source.beforeRead = ({ path }) => {
      if (path === "c") throw new Error("cut");
    };
    const options = { verifyContent: true, concurrency: 1 };
    await expect(run(source, options)).rejects.toThrow("cut");
    expect(tree()).toEqual({ a: "1", b: "1", c: "1" });
    source.beforeRead = () => {};
    expect(await run(source, options)).toMatchObject({ result: "published", changed: 1 });
    expect(tree()).toEqual({ a: "2", b: "1", c: "1" });
    expect(litterOf(target)).toEqual([]);
  });
});

it("verifyContent makes every file again where their owner or the mode of directories is another", async () => {
  const source = memorySource(vague({ a: "1" }));
  const file = join(target, "current/a");
  await sync({ sources: [source], target });
  const inode = statSync(file).ino;
  const options = { sources: [source], target, verifyContent: true, dirMode: 0o750 };
  expect(await sync(options)).toMatchObject({ result: "published", changed: 1 });
  expect(statSync(file).ino).not.toBe(inode);
  expect(statSync(join(target, "current")).mode & 0o777).toBe(0o750);
});
