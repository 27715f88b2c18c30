import type { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { decompress, looksLikeArchive } from "./format.ts";

test.each([
  ["x.tar", true],
  ["x.TAR.GZ", true],
  ["x.tgz", true],
  ["x.tar.zst", true],
  ["x.tar.xz", true],
  ["x.tbz2", true],
  ["x.zip", true],
  ["x.gz", false],
  ["x.json", false],
  ["x.tar.gz.sha256", false],
  ["library.jar", false],
  ["download", undefined],
  ["v1.2", undefined],
])("%s is an archive by its name: %s", (name, expected) => {
  expect(looksLikeArchive(name)).toBe(expected);
});

async function* cut() {
  yield gzipSync("x".repeat(1000)).subarray(0, 20);
}

test("an error before anyone reads is kept for the reader", async () => {
  const stream = (await decompress("gzip", cut())) as Readable;
  await new Promise((resolve) => stream.on("close", resolve));
  await expect(buffer(stream)).rejects.toThrow("unexpected end of file");
});
