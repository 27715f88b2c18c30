import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as zlib from "node:zlib";
import { listAll, readAll } from "@pannier/adapter-kit";
import {
  type FileEntry,
  type Limits,
  NoRoomError,
  type SourceContext,
  type SourceError,
} from "@pannier/core/adapter";
import { filterScope, makeFilter, sync } from "@pannier/core";
import { expect, onTestFinished, test } from "vitest";
import { http } from "../../src/index.ts";
import { makeTar, makeZip, type TarMember } from "../archives.ts";
import { failure, never, open, site, tree } from "../open.ts";

const { crc32, deflateRawSync, gzipSync } = zlib;
/** From Node 22.15 on. */
const canZstd = typeof zlib.zstdCompressSync === "function";
const UNLIMITED: Limits = {
  maxFiles: Infinity,
  maxBytes: Infinity,
  maxFileBytes: Infinity,
  maxExpansion: Infinity,
};
/** `tar -cJ` of a file `a` that holds `hello\n`: nothing here can write xz. */
const XZ =
  "/Td6WFoAAATm1rRGAgAhAQwAAACPmEGc4Cf/AGFdADCAM1AYaImC7aeAafrabrgkdh43bbouA6ssBe3mQSL7gQDV4R" +
  "dokh7fg6T6r5rMkWirgQccGkIO/RAs0c93QkA8yhp/B59uG+RvL1LW7ujtoZLGVt2qaoZiQcxZsUVhpQAAAAAAcAbu" +
  "naQkDm4AAX2AUAAAAPJ1Ag6xxGf7AgAAAAAEWVo=";

const SOME: TarMember[] = [
  { name: "top/" },
  { name: "top/a.txt", content: "A", mode: 0o4755 },
  { name: "./top/sub//b.txt", content: "B" },
  { name: "top/link", type: "symlink", linkname: "../elsewhere" },
  { name: "top/same", type: "link", linkname: "top/a.txt" },
  { name: "other/c", content: "C" },
];

/** The same with a file that has one of its own while it is unpacked. */
const LARGER = SOME.map((member) =>
  member.name === "top/a.txt" ? { ...member, content: "A".repeat(300_000) } : member,
);

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "pannier-archive-"));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** A server with one archive, and a context with a scratch directory to look into. */
async function served(body: Uint8Array, name = "x.tar", limits: Partial<Limits> = {}) {
  const server = await site({ [`/${name}`]: { body } });
  const scratch = await folder();
  const context: Partial<SourceContext> = {
    scratch: async () => scratch,
    limits: { ...UNLIMITED, ...limits },
  };
  return { server, scratch, context, url: `${server.origin}/${name}` };
}

async function openTar(members: readonly TarMember[], limits: Partial<Limits> = {}) {
  const { url, context } = await served(await makeTar(members), "x.tar", limits);
  return open(url, {}, context);
}

test("unpacks tar and tar.gz", async () => {
  const tar = await makeTar(SOME);
  const expected = {
    "top/a.txt": "A",
    "top/sub/b.txt": "B",
    "top/link": "-> ../elsewhere",
    "top/same": "A",
    "other/c": "C",
  };
  for (const [name, body] of [
    ["x.tar", tar],
    ["x.tgz", gzipSync(tar)],
    ["x.tar.gz", Buffer.concat([gzipSync(tar.subarray(0, 1000)), gzipSync(tar.subarray(1000))])],
    // The content decides, not the name.
    ["wrong.zip", gzipSync(tar)],
  ] as const) {
    const { url, context } = await served(body, name);
    expect({ name, tree: await tree(await open(url, {}, context)) }).toEqual({
      name,
      tree: expected,
    });
  }
});

test("unpacks tar.zst where Node can, and says so where it cannot", async () => {
  const tar = await makeTar(SOME);
  const zst = canZstd ? zlib.zstdCompressSync(tar) : Buffer.from("28b52ffd", "hex");
  const { url, context } = await served(zst, "x.tar.zst");
  const outcome = await listAll((await open(url, {}, context)).source).then(
    ({ entries }) => entries.size,
    (error: SourceError) => error.code,
  );
  expect(outcome).toBe(canZstd ? 5 : "unsupported");
});

test("unpacks tar.xz, and finds out when it is damaged", async () => {
  const body = Buffer.from(XZ, "base64");
  const { url, context } = await served(body, "x.tar.xz");
  expect(await tree(await open(url, {}, context))).toEqual({ a: "hello\n" });
  const cut = await served(body.subarray(0, body.length - 20), "x.tar.xz");
  expect((await failure((await open(cut.url, {}, cut.context)).source.list(never))).code).toBe(
    "invalid",
  );
});

test("lists modes without setuid, times, sizes and digests", async () => {
  const opened = await openTar([
    ...SOME,
    { name: "pax", content: "1", pax: { mtime: "1700000000.25" } } as TarMember,
  ]);
  const listed = await listAll(opened.source);
  expect(listed.file("top/a.txt")).toMatchObject({
    size: 1,
    mode: 0o755,
    mtime: 1_700_000_000_000,
    digest: { algorithm: "sha256", value: createHash("sha256").update("A").digest("hex") },
  });
  expect(listed.file("top/same").fingerprint).toBe(listed.file("top/a.txt").fingerprint);
  expect(listed.file("pax").mtime).toBe(1_700_000_000_250);
});

test("strips directories and takes a subdirectory", async () => {
  const { url, context } = await served(await makeTar(SOME));
  expect(await tree(await open(url, { strip: 1 }, context))).toEqual({
    "a.txt": "A",
    "sub/b.txt": "B",
    link: "-> ../elsewhere",
    same: "A",
    c: "C",
  });
  expect(await tree(await open(url, { path: "top/sub/" }, context))).toEqual({ "b.txt": "B" });
  expect(await tree(await open(url, { strip: 1, path: "sub" }, context))).toEqual({ "b.txt": "B" });
});

test.each([
  [{ path: "public" }, 'the archive has no directory "public"'],
  [{ path: "top/a.txt" }, 'the archive has no directory "top/a.txt"'],
  [{ strip: 1, path: "top" }, 'the archive has after strip=1 no directory "top"'],
  [{ strip: 4 }, "the archive has after strip=4 no member"],
])("what is left of nothing is no empty tree, but not found: %j", async (options, message) => {
  const { url, context } = await served(await makeTar(SOME));
  const opened = await open(url, options, context);
  expect(await failure(opened.source.list(never))).toMatchObject({ code: "not-found", message });
});

test("an empty directory in an archive is an empty tree", async () => {
  const members: readonly TarMember[] = [
    { name: "site/", type: "directory" },
    { name: "other", content: "x" },
  ];
  const { url, context } = await served(await makeTar(members));
  expect(await tree(await open(url, { path: "site" }, context))).toEqual({});
  expect(await tree(await open(url, { strip: 1 }, context))).toEqual({});
});

test("unpacks zip with modes and symlinks", async () => {
  const body = makeZip([
    { name: "bin/", mode: 0o040755 },
    { name: "bin/run", content: "#!".repeat(1000), mode: 0o104755 },
    { name: "stored", content: "S", method: 0 },
    { name: "link", content: "bin/run", mode: 0o120777 },
    { name: "ünï", content: "U" },
    { name: "no-flag-日本", content: "N", flags: 0 },
  ]);
  const { url, context, scratch } = await served(body, "x.zip");
  const opened = await open(url, {}, context);
  expect(await tree(opened)).toEqual({
    "bin/run": "#!".repeat(1000),
    stored: "S",
    link: "-> bin/run",
    ünï: "U",
    "no-flag-日本": "N",
  });
  const listed = await listAll(opened.source);
  expect(listed.file("bin/run")).toMatchObject({
    mode: 0o755,
    mtime: Date.UTC(2025, 1, 3, 12, 30),
  });
  const [left] = await readdir(scratch);
  expect(await readdir(join(scratch, left as string))).not.toContain("archive.zip");
});

test("unpacks what a zip archive holds at once, and what it holds in pieces", async () => {
  // Small ones are unpacked in one call: up to 256 KiB, packed or not.
  const sizes = [0, 1, 5000, 2 ** 18 - 1, 2 ** 18, 2 ** 18 + 1, 3_000_000];
  const members = sizes.flatMap((size) => {
    const random = Buffer.from(crypto.getRandomValues(new Uint8Array(Math.min(size, 65_536))));
    const content = Buffer.alloc(size, random.byteLength === 0 ? undefined : random);
    return [
      { name: `stored-${size}`, content, method: 0 },
      { name: `random-${size}`, content },
      { name: `zeros-${size}`, content: Buffer.alloc(size) },
    ];
  });
  const { url, context } = await served(makeZip(members), "x.zip");
  const { source } = await open(url, {}, context);
  const listed = await listAll(source);
  const wrong: string[] = [];
  for (const { name, content } of members) {
    const bytes = await readAll(source, listed.file(name));
    if (!content.equals(bytes)) wrong.push(name);
  }
  expect(wrong).toEqual([]);
});

test.each([
  ["absolute", { name: "/etc/cron.d/x", content: "x" }],
  ["climbing", { name: "a/../../x", content: "x" }],
  ["climbing directory", { name: "../up/" }],
  ["hard link out", { name: "x", type: "link", linkname: "../../etc/passwd" }],
  ["absolute hard link", { name: "x", type: "link", linkname: "/etc/passwd" }],
  ["hard link to nothing", { name: "x", type: "link", linkname: "nothing" }],
  ["hard link to a symlink", { name: "x", type: "link", linkname: "sym" }],
  ["character device", { name: "x", type: "character-device" }],
  ["block device", { name: "x", type: "block-device" }],
  ["FIFO", { name: "x", type: "fifo" }],
] as const)("refuses a tar archive as a whole: %s", async (_, member) => {
  const opened = await openTar([
    { name: "fine", content: "fine" },
    { name: "sym", type: "symlink", linkname: "/etc/passwd" },
    member as TarMember,
  ]);
  expect(await failure(listAll(opened.source))).toMatchObject({
    code: "invalid",
    transient: false,
  });
});

test.each(["site", "site/passwd", "other"])(
  "follows no symlink to its subdirectory (CVE-2025-8959): %s",
  async (path) => {
    const { url, context } = await served(
      await makeTar([
        { name: "site", type: "symlink", linkname: "../../etc" },
        { name: "other", type: "symlink", linkname: "real" },
        { name: "real/a", content: "x" },
      ]),
    );
    const opened = await open(url, { path }, context);
    expect((await failure(opened.source.list(never))).code).toBe("not-found");
  },
);

test("a member outside of path is refused all the same", async () => {
  const { url, context } = await served(
    await makeTar([
      { name: "in/x", content: "x" },
      { name: "../out", content: "y" },
    ]),
  );
  const opened = await open(url, { path: "in" }, context);
  expect((await failure(opened.source.list(never))).code).toBe("invalid");
});

test.each([
  ["absolute", { name: "/etc/x", content: "x" }, "invalid"],
  ["climbing", { name: "a/../../x", content: "x" }, "invalid"],
  ["device", { name: "x", mode: 0o020644 }, "invalid"],
  ["FIFO", { name: "x", mode: 0o010644 }, "invalid"],
  ["endless symlink", { name: "x", mode: 0o120777, content: "y".repeat(5000) }, "invalid"],
  ["wrong checksum", { name: "x", content: "x", crc: 1 }, "invalid"],
  ["wrong size", { name: "x", content: "x".repeat(100), size: 10 }, "invalid"],
  ["size of more", { name: "x", content: "x".repeat(100), size: 101 }, "invalid"],
  ["size of a large one", { name: "x", content: "x".repeat(100), size: 300_000 }, "invalid"],
  ["small and beyond the end", { name: "x", content: "x", offset: 2n ** 40n }, "invalid"],
  ["small and beyond all files", { name: "x", content: "x", offset: 2n ** 63n }, "invalid"],
  ["encrypted", { name: "x", content: "x", flags: 0x801 }, "unsupported"],
  ["unknown method", { name: "x", content: "x", method: 93 }, "unsupported"],
] as const)("refuses a zip archive as a whole: %s", async (_, member, code) => {
  const { url, context } = await served(makeZip([{ name: "fine" }, member]), "x.zip");
  const opened = await open(url, {}, context);
  expect((await failure(listAll(opened.source))).code).toBe(code);
});

test("one damaged member among many small ones in a zip archive is named", async () => {
  const members = Array.from({ length: 200 }, (_, index) => ({
    name: `file-${index}`,
    content: `content ${index}`,
    ...(index === 100 ? { crc: 1 } : {}),
  }));
  const { url, context } = await served(makeZip(members), "x.zip");
  const { source } = await open(url, {}, context);
  expect(await failure(listAll(source))).toMatchObject({
    code: "invalid",
    message: expect.stringContaining("file-100") as string,
  });
  // What path= leaves out is not looked at.
  const fine = members.map((member, index) => ({
    ...member,
    name: index === 99 ? "in/fine" : member.name,
  }));
  const other = await served(makeZip(fine), "x.zip");
  const inside = await open(other.url, { path: "in" }, other.context);
  expect(await tree(inside)).toEqual({ fine: "content 99" });
});

/** Packed as in a gzip file: with checksum and size behind. */
function asInGzip(content: string): Buffer {
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc32(content), 0);
  trailer.writeUInt32LE(content.length, 4);
  return Buffer.concat([deflateRawSync(content), trailer]);
}

test("what is packed in one member of a zip archive is not the content of others", async () => {
  // Ends as a gzip file does, with as many bytes as both are to have, and with zeros behind.
  const packed = Buffer.concat([asInGzip("evilevil"), Buffer.alloc(1)]);
  const members = [
    { name: "a", content: "good", packed },
    { name: "b", content: "fine" },
  ];
  const { url, context } = await served(makeZip(members), "x.zip");
  const { source } = await open(url, {}, context);
  expect(await failure(listAll(source))).toMatchObject({
    code: "invalid",
    message: expect.stringContaining('"a" is damaged') as string,
  });
});

test("a zip archive may have a name twice: what comes later counts", async () => {
  const large = "L".repeat(300_000);
  const names = ["small-small", "small-large", "large-small", "large-large"];
  const contentOf = (kind: string | undefined, turn: number) =>
    kind === "small" ? `S${turn}` : large + turn;
  const members = [0, 1].flatMap((turn) =>
    names.map((name) => ({ name, content: contentOf(name.split("-")[turn], turn) })),
  );
  const { url, context } = await served(makeZip(members), "x.zip");
  expect(await tree(await open(url, {}, context))).toEqual({
    "small-small": "S1",
    "small-large": `${large}1`,
    "large-small": "S1",
    "large-large": `${large}1`,
  });
});

// What a writer without zip64 makes of 65,538 members.
test.each([
  [2, false],
  [0, false],
  [2, true],
] as const)(
  "a zip archive of 3 members that tells of %i is refused, zip64: %s",
  async (told, zip64) => {
    const members = ["a", "b", "c"].map((name) => ({ name }));
    const { url, context } = await served(makeZip(members, { told, zip64 }), "x.zip");
    const error = await failure((await open(url, {}, context)).source.list(never));
    expect(error).toMatchObject({
      code: "invalid",
      message: expect.stringContaining(`than the ${told} `),
    });
  },
);

test("a planted symlink is not written through", async () => {
  const outside = await folder();
  const { url, context, scratch } = await served(
    await makeTar([
      { name: "dir", type: "symlink", linkname: outside },
      { name: "dir/planted", content: "x" },
      { name: "file", content: "old" },
      { name: "file", type: "symlink", linkname: join(outside, "planted") },
      { name: "file", content: "new" },
    ]),
  );
  const opened = await open(url, {}, context);
  const listed = await listAll(opened.source);
  // The engine is shown all of it and refuses the path through a symlink.
  expect(listed.paths).toEqual(["dir", "dir/planted", "file"]);
  expect(await readdir(outside)).toEqual([]);
  for (const file of await readdir(scratch, { recursive: true, withFileTypes: true })) {
    expect(file.isSymbolicLink()).toBe(false);
  }
  expect(String(await readAll(opened.source, listed.file("file")))).toBe("new");
});

test("the last of several members of one name wins", async () => {
  const opened = await openTar([
    { name: "x", content: "1" },
    { name: "./x", content: "2".repeat(300_000) },
    { name: "x", content: "3" },
    { name: "y", type: "link", linkname: "x" },
    { name: "x", content: "4" },
  ]);
  const listed = await listAll(opened.source);
  expect(String(await readAll(opened.source, listed.file("x")))).toBe("4");
  expect(String(await readAll(opened.source, listed.file("y")))).toBe("3");
});

test("a hard link has what its target had, whatever comes later under that name", async () => {
  const [tiny, small, large] = ["t", "s".repeat(5000), "l".repeat(300_000)];
  const opened = await openTar([
    ...Object.entries({ tiny, small, large }).flatMap(([name, content]): TarMember[] => [
      { name, content },
      { name: `${name}-link`, type: "link", linkname: name },
      { name: `${name}-again`, type: "link", linkname: `${name}-link` },
      { name, type: "link", linkname: name },
    ]),
    { name: "tiny", content: small },
    { name: "small", content: tiny },
    { name: "large", type: "symlink", linkname: "tiny" },
    { name: "large", content: tiny },
  ]);
  expect(await tree(opened)).toEqual({
    tiny: small,
    small: tiny,
    large: tiny,
    "tiny-link": tiny,
    "tiny-again": tiny,
    "small-link": small,
    "small-again": small,
    "large-link": large,
    "large-again": large,
  });
});

test("takes long and unusual names", async () => {
  const names = [
    `${"d".repeat(120)}/${"e".repeat(150)}/${"f".repeat(200)}`,
    "ünï/日本/😀",
    "new\nline",
    "sep\u2028arator",
    " blank ",
    "back\\slash",
    "-rf",
    "%2e%2e",
  ];
  const opened = await openTar(names.map((name) => ({ name, content: name })));
  expect(await tree(opened)).toEqual(Object.fromEntries(names.map((name) => [name, name])));
});

test("refuses names that are not UTF-8", async () => {
  const tar = await makeTar([{ name: "name", content: "x" }]);
  tar[1] = 0xff;
  // The header's own checksum has to fit: 0xff instead of "a".
  tar.write((0o0 + checksumOf(tar)).toString(8).padStart(6, "0"), 148, "latin1");
  const { url, context } = await served(tar);
  const opened = await open(url, {}, context);
  expect((await failure(listAll(opened.source))).message).toContain("not UTF-8");
});

const leavingOut = (...patterns: readonly string[]) => filterScope(makeFilter([], patterns));

test.each([
  ["hard link to nothing", { name: "x", type: "link", linkname: "nothing" }],
  ["character device", { name: "x", type: "character-device" }],
  ["FIFO", { name: "d/x", type: "fifo" }],
  ["too large a file", { name: "x", content: "x".repeat(2000) }],
  ["a name that is not UTF-8", { name: "x\u{fffd}", content: "x" }],
] as const)("does not judge what is left out of a tar archive: %s", async (_, member) => {
  const members = [
    { name: "fine", content: "fine" },
    member as TarMember,
    { name: "later", content: "later" },
  ];
  const opened = await openTar(members, { maxFileBytes: 1000 });
  expect((await listAll(opened.source, never, leavingOut("x*"))).paths).toEqual(["fine", "later"]);
  const error = await failure(listAll(opened.source, never, leavingOut("y")));
  expect(error).toMatchObject({ code: "invalid", hint: expect.stringContaining("--exclude") });
});

test.each([
  ["device", { name: "x", mode: 0o020644 }],
  ["endless symlink", { name: "x", mode: 0o120777, content: "y".repeat(5000) }],
  ["encrypted", { name: "x", content: "x", flags: 0x801 }],
  ["unknown method", { name: "x", content: "x", method: 93 }],
] as const)("does not judge what is left out of a zip archive: %s", async (_, member) => {
  const { url, context } = await served(makeZip([{ name: "fine" }, member]), "x.zip");
  const opened = await open(url, {}, context);
  expect((await listAll(opened.source, never, leavingOut("x"))).paths).toEqual(["fine"]);
});

test("what would lead out refuses an archive though it is left out", async () => {
  const opened = await openTar([{ name: "a/../../x", content: "x" }]);
  const error = await failure(listAll(opened.source, never, leavingOut("*")));
  expect(error.message).toContain("..");
});

test("path= leaves out what cannot be published beside it", async () => {
  const members = [
    { name: "in/x", content: "x" },
    { name: "pipe", type: "fifo" },
  ] as const;
  const { url, context } = await served(await makeTar(members));
  expect(await tree(await open(url, { path: "in" }, context))).toEqual({ x: "x" });
});

test(".pannierignore of an archive counts at once, and its content can be read again", async () => {
  const members = [
    { name: "a", content: "a" },
    { name: "pipe", type: "fifo" },
    { name: ".pannierignore", content: "pipe\n" },
  ] as const;
  const { url, context, server } = await served(await makeTar(members));
  const target = await folder();
  const again = () => sync({ sources: [http(url)], target });
  await again();
  expect(await readdir(join(target, "current"))).toEqual(["a"]);
  expect(
    server.log.filter((line) => line.startsWith("GET /") && line.endsWith(" 200")),
  ).toHaveLength(1);
  // A source that has not listed it reads what an earlier one did.
  const listed = await listAll((await open(url, {}, context)).source, never, leavingOut("pipe"));
  const later = await open(url, {}, { ...context, scratch: folder });
  expect(String(await readAll(later.source, listed.file("a")))).toBe("a");
});

function checksumOf(header: Buffer): number {
  let sum = 8 * 32;
  for (let i = 0; i < 512; i++) if (i < 148 || i >= 156) sum += header[i] as number;
  return sum;
}

test("unpacks 10,000 small files", async () => {
  const members = Array.from({ length: 10_000 }, (_, i) => ({ name: `d/${i}`, content: `${i}` }));
  members.push({ name: "d/more", content: "m".repeat(300_000) });
  const { url, context } = await served(gzipSync(await makeTar(members)), "x.tgz");
  const opened = await open(url, {}, context);
  const { entries } = await listAll(opened.source);
  expect(entries.size).toBe(10_001);
  const at = (path: string) => entries.get(path) as FileEntry;
  for (const i of [0, 1, 137, 9999]) {
    expect(String(await readAll(opened.source, at(`d/${i}`)))).toBe(String(i));
  }
  const part = await readAll(opened.source, at("d/9999"), { offset: 1, length: 2 });
  expect(String(part)).toBe("99");
  // Those are read from a file that holds them all; others are given away.
  expect(opened.source.localPath?.(at("d/9999"))).toBeUndefined();
  const { path } = opened.source.localPath?.(at("d/more")) ?? { path: "" };
  expect(await readFile(path, "utf8")).toBe("m".repeat(300_000));
});

test("lets others have their turn while a long listing is taken", async () => {
  const members = Array.from({ length: 5000 }, (_, i) => ({ name: `d/${i}` }));
  const { url, context } = await served(gzipSync(await makeTar(members)), "x.tgz");
  const { source } = await open(url, {}, context);
  const { entries } = await source.list(never);
  let turns = 0;
  const ticking = setInterval(() => turns++, 0);
  const batches: (readonly unknown[])[] = [];
  for await (const batch of entries) {
    batches.push(batch);
    const until = performance.now() + 3;
    while (performance.now() < until);
  }
  clearInterval(ticking);
  expect(batches.length).toBeGreaterThan(5);
  expect(turns).toBeGreaterThanOrEqual(batches.length - 2);
});

test("stops at the limits on files and bytes", async () => {
  const three = ["a", "b", "c"].map((name) => ({ name, content: "12345" }));
  for (const [limits, words] of [
    [{ maxFiles: 2 }, "more than 2 files and directories"],
    [{ maxFileBytes: 4 }, "larger than 4 bytes"],
  ] as const) {
    const error = await failure(listAll((await openTar(three, limits)).source));
    expect(error).toMatchObject({ code: "invalid", transient: false });
    expect(error.message).toContain(words);
  }
  const large = (await openTar(three, { maxBytes: 14 })).source.list(never);
  await expect(large).rejects.toBeInstanceOf(NoRoomError);
  const exact = await openTar(three, { maxFiles: 3, maxBytes: 15, maxFileBytes: 5 });
  expect(Object.keys(await tree(exact))).toHaveLength(3);
});

test("directories count as well, and what is not taken", async () => {
  const directories = Array.from({ length: 4 }, (_, i) => ({ name: `d${i}/` }));
  const { url, context } = await served(
    await makeTar([...directories, { name: "in/x" }]),
    "x.tar",
    {
      maxFiles: 4,
    },
  );
  const error = await failure((await open(url, { path: "in" }, context)).source.list(never));
  expect(error).toMatchObject({
    code: "invalid",
    message: "the archive holds more than 4 files and directories",
    hint: expect.stringContaining("--max-files"),
  });
});

test("a zip archive whose file does not end is not kept beyond what the tree may have", async () => {
  const endless = Buffer.alloc(70 << 20);
  endless.write("PK\x03\x04");
  const { url, context, scratch } = await served(endless, "x.zip", { maxBytes: 1000 });
  await expect(tree(await open(url, {}, context))).rejects.toMatchObject({
    name: "NoRoomError",
    message: expect.stringContaining("--max-bytes"),
  });
  expect(await readdir(scratch)).toEqual([]);
  // Of what is wanted in part only, it is not the size of the whole that counts.
  const part = await open(url, { path: "in" }, context);
  await expect(tree(part)).rejects.toMatchObject({ code: "invalid" });
});

test("stops bombs: by ratio, in gzip and zip, and by hard links", async () => {
  const zeros = Buffer.alloc(12 << 20);
  const tar = await makeTar([{ name: "zeros", content: zeros }]);
  const links = await makeTar([
    { name: "x", content: Buffer.alloc(1 << 20, "x") },
    ...Array.from(
      { length: 20 },
      (_, i) => ({ name: `l${i}`, type: "link", linkname: "x" }) as const,
    ),
  ]);
  for (const [name, body, maxExpansion] of [
    ["x.tgz", gzipSync(tar), 100],
    ["x.zip", makeZip([{ name: "zeros", content: zeros }]), 100],
    ["x.tar", links, 10],
  ] as const) {
    const { url, context, scratch } = await served(body, name, { maxExpansion });
    const error = await failure((await open(url, {}, context)).source.list(never));
    expect(error.message).toContain(`more than ${maxExpansion} times`);
    expect(await readdir(scratch)).toEqual([]);
    const trusting = await served(body, name, { maxExpansion: 2000 });
    const opened = await open(trusting.url, {}, trusting.context);
    expect((await listAll(opened.source)).entries.size).toBeGreaterThan(0);
  }
});

test("refuses what is cut short or damaged, and leaves nothing behind", async () => {
  const tar = await makeTar([
    { name: "a", content: "a".repeat(2000) },
    { name: "b", content: "b" },
  ]);
  const gz = gzipSync(tar);
  const flipped = Buffer.from(gz);
  flipped[gz.length - 6] = ~(gz[gz.length - 6] as number);
  const zip = makeZip([{ name: "a", content: "x".repeat(5000) }]);
  for (const [name, body] of [
    ["cut.tar", tar.subarray(0, 1500)],
    ["at-a-member.tar", tar.subarray(0, 512 + 2048)],
    ["no-end.tar", tar.subarray(0, 512 + 2048 + 1024)],
    ["cut.tgz", gz.subarray(0, gz.length - 20)],
    ["no-trailer.tgz", gz.subarray(0, gz.length - 4)],
    ["flipped.tgz", flipped],
    ...(canZstd ? [["cut.tar.zst", zlib.zstdCompressSync(tar).subarray(0, -5)] as const] : []),
    ["cut.zip", zip.subarray(0, zip.length - 30)],
    ["text.tar.gz", gzipSync("just text, no archive")],
    ["page.tar.gz", Buffer.from("<html>sign in</html>")],
    ["empty.tar.gz", Buffer.alloc(0)],
  ] as const) {
    const { url, context, scratch } = await served(body, name);
    const error = await failure((await open(url, {}, context)).source.list(never));
    expect({ name, code: error.code, left: await readdir(scratch) }).toEqual({
      name,
      code: "invalid",
      left: [],
    });
  }
});

test("a connection that is cut is unavailable, not a broken archive", async () => {
  const tar = gzipSync(await makeTar([{ name: "a", content: "a".repeat(100_000) }]));
  const server = await site({
    "/x.tgz": (_, response) => {
      response.writeHead(200, { "content-length": tar.length + 10 });
      response.write(tar.subarray(0, 50), () => response.destroy());
    },
  });
  const opened = await open(`${server.origin}/x.tgz`);
  expect(await failure(opened.source.list(never))).toMatchObject({
    code: "unavailable",
    transient: true,
  });
});

test("stops when it is told to, also within an archive", async () => {
  const tar = await makeTar([{ name: "a", content: "a".repeat(100_000) }]);
  const sent = Promise.withResolvers<void>();
  const server = await site({
    "/x.tar": (_, response) => void response.write(tar.subarray(0, 5000), () => sent.resolve()),
  });
  const opened = await open(`${server.origin}/x.tar`);
  const stop = new AbortController();
  const listing = opened.source.list(stop.signal);
  await sent.promise;
  stop.abort(new Error("enough"));
  await expect(listing).rejects.toThrow("enough");
});

test("says clearly what it cannot unpack", async () => {
  const { url, context } = await served(Buffer.from("BZh91AY&SY"), "x.tar.bz2");
  const error = await failure((await open(url, {}, context)).source.list(never));
  expect(error.code).toBe("unsupported");
  expect(error.hint).toContain("tar.xz");
});

test("an unchanged archive costs one request answered 304", async () => {
  const { server, url, context } = await served(await makeTar(SOME));
  const opened = await open(url, {}, context);
  const { listing } = await listAll(opened.source);
  const token = listing.token?.();
  server.log.length = 0;
  expect(await opened.source.probe(never, token)).toEqual({ token });
  expect(server.log).toEqual(["GET /x.tar 304"]);
  expect((await opened.source.probe(never))?.token).toBe(token);

  server.pages.set("/x.tar", { body: await makeTar([{ name: "new" }]) });
  expect((await opened.source.probe(never, token))?.token).not.toBe(token);
});

test("files of a new archive keep their fingerprints where their content is the same", async () => {
  const { server, url, context } = await served(await makeTar(SOME));
  const opened = await open(url, {}, context);
  const before = await listAll(opened.source);
  const changed = SOME.map((each) => (each.name === "other/c" ? { ...each, content: "D" } : each));
  server.pages.set("/x.tar", { body: await makeTar(changed) });
  const after = await listAll(opened.source);
  const differing = after.paths.filter((path) => {
    const [a, b] = [before.entries.get(path), after.entries.get(path)];
    return a?.kind === "file" && b?.kind === "file" && a.fingerprint !== b.fingerprint;
  });
  expect(differing).toEqual(["other/c"]);
});

test("gives files away, and removes what nobody took", async () => {
  const { url, context, scratch } = await served(await makeTar(LARGER));
  const opened = await open(url, {}, context);
  const first = await listAll(opened.source);
  const local = opened.source.localPath?.(first.file("top/a.txt"));
  expect(local?.disposable).toBe(true);
  const taken = join(await folder(), "taken");
  await rename(local?.path as string, taken);
  expect(await readFile(taken, "utf8")).toBe("A".repeat(300_000));
  expect(opened.source.localPath?.(first.file("top/a.txt"))).toBeUndefined();
  const folders = await readdir(scratch);
  expect(folders).toHaveLength(1);

  await listAll(opened.source);
  expect(await readdir(scratch)).toHaveLength(1);
  expect(await readdir(scratch)).not.toEqual(folders);
  await opened.source.close();
  expect(await readdir(scratch)).toEqual([]);
});

test("reads ranges of unpacked files", async () => {
  const content = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));
  const opened = await openTar([{ name: "x", content }]);
  const entry = (await listAll(opened.source)).file("x");
  for (const [offset, length] of [
    [0, 10],
    [299_999, 5],
    [100, 200_000],
    [250_000, undefined],
  ] as const) {
    const part = await readAll(opened.source, entry, { offset, length });
    expect(part.equals(content.subarray(offset, offset + (length ?? Infinity)))).toBe(true);
  }
});

test("an entry of an earlier process is fetched again while the archive is the same", async () => {
  const { server, url, context } = await served(await makeTar(SOME));
  const earlier = await open(url, {}, context);
  const { entries } = await listAll(earlier.source);
  await earlier.source.close();
  server.log.length = 0;

  const later = await open(url, {}, context);
  const read = (path: string) => readAll(later.source, entries.get(path) as FileEntry);
  const contents = await Promise.all(["top/a.txt", "top/same", "other/c"].map(read));
  expect(contents.map(String)).toEqual(["A", "A", "C"]);
  expect(server.log).toEqual(["GET /x.tar 200"]);

  server.pages.set("/x.tar", { body: await makeTar([{ name: "top/a.txt", content: "Z" }]) });
  const latest = await open(url, {}, context);
  const kept = entries.get("top/a.txt") as FileEntry;
  expect((await failure(readAll(latest.source, kept))).code).toBe("changed");
  server.pages.set("/x.tar", { body: await makeTar(SOME), conditions: false, validator: "weak" });
  expect(String(await readAll(latest.source, kept))).toBe("A");
});

test("without an ETag or a date an entry cannot be fetched again", async () => {
  const server = await site({ "/x.tar": { body: await makeTar(LARGER), validator: "none" } });
  const opened = await open(`${server.origin}/x.tar`);
  const listed = await listAll(opened.source);
  expect(listed.listing.token?.()).toBeUndefined();
  const entry = listed.file("top/a.txt");
  expect(String(await readAll(opened.source, entry))).toBe("A".repeat(300_000));
  await rm(opened.source.localPath?.(entry)?.path as string);
  expect((await failure(readAll(opened.source, entry))).code).toBe("changed");
});

test("verifies a checksum before anything is handed over", async () => {
  const body = gzipSync(await makeTar(SOME));
  const { server, url, context, scratch } = await served(body, "x.tgz");
  for (const algorithm of ["sha256", "sha512", "sha1", "md5"]) {
    const hex = createHash(algorithm).update(body).digest("hex");
    const good = await open(url, { checksum: `${algorithm}:${hex.toUpperCase()}` }, context);
    expect(Object.keys(await tree(good))).toHaveLength(5);
    const bad = await open(
      url,
      { checksum: `${algorithm}:${hex.replace(/^./, hex[0] === "0" ? "1" : "0")}` },
      context,
    );
    const error = await failure(bad.source.list(never));
    expect(error.code).toBe("invalid");
    expect(error.message).toContain(hex);
  }
  expect(await readdir(scratch)).toEqual([]);

  const hex = createHash("sha256").update(body).digest("hex");
  server.pages.set("/SUMS", { body: `${"0".repeat(64)}  other.tgz\n${hex} *dist/x.tgz\n` });
  server.pages.set("/x.tgz.sha256", { body: `${hex}\n` });
  server.pages.set("/wrong", { body: `${"0".repeat(64)}  x.tgz\n` });
  server.pages.set("/none", { body: `${hex}  y.tgz\n` });
  for (const checksum of ["SUMS", "/x.tgz.sha256", `${server.origin}/SUMS`]) {
    expect(Object.keys(await tree(await open(url, { checksum }, context)))).toHaveLength(5);
  }
  for (const checksum of ["wrong", "none"]) {
    const opened = await open(url, { checksum }, context);
    expect((await failure(opened.source.list(never))).code).toBe("invalid");
  }
  expect(
    (await failure((await open(url, { checksum: "missing" }, context)).source.list(never))).code,
  ).toBe("not-found");
});

test("finds out by its content what has no name, and asks for one file if it is no archive", async () => {
  const tar = await makeTar([{ name: "a", content: "A" }]);
  const server = await site({
    "/download": { body: gzipSync(tar) },
    "/v1.2": { body: tar },
    "/plain": { body: "text" },
    "/x.bin": { body: tar },
    "/y.tar": { body: tar },
  });
  const at = async (path: string, options = {}) =>
    Object.keys(await tree(await open(`${server.origin}${path}`, options)));
  expect(await at("/download?id=5")).toEqual(["a"]);
  expect(await at("/v1.2")).toEqual(["a"]);
  expect(await at("/plain")).toEqual(["plain"]);
  expect(await at("/x.bin")).toEqual(["x.bin"]);
  expect(await at("/x.bin", { unpack: "yes" })).toEqual(["a"]);
  expect(await at("/y.tar", { unpack: "no" })).toEqual(["y.tar"]);
});

test("a leftover of a process that was killed is removed", async () => {
  const { url, context, scratch } = await served(await makeTar(SOME));
  const killed = await open(url, {}, context);
  await listAll(killed.source);
  const [left] = await readdir(scratch);
  const opened = await open(url, {}, context);
  await listAll(opened.source);
  expect(existsSync(join(scratch, left as string))).toBe(false);
  expect((await stat(scratch)).isDirectory()).toBe(true);
});
