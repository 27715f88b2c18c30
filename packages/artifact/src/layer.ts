/** Writes a layer to a file: in zstd:chunked form, or as one plain tar.gz for readers that know no other. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
// Not by its names: a bundle has those of the Node that made it, which may have no zstd.
import zlib from "node:zlib";
import { pipeline } from "node:stream/promises";
import { constants } from "node:fs";
import { TAR_END, tarHeader, tarPadding } from "@pannier/archive";
import { type PublishedEntry, TargetError } from "@pannier/core";
import { makePause } from "@pannier/core/adapter";
import { type Descriptor, TOC_CHECKSUM, TOC_KIND, TOC_POSITION, digestOf } from "@pannier/oci";

/** Bytes of a file that go into one frame: a part of a large file is read by the frames that hold it. */
const FRAME = 8 << 20;
/** Frames up to this size are compressed at once: that costs less than handing them over. */
const SMALL = 64 << 10;
/** What decompressors skip (RFC 8878, 3.1.2). */
const SKIPPABLE = 0x184d2a50;
const FOOTER_MAGIC = "GNUlInUx";

export interface BuiltLayer extends Descriptor {
  readonly file: string;
  /** Of the archive before it is compressed. */
  readonly diffId: string;
}

export interface LayerInit {
  /** Where it is written to. */
  readonly file: string;
  /** Directory that the entries are in. */
  readonly tree: string;
  readonly entries: Iterable<PublishedEntry>;
  readonly signal: AbortSignal;
}

/** @throws TargetError where the tree is not what was recorded */
export async function writeChunkedLayer(init: LayerInit): Promise<BuiltLayer> {
  const { file, tree, entries, signal } = init;
  const output = await open(file, "wx");
  try {
    const out = makeOutput(output);
    const pause = makePause(signal);
    const toc: Record<string, unknown>[] = [];
    let padding = 0;
    for (const entry of entries) {
      const size = entry.kind === "file" ? entry.size : 0;
      const mode = entry.kind === "file" ? entry.mode : 0o777;
      const target = entry.kind === "symlink" ? entry.target : undefined;
      const header = tarHeader({ name: entry.path, mode, size, target });
      await out.frame(Buffer.concat([Buffer.alloc(padding), header]));
      padding = tarPadding(size);
      const common = { name: entry.path, mode, modtime: "1970-01-01T00:00:00Z" };
      if (entry.kind === "symlink") {
        toc.push({ type: "symlink", ...common, linkName: entry.target });
      } else {
        toc.push(...(await writeContent(out, tree, entry, common)));
      }
      await pause();
    }
    await out.frame(Buffer.concat([Buffer.alloc(padding), TAR_END]));
    const text = Buffer.from(JSON.stringify({ version: 1, entries: toc }));
    const packed = await compress(text);
    const annotations = await writeToc(out, text, packed);
    return {
      file,
      ...out.finish(),
      annotations,
      mediaType: "application/vnd.oci.image.layer.v1.tar+zstd",
    };
  } finally {
    await output.close();
  }
}

type Output = ReturnType<typeof makeOutput>;

function makeOutput(output: FileHandle) {
  const whole = createHash("sha256");
  const archive = createHash("sha256");
  let size = 0;
  let held: Buffer[] = [];
  let heldBytes = 0;
  const flush = async () => {
    const all = Buffer.concat(held);
    held = [];
    heldBytes = 0;
    await output.appendFile(all);
  };
  const raw = async (bytes: Buffer) => {
    whole.update(bytes);
    size += bytes.byteLength;
    held.push(bytes);
    heldBytes += bytes.byteLength;
    if (heldBytes > FRAME / 8) await flush();
  };
  return {
    get size() {
      return size;
    },
    raw,
    async frame(bytes: Buffer) {
      archive.update(bytes);
      await raw(await compress(bytes));
    },
    flush,
    finish: () => ({
      size,
      digest: `sha256:${whole.digest("hex")}`,
      diffId: `sha256:${archive.digest("hex")}`,
    }),
  };
}

/** Writes a file in frames of its own. @returns its entry in the table of contents, and those of further frames */
async function writeContent(
  out: Output,
  tree: string,
  entry: PublishedEntry & { kind: "file" },
  common: { readonly name: string },
): Promise<Record<string, unknown>[]> {
  const { size, sha256 } = entry;
  const digest = `sha256:${sha256}`;
  if (size === 0) return [{ type: "reg", ...common, digest }];
  const offset = out.size;
  const frames: { offset: number; chunkOffset: number; chunkSize: number; chunkDigest: string }[] =
    [];
  let start = 0;
  for await (const bytes of contentOf(tree, entry)) {
    const chunk = { offset: out.size, chunkOffset: start, chunkSize: bytes.byteLength };
    if (size > FRAME) frames.push({ ...chunk, chunkDigest: digestOf(bytes) });
    await out.frame(bytes);
    start += bytes.byteLength;
  }
  const [first, ...more] = frames;
  const own = first === undefined ? {} : { ...first, chunkOffset: 0 };
  return [
    { type: "reg", ...common, size, digest, ...own, offset, endOffset: out.size },
    ...more.map((frame) => ({ type: "chunk", name: common.name, ...frame })),
  ];
}

/** A file's content a frame at a time, checked against what was recorded. */
async function* contentOf(
  tree: string,
  entry: PublishedEntry & { kind: "file" },
): AsyncGenerator<Buffer> {
  const { path, size, sha256 } = entry;
  const sum = createHash("sha256");
  const handle = await open(
    join(tree, path),
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
  ).catch((error: unknown) => {
    throw changed(path, error);
  });
  try {
    let left = size;
    while (left > 0) {
      const bytes = Buffer.alloc(Math.min(FRAME, left));
      let filled = 0;
      while (filled < bytes.byteLength) {
        const { bytesRead } = await handle.read(bytes, filled, bytes.byteLength - filled);
        if (bytesRead === 0) throw changed(path);
        filled += bytesRead;
      }
      left -= filled;
      sum.update(bytes);
      // Nothing that was not published goes out: the last frame is held until the digest is right.
      if (left === 0 && sum.digest("hex") !== sha256) throw changed(path);
      yield bytes;
    }
  } finally {
    await handle.close();
  }
}

function changed(path: string, cause?: unknown): TargetError {
  return new TargetError(`${JSON.stringify(path)} is not what was published`, {
    hint: "another revision was published meanwhile, or somebody changed the tree: push again, or repair it",
    cause,
  });
}

/** @returns the annotations that tell where it is */
async function writeToc(out: Output, text: Buffer, packed: Buffer) {
  await out.raw(skippable(packed.byteLength));
  const offset = out.size;
  await out.raw(packed);
  const footer = Buffer.alloc(64);
  const numbers = [offset, packed.byteLength, text.byteLength, TOC_KIND, 0, 0, 0];
  for (const [index, value] of numbers.entries()) {
    footer.writeBigUInt64LE(BigInt(value), index * 8);
  }
  footer.write(FOOTER_MAGIC, 56, "latin1");
  await out.raw(Buffer.concat([skippable(footer.byteLength), footer]));
  await out.flush();
  return {
    [TOC_POSITION]: [offset, packed.byteLength, text.byteLength, TOC_KIND].join(":"),
    [TOC_CHECKSUM]: digestOf(packed),
  };
}

function skippable(length: number): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(SKIPPABLE, 0);
  header.writeUInt32LE(length, 4);
  return header;
}

async function compress(bytes: Buffer): Promise<Buffer> {
  return bytes.byteLength <= SMALL
    ? zlib.zstdCompressSync(bytes)
    : promisify(zlib.zstdCompress)(bytes);
}

/** All in one tar archive, compressed by gzip. */
export async function writePlainLayer(init: LayerInit): Promise<BuiltLayer> {
  const { file, tree, entries, signal } = init;
  const archive = createHash("sha256");
  const pause = makePause(signal);
  async function* tar(): AsyncGenerator<Buffer> {
    for (const entry of entries) {
      const size = entry.kind === "file" ? entry.size : 0;
      const mode = entry.kind === "file" ? entry.mode : 0o777;
      const target = entry.kind === "symlink" ? entry.target : undefined;
      yield tarHeader({ name: entry.path, mode, size, target });
      if (entry.kind === "file" && size > 0) yield* contentOf(tree, entry);
      if (size > 0) yield Buffer.alloc(tarPadding(size));
      await pause();
    }
    yield TAR_END;
  }
  async function* summed(): AsyncGenerator<Buffer> {
    for await (const bytes of tar()) {
      archive.update(bytes);
      yield bytes;
    }
  }
  const output = await open(file, "wx");
  await pipeline(summed(), zlib.createGzip(), output.createWriteStream(), { signal });
  const whole = createHash("sha256");
  let size = 0;
  for await (const chunk of createReadStream(file)) {
    whole.update(chunk as Buffer);
    size += (chunk as Buffer).byteLength;
  }
  return {
    file,
    size,
    digest: `sha256:${whole.digest("hex")}`,
    diffId: `sha256:${archive.digest("hex")}`,
    annotations: {},
    mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
  };
}
