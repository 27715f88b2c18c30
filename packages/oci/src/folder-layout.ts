/** An image layout in a folder that somebody else reaches: a web server's, a bucket's. `index.json` names manifests, `blobs/sha256` holds everything. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Folder, type FolderFile, SourceError } from "@pannier/core/adapter";
import { imageIn, indexWith, readLayoutIndex, tagsIn } from "./layout-index.ts";
import type { Descriptor } from "./manifest.ts";
import { DIGEST, type Reference } from "./reference.ts";
import { checkedBlob, digestOf, type ImageStore, once, takeManifest } from "./store.ts";

const INDEX = "index.json";
const INDEX_TYPE = "application/json";
const BLOB_TYPE = "application/octet-stream";
/** Times that others may write the index first, and milliseconds between two tries. */
const MOST_LOST = 100;
const LONGEST_PAUSE = 2000;

/** Nothing is asked yet. */
export function openFolderLayout(folder: Folder, reference: Reference): ImageStore {
  /** The index that was read last: a poll asks whether there is another. */
  let known:
    | {
        readonly version: string | undefined;
        readonly fresh: boolean;
        readonly manifests: readonly Descriptor[];
      }
    | undefined;

  async function readIndex(operation: string, signal: AbortSignal) {
    // What "not modified" is about, whatever is read meanwhile.
    const before = known;
    const how = { unless: before?.fresh === true ? undefined : before?.version, operation };
    const found = await folder.read(INDEX, how, signal).catch((error: unknown) => {
      throw missing(error, "this is not an image layout, or not yet");
    });
    if (found === undefined) {
      if (before === undefined) throw new SourceError("invalid", `${INDEX} was not sent`);
      return before;
    }
    const { content, version, fresh } = found;
    const manifests = readLayoutIndex(await readIndexFile(content));
    known = { version, fresh, manifests };
    return known;
  }

  async function readBlob(digest: string, how: Parameters<Folder["read"]>[1], signal: AbortSignal) {
    const found = await folder.read(blobPath(digest), how, signal).catch((error: unknown) => {
      throw missing(error, `the blob ${digest} is not in the image layout`);
    });
    if (found === undefined) throw new SourceError("invalid", `the blob ${digest} was not sent`);
    return found.content;
  }

  const resolve = async (tag: string, signal: AbortSignal) =>
    imageIn((await readIndex("probe", signal)).manifests, tag, reference);

  async function putBlob(...[blob, content, signal]: Parameters<ImageStore["putBlob"]>) {
    const file = {
      size: blob.size,
      content: () => checkedBlob(content(), blob),
      sha256: blob.digest.slice("sha256:".length),
      type: BLOB_TYPE,
    };
    await folder.write(blobPath(blob.digest), file, signal);
  }

  async function putJson(
    path: string,
    bytes: Buffer,
    replaces: FolderFile["replaces"],
    signal: AbortSignal,
  ) {
    const file = {
      size: bytes.byteLength,
      content: () => once(bytes),
      sha256: digestOf(bytes).slice("sha256:".length),
      type: INDEX_TYPE,
      replaces,
    };
    await folder.write(path, file, signal);
  }

  /** @throws SourceError `changed` where somebody else wrote the index meanwhile */
  async function putTag(tag: string, image: Omit<Descriptor, "annotations">, signal: AbortSignal) {
    // Of now, not of the last poll: what others wrote stays.
    const before = await readIndex("look", signal).catch((error: unknown) => {
      if (error instanceof SourceError && error.code === "not-found") return undefined;
      throw error;
    });
    if ((await folder.size("oci-layout", signal)) === undefined) {
      const layout = Buffer.from('{"imageLayoutVersion":"1.0.0"}');
      await putJson("oci-layout", layout, { version: undefined }, signal);
    }
    const index = indexWith(before?.manifests ?? [], tag, image);
    // Of a server that tells no versions there is nothing to compare.
    const blind = before !== undefined && before.version === undefined;
    await putJson(INDEX, index, blind ? undefined : { version: before?.version }, signal);
  }

  return {
    resolve,
    async manifest(name, operation, signal) {
      const digest = DIGEST.test(name) ? name : await resolve(name, signal);
      return takeManifest(await readBlob(digest, { operation }, signal), digest);
    },
    async blob(blob, range, operation, signal) {
      if (range?.length === 0) return once(Buffer.alloc(0));
      const content = await readBlob(blob.digest, { range, operation }, signal);
      return range === undefined ? checkedBlob(content, blob) : content;
    },
    tags: async (signal) => tagsIn((await readIndex("probe", signal)).manifests),
    // Half of one may be left by a server that keeps what was cut.
    has: async ({ digest, size }, signal) => (await folder.size(blobPath(digest), signal)) === size,
    putBlob,
    async putManifest(tag, { bytes, mediaType }, signal) {
      const blob = { digest: digestOf(bytes), size: bytes.byteLength };
      await putBlob(blob, () => once(bytes), signal);
      if (DIGEST.test(tag)) return;
      await whileOthersWrite(() => putTag(tag, { mediaType, ...blob }, signal), signal);
    },
    identity: async (signal) => (await folder.identity(signal)) ?? "nothing: as anybody",
    close: () => folder.close(),
  };
}

/** Each try that fails is one in which somebody else got through, so it is none of those that a push has for failures. */
async function whileOthersWrite(write: () => Promise<void>, signal: AbortSignal): Promise<void> {
  for (let lost = 1; ; lost++) {
    try {
      return await write();
    } catch (error) {
      if (!(error instanceof SourceError) || error.code !== "changed" || lost === MOST_LOST)
        throw error;
    }
    await sleep(Math.random() * Math.min(100 * lost, LONGEST_PAUSE), undefined, { signal });
  }
}

async function readIndexFile(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const { bytes } = await takeManifest(content, INDEX);
  return bytes;
}

function blobPath(digest: string): string {
  return `blobs/${digest.replace(":", "/")}`;
}

/** The same error; where there is no such file, or no such bucket, in words of layouts first. */
function missing(error: unknown, what: string): unknown {
  if (!(error instanceof SourceError) || !/^(not-found|changed)$/.test(error.code)) return error;
  return new SourceError("not-found", `${what}: ${error.message}`, {
    reached: error.reached,
    hint: error.hint ?? "check the path in the URL; a registry is oci://",
  });
}
