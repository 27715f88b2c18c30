import { expect, test } from "vitest";
import { readJson } from "./json.ts";

async function* body(text: string | Uint8Array) {
  yield Buffer.from(text as string);
}

const LIMITS = { size: 8 << 20, values: 100 };
const read = (text: string | Uint8Array) =>
  readJson(body(text), LIMITS, () => new Error("not JSON"));

test("reads what JSON has, and its texts may hold brackets and quotes as they like", async () => {
  const value = { a: ["\\[\\", '"[[[[{{{{"', "]]]]}}}}"], b: [{ c: null }] };
  const nested = JSON.stringify(Array.from({ length: 200 }, (_, i) => `{[${i}`));
  expect(await read(JSON.stringify(value))).toEqual(value);
  expect(await read(nested)).toHaveLength(200);
});

test.each([
  ["nothing", ""],
  ["a text that is cut", '{"a":"b'],
  ["bytes that are not UTF-8", new Uint8Array([0x22, 0xff, 0x22])],
  ["arrays within arrays", "[".repeat(7 << 20)],
  ["objects within objects", '{"a":'.repeat(1 << 20)],
  ["more values than such an answer has", `[${"{},".repeat(1 << 20)}{}]`],
])("%s is refused at once", async (_, text) => {
  const before = process.cpuUsage();
  await expect(read(text)).rejects.toThrow("not JSON");
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1000).toBeLessThan(1000);
});

test("no more is read than such an answer has", async () => {
  await expect(read(" ".repeat(9 << 20))).rejects.toMatchObject({ code: "invalid" });
});
