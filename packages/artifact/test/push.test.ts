import { createHash } from "node:crypto";
import { rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { Readable } from "node:stream";
import * as zlib from "node:zlib";
import { readTar } from "@pannier/archive";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { oci } from "@pannier/adapter-oci";
import { type Descriptor, digestOf, TOC_CHECKSUM, TOC_POSITION } from "@pannier/oci";
import { describe, expect, onTestFinished, test } from "vitest";
import { openRegistry, type TestRegistry } from "../../../test/support/registry.ts";
import { filesOf, pushFiles } from "./trees.ts";

const never = new AbortController().signal;

async function registry() {
  const made = await openRegistry();
  onTestFinished(() => made.close());
  return { made, url: `oci+http://127.0.0.1:${made.port}/team/site:live` };
}

async function open(url: string) {
  const opened = await openSource(oci(url));
  onTestFinished(() => opened.close());
  return opened;
}

interface Manifest {
  layers: (Descriptor & { annotations: Record<string, string> })[];
  annotations: Record<string, string>;
}

function manifestOf({ manifests }: TestRegistry): Manifest {
  return JSON.parse(String(manifests.get("team/site/live")?.bytes)) as Manifest;
}

const sha256 = (text: string) => digestOf(Buffer.from(text));

/** 40 directories of 25 files, 2 MiB. */
function site(): Map<string, string> {
  const files = new Map<string, string>();
  for (let i = 0; i < 1000; i++) {
    const content = createHash("sha512").update(`${i}`).digest("hex").repeat(16);
    files.set(`dir-${i % 40}/file-${i}`, content);
  }
  return files;
}

test("the same tree is the same image, and is not sent again", async () => {
  const { made, url } = await registry();
  const files = filesOf(Object.fromEntries(site()));
  const first = await pushFiles(files, url);
  expect(first).toMatchObject({ changed: true, files: 1000, layers: first.sentLayers });
  made.requests.length = 0;
  const again = await pushFiles(files, url);
  expect(again).toMatchObject({
    changed: false,
    digest: first.digest,
    sentLayers: 0,
    sentBytes: 0,
  });
  // The manifest, and the configuration that tells of the layers what the manifest does not.
  expect(made.requests.map((line) => line.split(" ")[0])).toEqual(["GET", "GET"]);
  expect(await pushFiles(files, url.replace("site", "elsewhere"))).toMatchObject({
    digest: first.digest,
    sentLayers: 0,
  });
});

test("a changed file costs one layer to push, and four requests to follow", async () => {
  const { made, url } = await registry();
  const contents = site();
  const first = await pushFiles(filesOf(Object.fromEntries(contents)), url);
  expect(first.layers).toBeGreaterThan(1);
  const { source, requests } = await open(url);
  const before = await listAll(source);
  contents.set("dir-7/file-7", "changed");
  expect(await pushFiles(filesOf(Object.fromEntries(contents)), url)).toMatchObject({
    changed: true,
    sentLayers: 1,
    layers: first.layers,
  });

  made.requests.length = 0;
  const asked = requests.length;
  const probe = await source.probe(never);
  const delta = await source.changes?.(before.revision ?? "", probe?.revision ?? "", never);
  const changes = [];
  for await (const batch of delta?.changes ?? []) changes.push(...batch);
  expect(changes).toHaveLength(1);
  const [change] = changes;
  const entry = change?.kind === "put" && change.entry.kind === "file" ? change.entry : undefined;
  expect(entry?.path).toBe("dir-7/file-7");
  expect((await readAll(source, entry as NonNullable<typeof entry>)).toString()).toBe("changed");
  expect(requests.length - asked).toBe(4);
  expect(made.requests.map((line) => line.replace(/sha256:.*/, ""))).toEqual([
    "HEAD /v2/team/site/manifests/live",
    "GET /v2/team/site/manifests/",
    "GET /v2/team/site/blobs/",
    "GET /v2/team/site/blobs/",
  ]);
});

test("beyond some files of a layer the whole of it is fetched, once", async () => {
  const { made, url } = await registry();
  const contents = site();
  await pushFiles(filesOf(Object.fromEntries(contents)), url);
  const { source } = await open(url);
  await listAll(source);
  for (const path of contents.keys()) if (path.startsWith("dir-7/")) contents.set(path, "changed");
  await pushFiles(filesOf(Object.fromEntries(contents)), url);
  const after = await listAll(source);
  made.requests.length = 0;
  for (const path of contents.keys()) {
    if (!path.startsWith("dir-7/")) continue;
    expect((await readAll(source, after.file(path))).toString()).toBe("changed");
  }
  expect(made.requests.length).toBe(9);
});

test("the manifest tells the revision, the sources and each table of contents", async () => {
  const { made, url } = await registry();
  await pushFiles(filesOf({ a: "1" }), url, { revision: "3f2a9c1" });
  const { layers, annotations } = manifestOf(made);
  expect(annotations).toEqual({
    "org.opencontainers.image.revision": "3f2a9c1",
    "org.opencontainers.image.source": "file:///site",
  });
  expect(layers).toHaveLength(1);
  expect(layers[0]?.annotations[TOC_POSITION]).toMatch(/^\d+:\d+:\d+:1$/);
});

test("one layer is a plain tar.gz of the whole tree", async () => {
  const { made, url } = await registry();
  await pushFiles(filesOf({ "b/c": "2", a: "1" }), url, { layers: 1 });
  const { layers } = manifestOf(made);
  expect(layers.map(({ mediaType }) => mediaType)).toEqual([
    "application/vnd.oci.image.layer.v1.tar+gzip",
  ]);
  const tar = zlib.gunzipSync(made.blobs.get(layers[0]?.digest ?? "") as Buffer);
  const names: string[] = [];
  for await (const member of readTar(Readable.from([tar]))) names.push(member.name);
  expect(names).toEqual(["a", "b/c"]);
});

test("large files have layers of their own, in frames that are read by themselves", async () => {
  const { made, url } = await registry();
  const large = Buffer.alloc(20 << 20, "0123456789abcdefghijklmnopq");
  await pushFiles(filesOf({ large, small: "1" }), url);
  expect(manifestOf(made).layers).toHaveLength(2);
  const { source } = await open(url);
  const listed = await listAll(source);
  // As another process, which has nothing unpacked.
  const other = await open(url);
  await listAll(other.source);
  await other.source.published?.(never);
  const entry = listed.file("large");
  made.sent.bytes = 0;
  const part = await readAll(other.source, entry, { offset: (8 << 20) - 5, length: 10 });
  expect(part.equals(large.subarray((8 << 20) - 5, (8 << 20) + 5))).toBe(true);
  expect(made.requests.filter((line) => line.includes("blobs")).length).toBeGreaterThan(2);
  expect((await readAll(other.source, entry)).equals(large)).toBe(true);
});

test("files that compress to next to nothing are followed as well: their sizes are told", async () => {
  const { url } = await registry();
  const contents: Record<string, Buffer> = {};
  for (let i = 0; i < 12; i++) contents[`zeros-${i}`] = Buffer.alloc(4 << 20);
  await pushFiles(filesOf(contents), url);
  const limits = { maxFiles: 1e6, maxBytes: 1e12, maxFileBytes: 1e12, maxExpansion: 200 };
  for (const published of [false, true]) {
    const opened = await openSource(oci(url), { limits });
    onTestFinished(() => opened.close());
    const listed = await listAll(opened.source);
    // What was unpacked is gone then.
    if (published) await opened.source.published?.(never);
    for (const [path, content] of Object.entries(contents)) {
      expect((await readAll(opened.source, listed.file(path))).equals(content)).toBe(true);
    }
  }
});

test("a name that would take something away is refused", async () => {
  const { url } = await registry();
  await expect(pushFiles(filesOf({ "a/.wh.b": "1" }), url)).rejects.toMatchObject({
    name: "RefusedError",
  });
});

test.each([100, 1])(
  "a tree that is not what was published is not pushed (in %i layers)",
  async (layers) => {
    const { made, url } = await registry();
    const files = filesOf({ a: "1", b: "2" });
    for (const meanwhile of [
      (tree: string) => writeFile(join(tree, "a"), "another content"),
      (tree: string) => writeFile(join(tree, "a"), ""),
      (tree: string) => rm(join(tree, "a")),
      async (tree: string) => {
        await rm(join(tree, "a"));
        await symlink("b", join(tree, "a"));
      },
    ]) {
      await expect(pushFiles(files, url, { layers, meanwhile })).rejects.toMatchObject({
        name: "TargetError",
      });
    }
    expect(made.manifests.size).toBe(0);
  },
);

describe("a table of contents that lies", () => {
  type Entry = Record<string, unknown>;
  const SECOND = { a: "another one", b: "and b" };

  /** Puts another table into the only layer, with everything else as it should be. */
  async function tamper(made: TestRegistry, change: (entries: Entry[]) => unknown) {
    const manifest = manifestOf(made);
    const layer = manifest.layers[0] as Manifest["layers"][0];
    const blob = made.blobs.get(layer.digest) as Buffer;
    const [offset = 0, length = 0] = (layer.annotations[TOC_POSITION] ?? "").split(":").map(Number);
    const toc = JSON.parse(
      String(zlib.zstdDecompressSync(blob.subarray(offset, offset + length))),
    ) as { entries: Entry[] };
    change(toc.entries);
    const text = Buffer.from(JSON.stringify(toc));
    const packed = zlib.zstdCompressSync(text);
    const header = Buffer.alloc(8);
    header.writeUInt32LE(0x184d2a50, 0);
    header.writeUInt32LE(packed.length, 4);
    const bytes = Buffer.concat([blob.subarray(0, offset - 8), header, packed]);
    const digest = digestOf(bytes);
    made.blobs.set(digest, bytes);
    Object.assign(layer, { digest, size: bytes.length });
    layer.annotations[TOC_POSITION] = `${offset}:${packed.length}:${text.length}:1`;
    layer.annotations[TOC_CHECKSUM] = digestOf(packed);
    const stored = { bytes: Buffer.from(JSON.stringify(manifest)), type: "" };
    made.manifests.set("team/site/live", stored);
    made.manifests.set(`team/site/${digestOf(stored.bytes)}`, stored);
  }

  const entryOf = (entries: Entry[], name: string) =>
    entries.find((entry) => entry["name"] === name) as Entry;

  /** Of a layer that is taken whole, and of one of which only the table is: by those who follow. */
  async function outcomes(change: (entries: Entry[]) => unknown) {
    const { made, url } = await registry();
    await pushFiles(filesOf({ a: "1", b: "2" }), url);
    const follower = await open(url);
    await listAll(follower.source);
    await pushFiles(filesOf(SECOND), url);
    await tamper(made, change);
    const newcomer = await open(url);
    const outcome = async ({ source }: typeof follower) => {
      const { entries } = await listAll(source);
      for (const entry of entries.values()) {
        if (entry.kind === "file") await readAll(source, entry);
      }
    };
    return Promise.allSettled([outcome(newcomer), outcome(follower)]);
  }
  const invalid = { status: "rejected", reason: { code: "invalid" } };

  test("what is right is taken", async () => {
    expect(await outcomes(() => {})).toMatchObject([
      { status: "fulfilled" },
      { status: "fulfilled" },
    ]);
  });

  test.each<[string, (entries: Entry[]) => unknown]>([
    ["of another content", (all) => (entryOf(all, "a")["digest"] = sha256("evil"))],
    ["of a smaller file", (all) => (entryOf(all, "a")["size"] = 1)],
    ["of a larger file", (all) => (entryOf(all, "a")["size"] = 1e12)],
    [
      "of another file's frames",
      (all) => (entryOf(all, "a")["offset"] = entryOf(all, "b")["offset"]),
    ],
    ["of frames outside", (all) => (entryOf(all, "a")["endOffset"] = 1e9)],
    ["of a name outside", (all) => (entryOf(all, "a")["name"] = "../a")],
    ["of a whiteout outside", (all) => (entryOf(all, "a")["name"] = "x/.wh...")],
    ["of a device", (all) => (entryOf(all, "a")["type"] = "char")],
    ["of a negative size", (all) => (entryOf(all, "a")["size"] = -1)],
    ["without a digest", (all) => delete entryOf(all, "a")["digest"]],
    [
      "of a part without a file",
      (all) => all.unshift({ type: "chunk", name: "a", chunkOffset: 1 }),
    ],
    [
      "of a hard link to nothing",
      (all) => all.push({ type: "hardlink", name: "c", linkName: "../x" }),
    ],
  ])("one %s is refused, by newcomers and by followers", async (_, change) => {
    expect(await outcomes(change)).toMatchObject([invalid, invalid]);
  });

  test.each<[string, (entries: Entry[]) => unknown]>([
    ["leaves a file out", (all) => all.splice(0, 1)],
    ["tells of another mode", (all) => (entryOf(all, "a")["mode"] = 0o777)],
    [
      "makes a link of a file",
      (all) => Object.assign(entryOf(all, "a"), { type: "symlink", linkName: "b" }),
    ],
  ])("one that %s is refused by whoever takes the layer whole", async (_, change) => {
    expect((await outcomes(change))[0]).toMatchObject(invalid);
  });

  test("a frame that unpacks to far more than is told is given up", async () => {
    const { made, url } = await registry();
    await pushFiles(filesOf({ a: "1" }), url);
    const follower = await open(url);
    await listAll(follower.source);
    const bomb = Buffer.alloc(64 << 20);
    await pushFiles(filesOf({ a: bomb }), url);
    await tamper(made, (entries) => {
      entries.splice(1);
      Object.assign(entries[0] as Entry, { size: 10, digest: sha256("0123456789") });
    });
    const entry = (await listAll(follower.source)).file("a");
    await expect(readAll(follower.source, entry)).rejects.toMatchObject({ code: "invalid" });
  });

  test("a checksum that is not the table's is refused", async () => {
    const { made, url } = await registry();
    await pushFiles(filesOf({ a: "1" }), url);
    const manifest = manifestOf(made);
    const layer = manifest.layers[0] as Manifest["layers"][0];
    layer.annotations[TOC_CHECKSUM] = digestOf(Buffer.from("another"));
    const bytes = Buffer.from(JSON.stringify(manifest));
    made.manifests.set("team/site/live", { bytes, type: "" });
    const { source } = await open(url);
    await expect(listAll(source)).rejects.toMatchObject({ code: "invalid" });
  });
});

test("what is pushed is the tree, by any reader of zstd and tar", async () => {
  const { made, url } = await registry();
  const long = `${"d".repeat(120)}/${"é".repeat(100)}`;
  await pushFiles(filesOf({ [long]: "1", "a b": "2", empty: "" }), url);
  const members: Record<string, string> = {};
  for (const { digest } of manifestOf(made).layers) {
    const tar = zlib.zstdDecompressSync(made.blobs.get(digest) as Buffer);
    for await (const member of readTar(Readable.from([tar]))) {
      if (member.kind === "file") members[member.name] = (await buffer(member.content)).toString();
    }
  }
  expect(members).toEqual({ [long]: "1", "a b": "2", empty: "" });
});
