/** Archives as programs of other times and systems make them. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { listAll } from "@pannier/adapter-kit";
import { expect, onTestFinished, test } from "vitest";
import { makeTar, makeZip } from "../archives.ts";
import { failure, open, site, tree } from "../open.ts";

async function opened(body: Uint8Array, name = "x.tar", options = {}) {
  const server = await site({ [`/${name}`]: { body } });
  const scratch = await mkdtemp(join(tmpdir(), "pannier-kinds-"));
  onTestFinished(() => rm(scratch, { recursive: true, force: true }));
  return open(`${server.origin}/${name}`, options, { scratch: async () => scratch });
}

async function refusal(body: Uint8Array, name = "x.tar", options = {}) {
  return failure(listAll((await opened(body, name, options)).source));
}

/** Changes the first header, and its sum. */
function altered(tar: Buffer, change: (header: Buffer) => void): Buffer {
  const bytes = Buffer.from(tar);
  change(bytes);
  bytes.fill(" ", 148, 156);
  const sum = bytes.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return bytes;
}

const ONE = await makeTar([{ name: "a", content: "A" }]);

test("tar of before there was a magic", async () => {
  const v7 = altered(ONE, (header) => header.fill(0, 257, 265));
  expect(await tree(await opened(v7))).toEqual({ a: "A" });
  expect(await tree(await opened(v7, "download"))).toEqual({ a: "A" });
  const directory = altered(
    await makeTar([{ name: "d/" }, { name: "d/a", content: "A" }]),
    (header) => {
      header.fill(0, 156, 157);
      header.fill(0, 257, 265);
    },
  );
  expect(await tree(await opened(directory))).toEqual({ "d/a": "A" });
});

test("tar with sizes and times as bytes", async () => {
  const binary = altered(ONE, (header) => {
    header.fill(0, 124, 136);
    header[124] = 0x80;
    header[135] = 1;
    // A second before 1970.
    header.fill(0xff, 136, 148);
  });
  expect(await tree(await opened(binary))).toEqual({ a: "A" });
  for (const change of [
    (header: Buffer) => header.fill(0xff, 124, 136),
    (header: Buffer) => header.write("0000000000x\0", 124, "latin1"),
    // More than a number can count.
    (header: Buffer) => header.fill(0x80, 124, 125).fill(0x7f, 125, 136),
  ]) {
    expect(await refusal(altered(ONE, change))).toMatchObject({
      code: "invalid",
      message: expect.stringContaining("a size is not valid"),
    });
  }
});

test("tar with a global pax header, as git archive makes", async () => {
  const header = await makeTar([{ name: "ignored" }]);
  const record = Buffer.alloc(512);
  const length = record.write("52 comment=0123456789012345678901234567890123456789\n");
  const global = altered(header, (bytes) => {
    bytes.write("g", 156);
    bytes.write(`${length.toString(8).padStart(11, "0")}\0`, 124, "latin1");
  });
  const body = Buffer.concat([global.subarray(0, 512), record, ONE]);
  expect(await tree(await opened(body))).toEqual({ a: "A" });
});

test("a label of a volume is no file", async () => {
  const label = altered(await makeTar([{ name: "Backup" }]), (header) => header.write("V", 156));
  const body = Buffer.concat([label.subarray(0, 512), ONE]);
  expect(await tree(await opened(body))).toEqual({ a: "A" });
});

test("sparse files are refused by name, in each of their forms", async () => {
  const gnu = altered(ONE, (header) => header.write("S", 156));
  const pax = await makeTar([
    {
      name: "GNUSparseFile.0/a",
      content: "A",
      pax: { "GNU.sparse.name": "real", "GNU.sparse.major": "1" },
    },
  ]);
  for (const [body, name] of [
    [gnu, "a"],
    [pax, "real"],
  ] as const) {
    expect(await refusal(body)).toMatchObject({
      code: "unsupported",
      message: `the archive holds "${name}", a sparse file`,
    });
  }
});

test("a kind that is not known is refused by name", async () => {
  const other = altered(ONE, (header) => header.write("D", 156));
  expect(await refusal(other)).toMatchObject({
    code: "unsupported",
    message: 'the archive holds "a", of a type that is not known ("D")',
  });
});

/** `tar -c a` (a file that holds `hello\n`) by `xz --x86 --lzma2`, and with the check SHA-256. */
const XZ_X86 = Buffer.from(
  "/Td6WFoAAATm1rRGAgEEACEBFgANhjUf4Cf/AGddADCAM1AYaImDAdzibkdnSCXwV+MTpgGjIkJyh1ojhGmYxv9nWavO0SqUOuh8ofazwzHreTjeT4YCPlphGBS0eN68beMEAqGrsIL7tPes+CBqgZBceBfFnodMFh12+ExThlGXomk8ygAAADER+C0G1qAfAAGDAYBQAACQA/TnscRn+wIAAAAABFla",
  "base64",
);
const XZ_SHA256 = Buffer.from(
  "/Td6WFoAAArh+wyhAgAhARYAAAB0L+Wj4Cf/AGddADCAM1AYaImDAdzibkdnSCXwV+MTpgGjIkJyh1ojhGmYxv9nWavO0SqUOuh8ofazwzHreTjeT4YCPlphGBS0eN68beMEAqGrsIL7tPes+CBqgZBceBfFnodMFh12+ExThlGXomk8ygAAABQDp3SRc9bhS+EwVkzdvuPps1rAZMp7aXAUAYPQ8UmdAAGbAYBQAABmg3EItunfHAIAAAAAClla",
  "base64",
);

test("xz with a filter or a check that is not known is not called damaged", async () => {
  for (const body of [XZ_X86, XZ_SHA256]) {
    expect(await refusal(body, "x.tar.xz")).toMatchObject({
      code: "unsupported",
      message: "the xz archive uses a filter or a check that is not supported",
    });
  }
});

const FILES = { "d/a": "A", café: "C" };
const members = Object.entries(FILES).map(([name, content]) => ({ name, content }));

test("zip behind a program that unpacks it, whether its offsets count that or not", async () => {
  const program = Buffer.from('#!/bin/sh\nexec unzip "$0"\n');
  const behind = Buffer.concat([program, makeZip(members)]);
  expect(await tree(await opened(behind, "x.zip"))).toEqual(FILES);
  expect(await tree(await opened(makeZip(members, { prefix: program }), "x.zip"))).toEqual(FILES);
  expect(await tree(await opened(behind, "setup.sh", { unpack: "yes" }))).toEqual(FILES);
  // A script is one file where nobody asks for more.
  expect(Object.keys(await tree(await opened(behind, "setup.sh")))).toEqual(["setup.sh"]);
  expect(await refusal(program, "x.zip")).toMatchObject({ code: "invalid" });
});

test("an archive within a program that was cut is not taken for all of it", async () => {
  const inner = makeZip([{ name: "inner", content: "i" }]);
  const outer = makeZip([{ name: "inner.zip", content: inner, method: 0 }]);
  const program = Buffer.from("#!/bin/sh\n");
  const end = program.byteLength + outer.indexOf(inner) + inner.byteLength;
  const cut = Buffer.concat([program, outer]).subarray(0, end);
  expect(await refusal(cut, "x.zip")).toMatchObject({
    message: "the archive has another archive in front of it, or was cut short",
  });
});

test("zip of MS-DOS and Windows: attributes, backslashes, names in code page 437", async () => {
  const dos = { system: 0, mode: 0, flags: 0 } as const;
  const body = makeZip([
    { ...dos, name: "dir", attributes: 0x10 },
    { ...dos, name: "dir\\a.txt", content: "A", attributes: 0x20 },
    { ...dos, name: Buffer.from("caf\x82", "latin1"), content: "C", attributes: 0x21 },
  ]);
  expect(await tree(await opened(body, "x.zip"))).toEqual({ "dir/a.txt": "A", café: "C" });
});

test("zip64", async () => {
  expect(await tree(await opened(makeZip(members, { zip64: true }), "x.zip"))).toEqual(FILES);
});

test("what is not an archive is told so, whatever its name", async () => {
  for (const body of [Buffer.from("\x7fELF and so on"), Buffer.from("text"), gzipSync("text")]) {
    expect((await refusal(body, "x.tar.gz")).code).toBe("invalid");
  }
});
