import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openRangeHashes, type RangeHashes } from "./range-hash.ts";

function hashes(): RangeHashes {
  const opened = openRangeHashes();
  onTestFinished(() => opened.close());
  return opened;
}

async function fileOf(content: Uint8Array): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), "pannier-range-"));
  const file = await open(join(directory, "file"), "w+");
  await file.writeFile(content);
  onTestFinished(async () => {
    await file.close();
    await rm(directory, { recursive: true });
  });
  return file.fd;
}

const sha256 = (content: Uint8Array) => createHash("sha256").update(content).digest("hex");
const md5 = (content: Uint8Array) => createHash("md5").update(content).digest("hex");

test("hashes files range by range, several in turn, each by what its source vouches with", async () => {
  const all = hashes();
  const [one, two] = [randomBytes(700_000), randomBytes(300_001)];
  const [first, second] = [await fileOf(one), await fileOf(two)];
  const a = all.open({ algorithm: "md5", value: md5(one) });
  const b = all.open(undefined);
  b.expect({ algorithm: "md5", value: md5(one) });
  const updates = [a.update(first, 0, 500_000), b.update(second, 0, 300_001)];
  updates.push(a.update(first, 500_000, 700_000));
  await Promise.all(updates);
  expect(await a.finish()).toEqual({ sha256: sha256(one) });
  const wrong = { expected: { algorithm: "md5", value: md5(one) }, found: md5(two) };
  expect(await b.finish()).toEqual({ sha256: sha256(two), wrong });
});

test("what cannot be read fails with the code of the file system", async () => {
  const hash = hashes().open(undefined);
  await expect(hash.update(1_000_000, 0, 10)).rejects.toMatchObject({ code: "EBADF" });
});

test("nothing is waited for after the end", async () => {
  const all = hashes();
  const hash = all.open(undefined);
  const waiting = hash.update(await fileOf(randomBytes(10)), 0, 10);
  all.close();
  await expect(waiting).rejects.toThrow("the sync is over");
  await expect(hash.finish()).rejects.toThrow("the sync is over");
});
