import { expect, test } from "vitest";
import { readText } from "./body.ts";

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size)
    yield new Uint8Array(bytes.subarray(at, at + size));
}

test("text is read whole, wherever its characters are cut", async () => {
  const text = "a ж 中 😀 ".repeat(50);
  for (const size of [1, 2, 3, 1000]) {
    expect(await readText(pieces(Buffer.from(text), size), 1000)).toBe(text);
  }
});

test("text that is too long, or not UTF-8, is refused", async () => {
  await expect(readText(pieces(Buffer.alloc(11, "a"), 3), 10)).rejects.toMatchObject({
    code: "invalid",
    message: expect.stringContaining("larger"),
  });
  for (const bytes of [Buffer.from("ü", "latin1"), Buffer.from("ж").subarray(0, 1)]) {
    await expect(readText(pieces(bytes, 1), 10)).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringContaining("UTF-8"),
    });
  }
});
