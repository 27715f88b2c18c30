/** Layers in zstd:chunked form, as others may write them and as attackers would: taken whole at the first sync, without being unpacked where that can be. */
import { readdir, readFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import * as zlib from "node:zlib";
import { TAR_END, tarHeader, tarPadding } from "@pannier/archive";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { sync } from "@pannier/core";
import { digestOf, TOC_CHECKSUM, TOC_POSITION } from "@pannier/oci";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { openRegistry } from "../../../test/support/registry.ts";
import { oci } from "../src/index.ts";
import { gzipLayer, putImage, type TestLayer } from "./images.ts";

interface Member {
  readonly name: string;
  readonly content: string | Buffer;
  /** What its header and the table say of it, where that is not the content's. */
  readonly told?: string;
  /** Only in the archive. */
  readonly hidden?: boolean;
}

interface Making {
  /** What becomes of each header. */
  readonly header?: (header: Buffer) => Buffer;
  /** Frames behind the table. */
  readonly behind?: Buffer;
}

function chunkedLayer(
  members: readonly Member[],
  { header: change = (header) => header, behind = Buffer.alloc(0) }: Making = {},
): TestLayer {
  const frames: Buffer[] = [];
  let size = 0;
  const frame = (bytes: Buffer) => {
    frames.push(zlib.zstdCompressSync(bytes));
    size += frames.at(-1)?.length ?? 0;
  };
  const entries: unknown[] = [];
  let padding = 0;
  for (const { name, content, told = content, hidden = false } of members) {
    const header = change(tarHeader({ name, mode: 0o644, size: told.length }));
    frame(Buffer.concat([Buffer.alloc(padding), header]));
    padding = tarPadding(told.length);
    const offset = size;
    if (content.length > 0) frame(Buffer.from(content));
    const digest = digestOf(Buffer.from(told));
    const place = content.length > 0 ? { size: told.length, offset, endOffset: size } : {};
    if (!hidden) entries.push({ type: "reg", name, mode: 0o644, digest, ...place });
  }
  frame(Buffer.concat([Buffer.alloc(padding), TAR_END]));
  const text = Buffer.from(JSON.stringify({ version: 1, entries }));
  const table = zlib.zstdCompressSync(text);
  const skippable = Buffer.alloc(8);
  skippable.writeUInt32LE(0x184d2a50, 0);
  skippable.writeUInt32LE(table.length, 4);
  return {
    bytes: Buffer.concat([...frames, skippable, table, behind]),
    mediaType: "application/vnd.oci.image.layer.v1.tar+zstd",
    annotations: {
      [TOC_POSITION]: `${size + 8}:${table.length}:${text.length}:1`,
      [TOC_CHECKSUM]: digestOf(table),
    },
  };
}

/** An image to sync into a new directory. */
async function image(...layers: readonly TestLayer[]) {
  const registry = await openRegistry();
  onTestFinished(() => registry.close());
  const url = `oci+http://127.0.0.1:${registry.port}/team/site:v1`;
  await putImage(url, layers);
  registry.requests.length = 0;
  const target = await mkdtemp(join(tmpdir(), "pannier-chunked-"));
  onTestFinished(() => rm(target, { recursive: true }));
  return { url, target, requests: registry.requests, blobs: registry.blobs };
}

/** Syncs an image into a new directory. @returns what it shows, what was asked for, and what came to nothing */
async function pull(...layers: readonly TestLayer[]) {
  const { url, target, requests } = await image(...layers);
  const messages: string[] = [];
  await sync({
    sources: [oci(url)],
    target,
    onEvent: (event) => {
      if (event.type === "retry") messages.push(event.error.message);
    },
  });
  const tree: Record<string, string> = {};
  for (const name of await readdir(join(target, "current")))
    tree[name] = await readFile(join(target, "current", name), "latin1");
  return { tree, requests, messages };
}

/** Sets a field of a header, as another program would. */
function withTime(header: Buffer): Buffer {
  const changed = Buffer.from(header);
  changed.write("14000000000", 136, "latin1");
  changed.fill(" ", 148, 156);
  const sum = changed.reduce((total, byte) => total + byte, 0);
  changed.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return changed;
}

const MANY = Array.from({ length: 600 }, (_, i) => ({
  name: `file-${i}`,
  content: i % 7 === 0 ? "" : `${i} `.repeat(i),
}));
const asTree = (members: readonly Member[]) =>
  Object.fromEntries(members.map(({ name, content }) => [name, String(content)]));

describe.each(["always", "never"])("with lanes %s", (lanes) => {
  const before = process.env["PANNIER_TEST_LANES"];
  beforeEach(() => {
    process.env["PANNIER_TEST_LANES"] = lanes;
  });
  afterEach(() => {
    if (before === undefined) delete process.env["PANNIER_TEST_LANES"];
    else process.env["PANNIER_TEST_LANES"] = before;
  });

  test("a first sync is a request for the image, one for the manifest and one a layer", async () => {
    const layers = [chunkedLayer(MANY.slice(0, 300)), chunkedLayer(MANY.slice(300))];
    const { tree, requests, messages } = await pull(...layers);
    expect(tree).toEqual(asTree(MANY));
    expect(requests.map((line) => line.replace(/sha256:.*/, ""))).toEqual([
      "HEAD /v2/team/site/manifests/v1",
      "GET /v2/team/site/manifests/v1",
      "GET /v2/team/site/blobs/",
      "GET /v2/team/site/blobs/",
    ]);
    expect(messages).toEqual([]);
  });

  test("an image that is in a mount twice", async () => {
    const other = await gzipLayer([{ name: "plain", content: "2" }]);
    const { url, target } = await image(chunkedLayer(MANY.slice(0, 200)), other);
    const retries: string[] = [];
    await sync({
      sources: ["one", "two"].map((into) => ({ source: oci(url), into })),
      target,
      onEvent: (event) => event.type === "warning" && retries.push(event.message),
    });
    const names = ["plain", ...MANY.slice(0, 200).map(({ name }) => name)].toSorted();
    for (const into of ["one", "two"])
      expect((await readdir(join(target, "current", into))).toSorted()).toEqual(names);
    expect(retries).toEqual([]);
  });

  test("what another program wrote is taken: then the archive itself is looked at", async () => {
    const { tree, messages } = await pull(chunkedLayer(MANY, { header: withTime }));
    expect(tree).toEqual(asTree(MANY));
    expect(messages).toEqual([]);
  });

  test("a layer that only consists of members without content", async () => {
    const empty = MANY.map(({ name }) => ({ name, content: "" }));
    expect((await pull(chunkedLayer(empty))).tree).toEqual(asTree(empty));
  });

  test.each<[string, Member[], Making, string]>([
    [
      "a file that its table does not list",
      [
        { name: "a", content: "1" },
        { name: "b", content: "2", hidden: true },
        { name: "c", content: "3" },
      ],
      {},
      'does not list "b"',
    ],
    [
      "an empty file that its table does not list",
      [
        { name: "a", content: "1" },
        { name: "b", content: "", hidden: true },
      ],
      {},
      'does not list "b"',
    ],
    [
      "another archive behind its table",
      [{ name: "a", content: "1" }],
      { behind: zlib.zstdCompressSync(tarHeader({ name: "b", mode: 0o644, size: 0 })) },
      "a second archive",
    ],
    [
      "another content than its table tells",
      [
        { name: "a", content: "1" },
        { name: "b", content: "evil", told: "good" },
      ],
      {},
      "not what the table of contents says",
    ],
    [
      "a frame that unpacks to far more than is told",
      [
        { name: "a", content: "1" },
        { name: "b", content: Buffer.alloc(64 << 20), told: "0123456789" },
      ],
      {},
      "not what the table of contents says",
    ],
    [
      "a frame that holds less than is told",
      [{ name: "a", content: "1", told: "0123456789" }],
      {},
      "not what the table of contents says",
    ],
  ])(
    "a layer with %s is refused, and nothing is published",
    async (_, members, making, message) => {
      await expect(pull(chunkedLayer(members, making))).rejects.toMatchObject({
        cause: { code: "invalid", message: expect.stringContaining(message) },
      });
    },
  );
});

/** A source with a scratch directory to look into. @param failures which questions for that fail */
async function opened(layers: readonly TestLayer[], maxBytes: number, failures: readonly number[]) {
  const made = await image(...layers);
  const scratch = await mkdtemp(join(tmpdir(), "pannier-chunked-"));
  let calls = 0;
  const { source, close } = await openSource(oci(made.url), {
    limits: { maxFiles: 1e6, maxBytes, maxFileBytes: 1e12, maxExpansion: 200 },
    async scratch() {
      if (failures.includes(++calls)) throw new Error("no room");
      return scratch;
    },
  });
  onTestFinished(async () => {
    await close();
    await rm(scratch, { recursive: true });
  });
  const held = async () => {
    const paths = await readdir(scratch, { recursive: true });
    return paths.map((path) => basename(path)).filter((name) => /^[0-9a-f]{64}/.test(name));
  };
  return { ...made, source, held };
}

const TWO = [chunkedLayer(MANY.slice(0, 15)), chunkedLayer(MANY.slice(15, 30))] as const;

test("layers are held as far as the limit of bytes has room; others are read in parts", async () => {
  const most = Math.max(...TWO.map(({ bytes }) => bytes.length));
  const { source, held, requests } = await opened(TWO, most, []);
  const { entries } = await listAll(source);
  expect(await held()).toHaveLength(1);
  for (const { name, content } of MANY.slice(0, 30)) {
    const entry = entries.get(name);
    if (entry?.kind !== "file") throw new Error(`there is no file ${name}`);
    expect((await readAll(source, entry)).toString()).toBe(content);
  }
  expect(await held()).toHaveLength(1);
  expect(requests.length).toBeGreaterThan(10);
});

test("what was fetched in vain leaves nothing behind", async () => {
  const { source, held, blobs } = await opened([TWO[0]], 1e9, []);
  const other = Buffer.from(TWO[0].bytes);
  other[100] = (other[100] ?? 0) ^ 1;
  for (const [digest, bytes] of blobs) if (bytes.equals(TWO[0].bytes)) blobs.set(digest, other);
  await expect(listAll(source)).rejects.toMatchObject({ code: "invalid" });
  expect(await held()).toEqual([]);
});

test("a scratch directory that could not be made is made at the next try", async () => {
  const { source } = await opened([TWO[0]], 1e9, [1, 3]);
  for (let i = 0; i < 2; i++) await expect(listAll(source)).rejects.toThrow("no room");
  expect((await listAll(source)).entries.size).toBe(15);
});
