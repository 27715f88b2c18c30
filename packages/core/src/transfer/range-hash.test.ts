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
  a.update(first, 0, 500_000);
  b.update(second, 0, 300_001);
  a.update(first, 500_000, 700_000);
  expect(await a.finish()).toEqual({ sha256: sha256(one) });
  const wrong = { expected: { algorithm: "md5", value: md5(one) }, found: md5(two) };
  expect(await b.finish()).toEqual({ sha256: sha256(two), wrong });
});

test("parts of any size and number have the digest of their digests, whatever the ranges", async () => {
  const all = hashes();
  for (const [size, partSize] of [
    [1_000_000, 50_000],
    [1_000_000, 49_999],
    [1_000_000, 333_333],
    [1_000_000, 2_000_000],
    [300_000, 100_000],
    [1_000_001, 125_000],
  ] as const) {
    const content = randomBytes(size);
    const fd = await fileOf(content);
    const parts = createHash("md5");
    for (let at = 0; at < size; at += partSize)
      parts.update(
        createHash("md5")
          .update(content.subarray(at, at + partSize))
          .digest(),
      );
    const digest = { algorithm: "md5", partSize, value: parts.digest("hex") } as const;
    const hash = all.open(digest);
    // Both the listing and the answer may vouch for it.
    hash.expect(digest);
    for (let at = 0; at < size; at += 70_000) hash.update(fd, at, Math.min(size, at + 70_000));
    expect(await hash.finish()).toEqual({ sha256: sha256(content) });
    const other = all.open({ ...digest, value: md5(content) });
    other.update(fd, 0, size);
    expect(await other.finish()).toMatchObject({ wrong: { found: digest.value } });
  }
});

test("what cannot be read fails with the code of the file system", async () => {
  const all = hashes();
  for (const vouched of [undefined, { algorithm: "md5", value: "", partSize: 1 } as const]) {
    const hash = all.open(vouched);
    hash.update(1_000_000, 0, 10);
    await expect(hash.finish()).rejects.toMatchObject({ code: "EBADF" });
    await hash.drop();
  }
});

test("a file that got shorter has no digest of parts", async () => {
  const hash = hashes().open({ algorithm: "md5", value: "", partSize: 10 });
  hash.update(await fileOf(randomBytes(30)), 0, 40);
  await expect(hash.finish()).rejects.toThrow("a file got shorter");
});

test("no digest is under way any more once one is found to be wrong", async () => {
  const hash = hashes().open({ algorithm: "sha256", value: "" });
  hash.expect({ algorithm: "md5", value: "", partSize: 10 });
  hash.update(await fileOf(randomBytes(30)), 0, 40);
  await expect(hash.finish()).rejects.toThrow("a file got shorter");
});

test("nothing is waited for after the end", async () => {
  const all = hashes();
  const hash = all.open(undefined);
  hash.update(await fileOf(randomBytes(10)), 0, 10);
  all.close();
  await expect(hash.finish()).rejects.toThrow("the sync is over");
  await hash.drop();
});
