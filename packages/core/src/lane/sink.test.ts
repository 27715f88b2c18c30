import { createHash } from "node:crypto";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Digest, FileEntry } from "../source/contract.ts";
import type { LaneFile } from "./messages.ts";
import { openSink } from "./sink.ts";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "pannier-sink-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

const CONTENT = Buffer.from("the content");
const digestOf = (algorithm: "md5" | "sha1" | "sha256", content = CONTENT): Digest => ({
  algorithm,
  value: createHash(algorithm).update(content).digest("hex"),
});

function make(facts: Partial<FileEntry> = {}, mode = 0o640) {
  const entry: FileEntry = {
    kind: "file",
    path: "a/file",
    size: CONTENT.length,
    mtime: 1_700_000_000_123,
    fingerprint: "1",
    ...facts,
  };
  const file: LaneFile = { entry, path: join(directory, "file"), mode };
  const shared = new BigInt64Array(new SharedArrayBuffer(16));
  const sink = openSink([file], { owner: undefined, shared, mostUnlisted: 20 }, () => {});
  return { sink, shared, path: file.path, finish: () => sink.finish().facts[0] };
}

describe.each(["as a whole", "in pieces"])("a file that comes %s", (way) => {
  const give = (sink: ReturnType<typeof make>["sink"], content: Uint8Array, digest?: Digest) => {
    if (way === "as a whole") return sink.put(0, content, digest);
    const writing = sink.begin(0, digest);
    for (let at = 0; at < content.length; at += 3) writing.write(content.subarray(at, at + 3));
    writing.end();
  };

  test.each([
    ["nothing", undefined, undefined],
    ["the listing", digestOf("sha256"), undefined],
    ["the answer", undefined, digestOf("md5")],
    ["both", digestOf("sha1"), digestOf("md5")],
    ["parts", { ...digestOf("md5"), ...partsOf(4) }, undefined],
  ])("is as listed, and vouched for by %s", (_, listed, answered) => {
    const { sink, path, finish, shared } = make({ digest: listed });
    give(sink, CONTENT, answered);
    const { ino, mtimeMs, mode } = statSync(path);
    const { value } = digestOf("sha256");
    expect(finish()).toEqual({ size: CONTENT.length, sha256: value, ino, mtime: mtimeMs });
    expect(mode & 0o7777).toBe(0o640);
    expect(Math.floor(mtimeMs)).toBe(1_700_000_000_123);
    expect(readFileSync(path)).toEqual(CONTENT);
    expect(shared[1]).toBe(BigInt(CONTENT.length));
  });

  test("is of a size that is not listed", () => {
    const { sink, path, finish } = make({ size: undefined, digest: digestOf("sha256") });
    give(sink, CONTENT);
    expect(finish()?.size).toBe(CONTENT.length);
    expect(readFileSync(path)).toEqual(CONTENT);
  });

  test("is empty", () => {
    const { sink, path, finish } = make({ size: 0 });
    give(sink, Buffer.alloc(0));
    expect(finish()?.size).toBe(0);
    expect(readFileSync(path)).toHaveLength(0);
  });

  test.each([
    ["is shorter", {}, CONTENT.subarray(1), undefined],
    ["is longer", {}, Buffer.concat([CONTENT, CONTENT]), undefined],
    ["is longer than may be unlisted", { size: undefined }, Buffer.alloc(21), undefined],
    ["is not what the listing says", { digest: digestOf("md5", Buffer.from("x")) }, CONTENT],
    ["is not what the answer says", {}, CONTENT, digestOf("sha256", Buffer.from("x"))],
    [
      "is right by the listing and wrong by the answer",
      { digest: digestOf("md5") },
      CONTENT,
      digestOf("md5", Buffer.from("x")),
    ],
    ["has a wrong digest of parts", { digest: { ...digestOf("md5"), partSize: 4 } }, CONTENT],
  ] as [string, Partial<FileEntry>, Uint8Array, Digest?][])(
    "is not kept where it %s",
    (_, facts, content, answered) => {
      const { sink, finish } = make(facts);
      give(sink, content, answered);
      expect(finish()).toBeUndefined();
      expect(readdirSync(directory)).toEqual([]);
    },
  );

  test("never touches what is there, nor what a link leads to", () => {
    for (const planted of ["file", "link"]) {
      const { sink, path, finish } = make();
      const elsewhere = join(directory, "elsewhere");
      writeFileSync(elsewhere, "keep");
      if (planted === "file") writeFileSync(path, "keep");
      else symlinkSync(elsewhere, path);
      give(sink, CONTENT);
      expect(finish()).toBeUndefined();
      expect(readFileSync(path, "utf8")).toBe("keep");
      rmSync(path);
    }
  });

  test("is not written once nothing more is wanted", () => {
    const { sink, shared, finish } = make();
    shared[0] = 1n;
    expect(sink.stopped).toBe(true);
    give(sink, CONTENT);
    expect(finish()).toBeUndefined();
    expect(readdirSync(directory)).toEqual([]);
  });

  test("has one chance", () => {
    const { sink, finish } = make();
    give(sink, CONTENT.subarray(1));
    give(sink, CONTENT);
    expect(finish()).toBeUndefined();
  });
});

test("what is stopped or dropped half way, or not ended, leaves nothing", () => {
  const goesOn: boolean[] = [];
  for (const end of ["stop", "drop", "nothing"]) {
    const { sink, shared, finish } = make();
    const writing = sink.begin(0);
    expect(writing.write(CONTENT.subarray(0, 4))).toBe(true);
    expect(readdirSync(directory)).toEqual(["file"]);
    if (end === "stop") shared[0] = 1n;
    if (end === "drop") writing.drop();
    if (end !== "nothing") goesOn.push(writing.write(CONTENT.subarray(4)));
    expect(finish()).toBeUndefined();
    writing.end();
    expect(readdirSync(directory)).toEqual([]);
  }
  expect(goesOn).toEqual([false, false]);
});

test("a file that is not of the batch is nothing", () => {
  const { sink } = make();
  sink.put(7, CONTENT);
  expect(sink.begin(-1).write(CONTENT)).toBe(false);
  expect(readdirSync(directory)).toEqual([]);
});

/** The MD5 of the parts' MD5s. */
function partsOf(partSize: number): Pick<Digest, "value" | "partSize"> {
  const all = createHash("md5");
  for (let at = 0; at < CONTENT.length; at += partSize)
    all.update(
      createHash("md5")
        .update(CONTENT.subarray(at, at + partSize))
        .digest(),
    );
  return { value: all.digest("hex"), partSize };
}
