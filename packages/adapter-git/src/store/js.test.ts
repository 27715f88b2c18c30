import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { jsStore } from "./js.ts";

test("takes in no pack that would not fit into memory, and leaves nothing of it", async () => {
  const dir = await mkdtemp(join(tmpdir(), "pannier-git-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  const packs = join(dir, "objects/pack");
  await mkdir(packs, { recursive: true });
  let sent = 0;
  async function* endless() {
    for (; ; sent++) yield Buffer.alloc(1024 * 1024);
  }
  const { signal } = new AbortController();
  await expect(jsStore(dir, 200).addPack(endless(), signal)).rejects.toMatchObject({
    code: "unsupported",
    hint: expect.stringContaining("engine=cli"),
  });
  expect(sent).toBe(64);
  expect(await readdir(packs)).toEqual([]);
});
