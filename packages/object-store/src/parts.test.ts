import { buffer } from "node:stream/consumers";
import { expect, test } from "vitest";
import { inParts } from "./parts.ts";

async function* pieces(...sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const size of sizes) yield Uint8Array.from({ length: size }, () => at++);
}

async function partsOf(content: AsyncIterable<Uint8Array>, size: number, partSize: number) {
  const parts: number[][] = [];
  for await (const part of inParts(content, size, partSize)) {
    const bytes = await buffer(part.content);
    expect(bytes.byteLength).toBe(part.size);
    parts.push([...bytes]);
  }
  return parts;
}

test.each([[[10]], [[1, 2, 3, 4]], [[0, 4, 6]], [[7, 3]]])("pieces of %j", async (sizes) => {
  const parts = await partsOf(pieces(...sizes), 10, 4);
  expect(parts).toEqual([
    [0, 1, 2, 3],
    [4, 5, 6, 7],
    [8, 9],
  ]);
});

test("content of another size, or that fails at its end, is an error", async () => {
  await expect(partsOf(pieces(9), 10, 4)).rejects.toThrow("too short");
  await expect(partsOf(pieces(11), 10, 4)).rejects.toThrow("too long");
  await expect(partsOf(pieces(10, 1), 10, 4)).rejects.toThrow("too long");
  const failing = async function* () {
    yield* pieces(10);
    throw new Error("it is another's");
  };
  await expect(partsOf(failing(), 10, 4)).rejects.toThrow("it is another's");
});

test("what is given up is closed", async () => {
  let closed = false;
  const content = async function* () {
    try {
      yield* pieces(10);
    } finally {
      closed = true;
    }
  };
  for await (const part of inParts(content(), 10, 4)) {
    await buffer(part.content);
    break;
  }
  expect(closed).toBe(true);
});
