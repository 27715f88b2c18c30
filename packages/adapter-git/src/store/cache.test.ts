import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { isOutgrown, REFETCHED, REPACKED } from "./cache.ts";

const MIB = 2 ** 20;

/** A cache with packs of these sizes, which take no room. */
function cacheOf(sizes: readonly number[], noted?: number): string {
  const dir = mkdtempSync(join(tmpdir(), "pannier-cache-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  mkdirSync(join(dir, "objects/pack"), { recursive: true });
  for (const [index, size] of sizes.entries()) {
    const pack = join(dir, `objects/pack/pack-${index}.pack`);
    writeFileSync(pack, "");
    truncateSync(pack, size);
  }
  if (noted !== undefined) writeFileSync(join(dir, "size"), `${noted}\n`);
  return dir;
}

test.each([
  ["to be repacked, by a quarter and 16 MiB", REPACKED, 125 * MIB + 16 * MIB],
  ["to be fetched again, by its size and 64 MiB", REFETCHED, 200 * MIB + 64 * MIB],
])("a cache has outgrown its content enough %s", async (_, growth, most) => {
  const half = (most - 100 * MIB) / 2;
  const sizes = [100 * MIB, half, half];
  expect(await isOutgrown(cacheOf(sizes), growth)).toBe(false);
  expect(await isOutgrown(cacheOf([...sizes, 1]), growth)).toBe(true);
  // What it was when it was last looked after counts, where that is known.
  expect(await isOutgrown(cacheOf([most], 100 * MIB), growth)).toBe(false);
  expect(await isOutgrown(cacheOf([most + 1], 100 * MIB), growth)).toBe(true);
});

const packs = (count: number) => cacheOf(Array.from({ length: count }, () => 1));

test("a cache of many packs has, however small they are", async () => {
  expect(await isOutgrown(packs(40), REPACKED)).toBe(false);
  expect(await isOutgrown(packs(41), REPACKED)).toBe(true);
});
