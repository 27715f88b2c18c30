import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as zlib from "node:zlib";
import type { FileEntry, Sink } from "@pannier/core/adapter";
import { expect, onTestFinished, test } from "vitest";
import { readFramed } from "./framed-lane.ts";
import { withFrame } from "./place.ts";

const KEY = "a".repeat(64);

/** What a lane hands over of files that are told to lie in a layer. */
function read(
  layer: Buffer,
  files: readonly (readonly [size: number, start: number, end: number])[],
) {
  const folder = mkdtempSync(join(tmpdir(), "pannier-framed-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, KEY), layer);
  const entries = files.map(([size, start, end], index): FileEntry => {
    const digest = { algorithm: "sha256", value: "of no interest here" } as const;
    const ref = withFrame(KEY, start, end);
    return { kind: "file", path: `file-${index}`, size, fingerprint: "f", digest, ref };
  });
  const got: Record<number, string> = {};
  const sink: Partial<Sink> = {
    stopped: false,
    put(index, content) {
      got[index] = Buffer.from(content).toString();
    },
  };
  readFramed(folder, entries, sink as Sink);
  return got;
}

const frame = (text: string | Buffer) => zlib.zstdCompressSync(Buffer.from(text));

test("reads frames in any order, and what cannot be compressed", () => {
  const random = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * i * 7919) % 251));
  const frames = [frame("one"), frame(random), frame("three")];
  const [first, second, third] = frames.map(({ length }) => length) as [number, number, number];
  const places = [
    [5, first + second, first + second + third],
    [3, 0, first],
    [5000, first, first + second],
    [0, 0, 0],
  ] as const;
  const got = read(Buffer.concat(frames), places);
  expect(got).toEqual({ 0: "three", 1: "one", 2: random.toString(), 3: "" });
});

test("leaves what takes far more than its content can: memory would follow what a table says", () => {
  const one = frame("one");
  const skipped = Buffer.alloc(1 << 20);
  skipped.writeUInt32LE(0x184d2a50, 0);
  skipped.writeUInt32LE(skipped.length - 8, 4);
  const layer = Buffer.concat([one, skipped]);
  const lies = Array.from({ length: 64 }, () => [3, 0, layer.length] as const);
  expect(read(layer, [...lies, [3, 0, one.length]])).toEqual({ 64: "one" });
});

test("leaves what would be in memory as a whole, however small it is packed", () => {
  const large = frame(Buffer.alloc((4 << 20) + 1));
  const one = frame("one");
  const end = large.length + one.length;
  const layer = Buffer.concat([large, one]);
  expect(
    read(layer, [
      [(4 << 20) + 1, 0, large.length],
      [3, large.length, end],
    ]),
  ).toEqual({ 1: "one" });
});
