import { createHash, randomBytes } from "node:crypto";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { md5Eight, WIDTH } from "./md5-eight.ts";

const SEED = Number(process.env["PANNIER_SEED"] ?? Date.now() % 2 ** 31);

function bothWays(count: number, length: number) {
  const contents = Array.from({ length: count }, () => randomBytes(length));
  const read = (content: number, into: Uint8Array, position: number) =>
    into.set((contents[content] as Buffer).subarray(position, position + into.length));
  return {
    found: md5Eight(count, length, read).map((digest) => digest.toString("hex")),
    right: contents.map((content) => createHash("md5").update(content).digest("hex")),
  };
}

test(`each content has the MD5 that it has alone (seed ${SEED})`, () => {
  const lengths = fc.oneof(
    fc.integer({ min: 0, max: 300 }),
    fc.integer({ min: 0, max: 50_000 }),
    fc.constantFrom(16_384, 32_768, 16_384 + 55, 16_384 + 56, 16_384 + 64),
  );
  fc.assert(
    fc.property(fc.integer({ min: 0, max: WIDTH }), lengths, (count, length) => {
      const { found, right } = bothWays(count, length);
      expect(found).toEqual(right);
    }),
    { numRuns: 300, seed: SEED },
  );
});

test("what cannot be read is the caller's to know, and the next is not affected", () => {
  expect(() =>
    md5Eight(8, 100, () => {
      throw new Error("it is gone");
    }),
  ).toThrow("it is gone");
  const { found, right } = bothWays(8, 100_000);
  expect(found).toEqual(right);
});
