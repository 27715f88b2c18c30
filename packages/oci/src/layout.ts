/** An image layout on this machine (the image specification): `index.json` names manifests, `blobs/sha256` holds everything. */
import { randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SourceError, UsageError } from "@pannier/core/adapter";
import { imageIn, indexWith, readLayoutIndex, tagsIn } from "./layout-index.ts";
import { inTurn } from "./in-turn.ts";
import { type Descriptor, MAX_MANIFEST } from "./manifest.ts";
import { DIGEST, type Reference } from "./reference.ts";
import { checkedBlob, digestOf, type ImageStore, takeManifest, once } from "./store.ts";

const PIECE = 256 * 1024;
/** Held while the index is written. It stays: somebody else may hold it as soon as it is free. */
const LOCK = "index.json.lock";

export interface LayoutInit {
  readonly reference: Reference;
  readonly onRequest?: ((operation: string) => void) | undefined;
}

/** Opens a layout; it is looked at only when something is asked of it. */
export function openLayout({ reference, onRequest }: LayoutInit): ImageStore {
  const directory = reference.repository;
  const indexFile = join(directory, "index.json");
  const blobFile = (digest: string) => join(directory, "blobs", digest.replace(":", "/"));

  async function readIndex(signal: AbortSignal): Promise<readonly Descriptor[]> {
    signal.throwIfAborted();
    const bytes = await readSmall(indexFile).catch((error: unknown) => {
      throw readError(error, "index.json", "this is not an image layout, or not yet");
    });
    return readLayoutIndex(bytes);
  }

  async function resolve(tag: string, signal: AbortSignal): Promise<string> {
    onRequest?.("probe");
    return imageIn(await readIndex(signal), tag, reference);
  }

  async function putTag(
    tag: string,
    image: Omit<Descriptor, "annotations">,
    signal: AbortSignal,
  ): Promise<void> {
    const before = await readIndex(signal).catch((error: unknown) => {
      if (error instanceof SourceError && error.code === "not-found") return [];
      throw error;
    });
    await writeFile(join(directory, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
    await replace(indexFile, once(indexWith(before, tag, image)), signal);
  }

  return {
    resolve,
    async manifest(name, operation, signal) {
      const digest = DIGEST.test(name) ? name : await resolve(name, signal);
      onRequest?.(operation);
      signal.throwIfAborted();
      const bytes = await readSmall(blobFile(digest)).catch((error: unknown) => {
        throw readError(error, `the manifest ${digest}`, "it is not in the image layout");
      });
      return takeManifest(once(bytes), digest);
    },
    async blob(blob, range, operation, signal) {
      onRequest?.(operation);
      signal.throwIfAborted();
      const path = blobFile(blob.digest);
      const { offset = 0, length = blob.size } = range ?? {};
      if (range?.length === 0) return once(Buffer.alloc(0));
      const info = await stat(path).catch((error: unknown) => {
        throw readError(error, `the blob ${blob.digest}`, "it is not in the image layout");
      });
      if (!info.isFile()) throw new SourceError("invalid", `the blob ${blob.digest} is not a file`);
      const bytes = piecesOf(path, offset, length, signal);
      return range === undefined ? checkedBlob(bytes, blob) : bytes;
    },
    async tags(signal) {
      onRequest?.("probe");
      return tagsIn(await readIndex(signal));
    },
    async has({ digest, size }) {
      return stat(blobFile(digest)).then(
        (info) => info.isFile() && info.size === size,
        () => false,
      );
    },
    async putBlob(blob, content, signal) {
      await replace(blobFile(blob.digest), checkedBlob(content(), blob), signal);
    },
    async putManifest(tag, { bytes, mediaType }, signal) {
      const digest = digestOf(bytes);
      await replace(blobFile(digest), once(bytes), signal);
      if (DIGEST.test(tag)) return;
      const image = { mediaType, digest, size: bytes.byteLength };
      await inTurn(join(directory, LOCK), signal, () => putTag(tag, image, signal));
    },
    identity: async () => "nothing: it is on this machine",
    close: async () => {},
  };
}

async function readSmall(path: string): Promise<Buffer> {
  const info = await stat(path);
  if (!info.isFile()) throw new SourceError("invalid", `${path} is not a file`);
  if (info.size > MAX_MANIFEST) {
    throw new SourceError("invalid", `${path} has more than ${MAX_MANIFEST} bytes`);
  }
  return readFile(path);
}

function readError(error: unknown, what: string, missing: string): SourceError {
  if (error instanceof SourceError) return error;
  const { code = "unknown" } = error as NodeJS.ErrnoException;
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new SourceError("not-found", `${what}: ${missing}`, {
      hint: "check the directory in the URL",
    });
  }
  return new SourceError("unavailable", `${what} cannot be read (${code})`, {
    transient: false,
    hint: "check its mode",
  });
}

/** Opens the file for each piece: a body that nobody reads to its end holds nothing. */
async function* piecesOf(
  path: string,
  offset: number,
  length: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (let at = offset; at < offset + length; at += PIECE) {
    signal.throwIfAborted();
    const end = Math.min(at + PIECE, offset + length) - 1;
    let came = 0;
    for await (const chunk of createReadStream(path, { start: at, end, highWaterMark: PIECE })) {
      came += (chunk as Buffer).byteLength;
      yield chunk as Buffer;
    }
    if (came !== end - at + 1) throw new SourceError("invalid", "a blob is shorter than it should");
  }
}

/** A reader sees the old file or the new one, also after a power cut. */
async function replace(
  path: string,
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const temporary = `${path}.${randomUUID()}`;
  try {
    await mkdir(join(path, ".."), { recursive: true });
    const file = await open(temporary, "wx");
    try {
      for await (const chunk of content) {
        signal.throwIfAborted();
        await file.appendFile(chunk);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    const { code } = error as NodeJS.ErrnoException;
    if (typeof code !== "string" || error instanceof SourceError) throw error;
    throw new UsageError(`the image layout cannot be written (${code})`, "check the directory", {
      cause: error,
    });
  }
}
