/** `--max-bytes` where no listing tells how large files are. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Source, sync, type SyncOptions } from "../src/index.ts";
import { type Content, memorySource } from "./memory-source.ts";
import { litterOf, readTree } from "./trees.ts";

let target: string;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-unlisted-"));
});
afterEach(() => {
  rmSync(target, { recursive: true, force: true });
  vi.unstubAllEnvs();
});

const PIECE = Buffer.alloc(64 * 1024, "x");

/** A source that tells no sizes, and what was read of its file `endless`. */
function unlistedSource(content: Content) {
  const source = memorySource(content);
  source.sizes = false;
  source.lane = {};
  const { adapter } = source;
  const read = { bytes: 0 };
  async function* endless() {
    // Not quite: a test that goes on for ever tells nothing.
    for (; read.bytes < 100 * PIECE.length; read.bytes += PIECE.length) yield PIECE;
  }
  async function open(...args: Parameters<typeof adapter.open>): Promise<Source> {
    const opened = await adapter.open(...args);
    const readFile = opened.read.bind(opened);
    opened.read = async (entry, range, signal) =>
      entry.path === "endless" ? endless() : await readFile(entry, range, signal);
    return opened;
  }
  return { source: { ...source, adapter: { ...adapter, open } }, read };
}

describe.each([
  ["swap", "never"],
  ["swap", "always"],
  ["mirror", "never"],
  ["mirror", "always"],
] as const)("publish %s, lanes %s", (publish, lanes) => {
  beforeEach(() => vi.stubEnv("PANNIER_TEST_LANES", lanes));

  const run = (
    source: ReturnType<typeof unlistedSource>["source"],
    options: Partial<SyncOptions> = {},
  ) => sync({ sources: [source], target, publish, ...options });
  const root = () => (publish === "swap" ? join(target, "current") : target);

  it("a file without an end is cut at the limit of the tree", async () => {
    const { source, read } = unlistedSource({ a: "1", endless: "" });
    await expect(run(source, { maxBytes: 1_000_000 })).rejects.toMatchObject({
      name: "NoRoomError",
      message: expect.stringContaining("more than the 1000000 bytes of --max-bytes"),
    });
    expect(read.bytes).toBeLessThan(2_000_000);
    expect(litterOf(target)).toEqual([]);
  });

  it("many files are refused together, and taken where they just fit", async () => {
    const names = Array.from({ length: 300 }, (_, i) => `file-${i}`);
    const content = Object.fromEntries(names.map((name) => [name, "x".repeat(100)]));
    const { source } = unlistedSource(content);
    await expect(run(source, { maxBytes: 29_999 })).rejects.toMatchObject({ name: "NoRoomError" });
    await run(source, { maxBytes: 30_000 });
    expect(readTree(root())).toEqual(content);
    // What is only read again takes no room beside what is published.
    const again = { maxBytes: 30_000, verifyContent: true };
    expect(await run(source, again)).toMatchObject({ result: "unchanged" });
    source.content["file-7"] = { text: "y".repeat(100), fingerprint: "new" };
    expect(await run(source, again)).toMatchObject({ changed: 1 });
    source.content["file-7"] = { text: "y".repeat(101), fingerprint: "newer" };
    await expect(run(source, again)).rejects.toMatchObject({ name: "NoRoomError" });
  });
});
