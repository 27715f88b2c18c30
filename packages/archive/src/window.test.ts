import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openWindow } from "./window.ts";

const SIZE = 8 * 2 ** 20;
const RECORD = 1000;

/** A file of random bytes, and a window on it that counts the bytes it reads. */
async function windowOn(start: number) {
  const folder = await mkdtemp(join(tmpdir(), "pannier-window-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, "file");
  const content = Buffer.alloc(SIZE);
  for (let at = 0; at < SIZE; at += 65_536)
    crypto.getRandomValues(new Uint8Array(content.buffer, content.byteOffset + at, 65_536));
  await writeFile(path, content);
  const file = await open(path);
  onTestFinished(() => file.close());
  let calls = 0;
  let bytes = 0;
  const read = file.read.bind(file) as (...args: unknown[]) => Promise<{ bytesRead: number }>;
  const counted = async (...args: unknown[]) => {
    const result = await read(...args);
    calls++;
    bytes += result.bytesRead;
    return result;
  };
  file.read = counted as unknown as typeof file.read;
  const window = openWindow(file, start, () => new Error("cut short"));
  return { window, content, costs: () => ({ calls, bytes }) };
}

test("what is read forwards is read once, in few calls", async () => {
  const start = 123;
  const { window, content, costs } = await windowOn(start);
  const seen: Buffer[] = [];
  for (let at = 0; start + at + RECORD <= SIZE; at += RECORD)
    seen.push(Buffer.from(await window.read(at, RECORD)));
  expect(Buffer.concat(seen).equals(content.subarray(start, start + seen.length * RECORD))).toBe(
    true,
  );
  expect(costs().calls).toBeLessThan(30);
  expect(costs().bytes).toBeLessThan(1.01 * SIZE);
});

test("what is read backwards is not read many times over", async () => {
  const { window, content, costs } = await windowOn(0);
  for (let at = SIZE - RECORD; at >= 0; at -= RECORD) {
    const piece = await window.read(at, RECORD);
    expect(piece.equals(content.subarray(at, at + RECORD))).toBe(true);
  }
  expect(costs().bytes).toBeLessThan(5 * SIZE);
});

test("reads one file with the memory of one piece", async () => {
  const { window } = await windowOn(0);
  const memories = new Set<ArrayBufferLike>();
  for (let at = 0; at + RECORD <= SIZE; at += RECORD)
    memories.add((await window.read(at, RECORD)).buffer);
  // One for each size up to the largest.
  expect(memories.size).toBeLessThan(12);
});

test("a file that ends before is cut short", async () => {
  const { window } = await windowOn(0);
  await expect(window.read(SIZE - 10, 11)).rejects.toThrow("cut short");
  await expect(window.read(SIZE - 10, 10)).resolves.toHaveLength(10);
});
