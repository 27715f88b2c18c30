import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

test("the README shows the memory adapter as it is tested", () => {
  const shown = [...read("../README.md").matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code);
  const [adapter, store, suite] = shown;
  expect(`${adapter}\n${store}`).toBe(read("memory-adapter.ts"));
  expect(suite).toBe(read("memory-adapter.test.ts"));
});
