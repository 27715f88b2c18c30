import * as fc from "fast-check";
import { expect, test } from "vitest";
import { readItems } from "./items.ts";

async function* chunks(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  // The memory of a chunk is used again.
  const memory = Buffer.alloc(bytes.length);
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] ?? bytes.length;
    const chunk = memory.subarray(0, Math.min(size, bytes.length - at));
    chunk.set(bytes.subarray(at, at + chunk.length));
    yield chunk;
    chunk.fill(0x7d);
    at += size;
  }
}

async function read(text: string, sizes: readonly number[] = [text.length + 1]) {
  const found: unknown[] = [];
  const items = readItems(chunks(Buffer.from(text), sizes));
  for (;;) {
    const next = await items.next();
    if (next.done === true) return { items: found, meta: next.value };
    found.push(next.value);
  }
}

test("reads the items of any list, however it is cut", async () => {
  const item = fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue());
  await fc.assert(
    fc.asyncProperty(
      fc.array(item, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      fc.constantFrom(undefined, 1),
      async (items, sizes, indent) => {
        const metadata = { resourceVersion: "12", continue: '{"[\\' };
        const text = JSON.stringify({ kind: "List", metadata, items }, undefined, indent);
        expect(await read(text, sizes)).toEqual({
          items: JSON.parse(JSON.stringify(items)) as unknown,
          meta: metadata,
        });
      },
    ),
  );
});

test("takes the items before or after the metadata", async () => {
  const { items, meta } = await read('{"items":[{"a":1}],"metadata":{"resourceVersion":"1"}}\n');
  expect({ items, meta }).toEqual({ items: [{ a: 1 }], meta: { resourceVersion: "1" } });
});

test.each([
  ["nothing", ""],
  ["text", "<html>no such list</html>"],
  ["an array", "[]"],
  ["an object that is no list", "{}"],
  ["half of a list", '{"metadata":{"resourceVersion":"1"},"items":[{"a":1}'],
  ["two lists of items", '{"metadata":{},"items":[],"more":[]}'],
  ["something after the list", '{"metadata":{},"items":[]}x'],
  ["an item that is no JSON", '{"metadata":{},"items":[{a:1}]}'],
])("refuses %s", async (_, text) => {
  await expect(read(text)).rejects.toMatchObject({ code: "invalid" });
});

test("takes the time that the bytes take, whatever they are", async () => {
  const escapes = "\\n".repeat(1_000_000);
  const before = process.cpuUsage();
  await read(`{"metadata":{},"items":[{"a":"${escapes}"}]}`, [512 * 1024]);
  // Looking for the end of the text again after each escape took minutes.
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1000).toBeLessThan(5000);
});
