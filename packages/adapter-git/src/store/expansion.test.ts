import { createHash } from "node:crypto";
import { deflateSync } from "node:zlib";
import { expect, test } from "vitest";
import { checkExpansion } from "./expansion.ts";

const MiB = 1 << 20;
const never = new AbortController().signal;

/** Seven bits at a time, the lowest first. */
function varint(value: number, head: number, firstBits: number): number[] {
  const bytes = [head | (value % 2 ** firstBits)];
  for (let rest = Math.floor(value / 2 ** firstBits); rest > 0; rest = Math.floor(rest / 128)) {
    bytes[bytes.length - 1] = (bytes.at(-1) as number) | 0x80;
    bytes.push(rest % 128);
  }
  return bytes;
}

const object = (type: number, content: Uint8Array, between: readonly number[] = []) =>
  Buffer.concat([
    Buffer.from([...varint(content.length, type << 4, 4), ...between]),
    deflateSync(content),
  ]);
const blob = (size: number) => object(3, Buffer.alloc(size));
/** A delta that says what size it makes, at a base some 300 bytes before it. */
const delta = (size: number) =>
  object(6, Buffer.from([...varint(10, 0, 7), ...varint(size, 0, 7), 0x90, 10]), [0x81, 0x2c]);

function packOf(...objects: readonly Buffer[]): Buffer {
  const head = Buffer.from("PACK\0\0\0\x02\0\0\0\0");
  head.writeUInt32BE(objects.length, 8);
  const body = Buffer.concat([head, ...objects]);
  return Buffer.concat([body, createHash("sha1").update(body).digest()]);
}

test.each([
  ["nothing", packOf()],
  ["small and empty objects", packOf(blob(0), blob(1), blob(15), blob(16), blob(5000), delta(7))],
  ["as much as any pack may", packOf(blob(8 * MiB), delta(8 * MiB))],
  [
    "much in a large pack",
    packOf(object(3, crypto.getRandomValues(new Uint8Array(60_000))), blob(17 * MiB)),
  ],
])("takes %s", async (_, pack) => {
  await expect(checkExpansion(pack, 300, never)).resolves.toBeUndefined();
});

test.each([
  ["in one object", packOf(blob(16 * MiB + 1))],
  ["in many", packOf(...Array.from({ length: 17 }, () => blob(MiB)))],
  ["made by deltas", packOf(blob(10), ...Array.from({ length: 17 }, () => delta(MiB)))],
  ["as one object says", packOf(blob(10), delta(2 ** 50))],
])("refuses too much %s", async (_, pack) => {
  await expect(checkExpansion(pack, 300, never)).rejects.toMatchObject({
    code: "invalid",
    message: expect.stringContaining("more than 300 times") as string,
  });
});

test("refuses an object that is longer than it says", async () => {
  const wrong = Buffer.concat([Buffer.from(varint(10, 3 << 4, 4)), deflateSync(Buffer.alloc(MiB))]);
  await expect(checkExpansion(packOf(wrong), 300, never)).rejects.toThrow("larger than");
});
