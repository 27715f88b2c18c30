/** Whether a whole archive is told from one that was cut, wherever that is. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as zlib from "node:zlib";
import { SourceError } from "@pannier/core/adapter";
import { expect, onTestFinished, test } from "vitest";
import { decompress, formatOf, type Member, readTar, readZip } from "@pannier/archive";
import { makeTar, makeZip } from "../archives.ts";

const { gzipSync } = zlib;
const canZstd = typeof zlib.zstdCompressSync === "function";
const never = new AbortController().signal;
/** A file of zeros, one that is an archive itself, a tail of zeros: what an end could be taken for. */
const INNER = await makeTar([{ name: "inner", content: "i" }]);
const TAR = await makeTar([
  { name: "dir/" },
  { name: "a", content: "a".repeat(700) },
  { name: `${"long/".repeat(40)}name`, content: "l" },
  { name: "inner.tar", content: INNER },
  { name: "zeros", content: Buffer.alloc(1536) },
]);
const NAMES = ["dir/", "a", `${"long/".repeat(40)}name`, "inner.tar", "zeros"];
/** `xz -C crc32` of a tar archive with the files `a` (`hello\n`) and `zeros` (1,024 zeros). */
const XZ = Buffer.from(
  "/Td6WFoAAAFpIt42AgAhARYAAAB0L+Wj4Cf/AHtdADCAM1AYaImDAdzibkdnSCXwV+MTpgGjIkJyh1ojhGmYxv9nWavO0SqUOuh8ofazwzHreTjeT4YCPlphGBS0eN5GqYA9ij9OTRlv0OTzDLH444eduJVeW4EUuJAJhoBXA2/x0EBR7Zylf0o4SmN/1y3thdKS9uJtQ0l6AAAA5WNFTgABkwGAUAAACwEi5D4wDYsCAAAAAAFZWg==",
  "base64",
);

/** In pieces of a prime size, so that nothing falls on a boundary. */
async function* pieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 997) yield bytes.subarray(at, at + 997);
}

/** An archive, and a gigabyte of zeros. */
async function* endless(): AsyncGenerator<Uint8Array> {
  yield TAR;
  for (let count = 0; count < 1000; count++) yield Buffer.alloc(1 << 20);
  throw new Error("read on and on");
}

async function namesIn(members: AsyncIterable<Member>): Promise<string[]> {
  const names: string[] = [];
  for await (const member of members) {
    names.push(member.name);
    if (member.kind === "file") for await (const _ of member.content);
  }
  return names;
}

/** The names, or what is said of it. */
async function outcome(bytes: Buffer): Promise<string[] | string> {
  const format = formatOf(bytes);
  if (format === undefined) return "no archive";
  try {
    if (format !== "zip") return await namesIn(readTar(await decompress(format, pieces(bytes))));
    const folder = await mkdtemp(join(tmpdir(), "pannier-zip-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    await writeFile(join(folder, "x.zip"), bytes);
    return await namesIn(readZip(join(folder, "x.zip"), never));
  } catch (error) {
    return String(error);
  }
}

/** The cuts after which something is taken for whole. */
async function accepted(bytes: Buffer, cuts: Iterable<number>): Promise<number[]> {
  const found: number[] = [];
  for (const cut of cuts) {
    if (Array.isArray(await outcome(bytes.subarray(0, cut)))) found.push(cut);
  }
  return found;
}

function* upTo(end: number, step = 1): Generator<number> {
  for (let at = 0; at < end; at += step) yield at;
}

test("a tar archive is whole where its end marker is, and not before", async () => {
  expect(await outcome(TAR)).toEqual(NAMES);
  expect(await accepted(TAR, upTo(TAR.byteLength))).toEqual([]);
  const padded = Buffer.concat([TAR, Buffer.alloc(8192)]);
  const marked = TAR.byteLength;
  expect(await accepted(padded, upTo(padded.byteLength + 1, 512))).toEqual(
    [...upTo(padded.byteLength + 1, 512)].filter((cut) => cut >= marked),
  );
});

test.each([
  ["gzip", gzipSync(TAR)],
  [
    "gzip of two members",
    Buffer.concat([TAR.subarray(0, 1000), TAR.subarray(1000)].map((part) => gzipSync(part))),
  ],
  ["gzip that does not compress", gzipSync(TAR, { level: 0 })],
])("a compressed archive is cut at every byte: %s", async (_, bytes) => {
  expect(await outcome(bytes)).toEqual(NAMES);
  expect(await accepted(bytes, upTo(bytes.byteLength, bytes.byteLength > 2000 ? 7 : 1))).toEqual(
    [],
  );
});

test.skipIf(!canZstd)(
  "a zstd archive is cut at every byte, also one of pzstd's frames",
  async () => {
    const frame = zlib.zstdCompressSync;
    const skipped = Buffer.from("502a4d180400000000000000", "hex");
    const pzstd = Buffer.concat([
      skipped,
      frame(TAR.subarray(0, 1000)),
      skipped,
      frame(TAR.subarray(1000)),
    ]);
    for (const bytes of [frame(TAR), pzstd]) {
      expect(await outcome(bytes)).toEqual(NAMES);
      expect(await accepted(bytes, upTo(bytes.byteLength))).toEqual([]);
    }
  },
);

test("an xz archive is cut at every byte", async () => {
  expect(await outcome(XZ)).toEqual(["a", "zeros"]);
  expect(await accepted(XZ, upTo(XZ.byteLength))).toEqual([]);
});

test("a zip archive is cut at every byte, also behind an archive that it holds", async () => {
  const inner = makeZip([{ name: "inner", content: "i" }]);
  const zip = makeZip([
    { name: "a", content: "a".repeat(700) },
    { name: "inner.zip", content: inner, method: 0 },
  ]);
  expect(await outcome(zip)).toEqual(["a", "inner.zip"]);
  expect(await accepted(zip, upTo(zip.byteLength))).toEqual([]);
  expect(await outcome(Buffer.concat([zip, zip]))).toMatch(/another archive in front/);
  expect(await outcome(Buffer.concat([zip, Buffer.from("x")]))).toMatch(
    /something follows its end/,
  );
});

test("what follows the end of a tar archive does not matter, unless it is a second one", async () => {
  for (const rest of ["x", "-".repeat(5000), INNER.toString("latin1", 0, 100)]) {
    expect(await outcome(Buffer.concat([TAR, Buffer.from(rest)]))).toEqual(NAMES);
    expect(await outcome(gzipSync(Buffer.concat([TAR, Buffer.from(rest)])))).toEqual(NAMES);
  }
  expect(await outcome(Buffer.concat([gzipSync(TAR), Buffer.alloc(512)]))).toEqual(NAMES);
  for (const bytes of [
    Buffer.concat([TAR, INNER]),
    Buffer.concat([TAR, Buffer.alloc(4096), INNER]),
    gzipSync(Buffer.concat([TAR, INNER])),
    Buffer.concat([gzipSync(TAR), gzipSync(INNER)]),
  ]) {
    expect(await outcome(bytes)).toMatch(/a second archive follows the end of the first/);
  }
});

test("one block of zeros is no end", async () => {
  const [first, second] = [TAR.subarray(0, 512), TAR.subarray(512)];
  expect(await outcome(Buffer.concat([first, Buffer.alloc(512), second]))).toMatch(
    /a block of zeros is not its end/,
  );
});

test("an archive whose rest never ends is refused", async () => {
  await expect(namesIn(readTar(endless()))).rejects.toThrow(/bytes follow the end/);
});

test("headers that describe nothing are refused, in a row and in size", async () => {
  const pax = (await makeTar([{ name: "x", pax: { comment: "c" } }])).subarray(0, 1024);
  const many = Buffer.concat([...Array.from({ length: 100 }, () => pax), TAR]);
  expect(await outcome(many)).toMatch(/too many headers/);
  expect(await outcome(Buffer.concat([pax, Buffer.alloc(1024)]))).toMatch(/behind a header/);
  const large = await makeTar([{ name: "x", pax: { comment: "c".repeat(5 << 20) } }]);
  expect(await outcome(large)).toMatch(/a header of more than/);
});

test("a header that does not add up is damage", async () => {
  const bytes = Buffer.from(TAR);
  bytes[512 + 3] = 0x42;
  const error = await namesIn(readTar(pieces(bytes))).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(SourceError);
  expect(error).toMatchObject({ code: "invalid", message: expect.stringContaining("damaged") });
});
