import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, onTestFinished, test } from "vitest";
import { createScratch, type Scratch } from "./scratch.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const MIB = 2 ** 20;

async function opened() {
  const folder = await mkdtemp(join(tmpdir(), "pannier-scratch-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const scratch = await createScratch(folder);
  onTestFinished(() => scratch.close());
  return scratch;
}

/** Numbers of those that do not lie where the table says, under their numbers. */
async function misplaced(scratch: Scratch, contents: readonly Buffer[]): Promise<number[]> {
  const unpacked = await scratch.finish();
  onTestFinished(() => unpacked.close());
  const wrong: number[] = [];
  for (const [i, content] of contents.entries()) {
    const { file, start } = unpacked.find(`f${i}`) ?? { file: "", start: 0 };
    const found = (await readFile(file)).subarray(start, start + content.length);
    if (!found.equals(content)) wrong.push(i);
  }
  return wrong;
}

/** Bytes of buffers that are in use. */
function buffers(): number {
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}

test("tiny contents do not hold what they are a part of", async () => {
  const scratch = await opened();
  const before = buffers();
  for (let i = 0; i < 100; i++) {
    const window = Buffer.alloc(MIB, i);
    await scratch.put(`empty-${i}`, 0, window.subarray(0, 0), { mtime: undefined });
    await scratch.put(`tiny-${i}`, 1, window.subarray(5, 6), { mtime: undefined });
  }
  // V8 gives them back in a thread of its own.
  await expect.poll(() => buffers() - before).toBeLessThan(10 * MIB);
});

test("small contents of all sizes lie where the table says", async () => {
  const scratch = await opened();
  const sizes = [0, 1, 262_144, 262_143, 5000, 262_144, 262_144, 262_144, 262_144, 3, 262_144];
  const contents = sizes.map((size, i) => Buffer.alloc(size, i + 1));
  for (const [i, content] of contents.entries())
    await scratch.put(`f${i}`, content.length, content, { mtime: undefined });
  expect(await misplaced(scratch, contents)).toEqual([]);
});

test("small contents that are put side by side lie where the table says", async () => {
  const scratch = await opened();
  const contents = Array.from({ length: 60 }, (_, i) => Buffer.alloc(200_000 + i * 1000, i + 1));
  const facts = { mtime: undefined };
  await Promise.all(
    contents.map((content, i) => scratch.put(`f${i}`, content.length, content, facts)),
  );
  expect(await misplaced(scratch, contents)).toEqual([]);
});
