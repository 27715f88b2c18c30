/** What a source vouches for goes through the state, and is checked whenever content is fetched. */
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Digest, repair, sync, verify } from "../src/index.ts";
import { memorySource } from "./memory-source.ts";
import { readTree } from "./trees.ts";

let target: string;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-test-"));
});

afterEach(() => {
  rmSync(target, { recursive: true, force: true });
});

const md5 = (text: string): Digest => ({
  algorithm: "md5",
  value: createHash("md5").update(text).digest("hex"),
});
const part = (text: string) => createHash("sha1").update(text).digest();
const composite: Digest = {
  algorithm: "sha1",
  value: createHash("sha1").update(part("abc")).update(part("d")).digest("hex"),
  partSize: 3,
};

it("checks what was planned, uncovered, or fetched again", async () => {
  const below = memorySource({
    a: { text: "below", digest: md5("below") },
    parts: { text: "abcd", digest: composite },
  });
  const above = memorySource({ a: { text: "above", digest: md5("above") } }, "above");
  const options = { sources: [below, above], target, maxDelete: "100%" };
  await sync(options);
  expect(readTree(join(target, "current"))).toMatchObject({ a: "above", parts: "abcd" });

  above.content = {};
  await sync(options);
  expect(readTree(join(target, "current"))).toMatchObject({ a: "below" });
  expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });

  writeFileSync(join(target, "current", "a"), "other");
  expect(await verify(target)).toMatchObject({ changed: 1 });
  await repair(options);
  expect(await verify(target)).toMatchObject({ changed: 0 });
});

it.each(["md5", "composite"])("refuses content that does not have its %s", async (kind) => {
  const digest = kind === "md5" ? md5("abcd") : composite;
  const source = memorySource({ a: { text: "abce", digest } });
  await expect(sync({ sources: [source], target })).rejects.toMatchObject({
    cause: { code: "invalid" },
  });
  expect(source.reads).toEqual(["a", "a"]);
});
