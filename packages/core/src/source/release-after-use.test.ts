import { expect, it } from "vitest";
import { releaseAfterUse } from "./release-after-use.ts";

async function* chunks(all: readonly Uint8Array[]) {
  yield* all;
}

it("frees the memory of a chunk once the next is asked for", async () => {
  const all = [Buffer.allocUnsafeSlow(1000).fill(1), Buffer.allocUnsafeSlow(1000).fill(2)];
  const seen: number[] = [];
  for await (const chunk of releaseAfterUse(chunks(all))) {
    seen.push(chunk[999] as number);
    expect(all.filter(({ buffer }) => (buffer as ArrayBuffer).detached)).toHaveLength(
      seen.length - 1,
    );
  }
  expect(seen).toEqual([1, 2]);
  expect(all.every(({ buffer }) => (buffer as ArrayBuffer).detached)).toBe(true);
});

it("leaves memory alone that is shared, or that is nobody's", async () => {
  const memory = Buffer.allocUnsafeSlow(10);
  const empty = Buffer.allocUnsafeSlow(0);
  const all = [memory.subarray(0, 5), empty, memory.subarray(5)];
  for await (const chunk of releaseAfterUse(chunks(all)))
    expect((chunk.buffer as ArrayBuffer).detached).toBe(false);
  expect([memory, empty].map(({ buffer }) => (buffer as ArrayBuffer).detached)).toEqual([
    false,
    false,
  ]);
});

it("ends a stream that nobody reads on", async () => {
  let freed = false;
  async function* endless() {
    try {
      for (;;) yield new Uint8Array(1);
    } finally {
      freed = true;
    }
  }
  for await (const _ of releaseAfterUse(endless())) break;
  expect(freed).toBe(true);
});
