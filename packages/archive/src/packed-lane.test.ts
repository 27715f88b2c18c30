import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { FileEntry, Sink } from "@pannier/core/adapter";
import { expect, onTestFinished, test } from "vitest";
import { openLane } from "./packed-lane.ts";
import { withoutPlace } from "./place.ts";
import { createScratch } from "./scratch.ts";

const context = { idleTimeout: 1000, atOnce: 4, mostUnlisted: 1024 };

/** A lane's answer for files: what its sink was given. */
async function readIn(scratch: string, files: readonly FileEntry[]) {
  const got = new Map<string, string>();
  const sink: Partial<Sink> = {
    stopped: false,
    put(file, content) {
      got.set(files[file]?.path ?? "", Buffer.from(content).toString());
    },
  };
  const lane = openLane(context);
  await lane.read({ files, data: { scratch } }, sink as Sink, new AbortController().signal);
  return got;
}

async function unpacked(contents: Readonly<Record<string, string>>) {
  const folder = mkdtempSync(join(tmpdir(), "pannier-packed-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const scratch = await createScratch(folder);
  for (const [path, content] of Object.entries(contents)) {
    const bytes = Buffer.from(content);
    const body = (async function* () {
      yield bytes;
    })();
    await scratch.put(path, bytes.length, body, { mtime: undefined });
  }
  const content = await scratch.finish();
  await scratch.close();
  onTestFinished(() => content.close());
  const files: FileEntry[] = [];
  for await (const batch of content.entries("ref"))
    files.push(...batch.filter((entry) => entry.kind === "file"));
  return { folder, files };
}

test("small files are found by what is behind their ref, and large ones are left", async () => {
  const { folder, files } = await unpacked({
    a: "one",
    empty: "",
    z: "last",
    large: "x".repeat(300_000),
  });
  expect(files.map(({ ref = "" }) => withoutPlace(ref))).toEqual(["ref", "ref", "ref", "ref"]);
  const got = await readIn(dirname(folder), files);
  expect(got).toEqual(
    new Map([
      ["a", "one"],
      ["empty", ""],
      ["z", "last"],
    ]),
  );
});

test("what is behind a ref leads to no other file", async () => {
  const { folder, files } = await unpacked({ a: "one" });
  const [a] = files as [FileEntry];
  for (const folderName of ["..", "../..", `x/../${basename(folder)}`, ""]) {
    const ref = `ref\n${folderName}/0`;
    expect(await readIn(dirname(folder), [{ ...a, ref }])).toEqual(new Map());
  }
});

test("a folder that is gone is left to the source", async () => {
  const { folder, files } = await unpacked({ a: "one" });
  const ref = `ref\nunpacked-gone/0`;
  await expect(readIn(dirname(folder), [{ ...(files[0] as FileEntry), ref }])).rejects.toThrow(
    "ENOENT",
  );
});
