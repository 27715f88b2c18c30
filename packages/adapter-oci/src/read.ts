/** Reads files of an image: out of layers that lie here, held or unpacked; by ranges of a layer; or after all of it was fetched. */
import { readExtent, withoutPlace } from "@pannier/archive";
import { type ByteRange, type Source, SourceError } from "@pannier/core/adapter";
import type { BlobRange, ImageStore } from "@pannier/oci";
import { type FramedFile, framedFile, readFrames } from "./frames.ts";
import type { HeldLayers } from "./held.ts";
import type { Layer } from "./image.ts";
import type { SharedWork } from "./shared.ts";
import type { LayerTable } from "./table/table.ts";
import { pathIn, type UnpackedLayers } from "./unpacked.ts";

/** A larger layer with a table of contents holds large files: they are read from where they lie, in parts, and go on where they were cut. */
export const LARGE_LAYER = 64 << 20;
/** Files that are read one by one out of a layer before all of it is taken instead. */
const FEW = 8;

export interface ReaderInit {
  readonly store: ImageStore;
  /** The directory of the image that the source shows, or "". */
  readonly root: string;
  readonly unpacked: UnpackedLayers;
  readonly held: HeldLayers;
  readonly share: SharedWork;
  readonly table: () => Promise<LayerTable>;
  /** The layers of the image that the reference names now. */
  readonly layersNow: (signal: AbortSignal) => Promise<readonly Layer[]>;
}

export interface Reader {
  readonly read: Source["read"];
  /** Forgets how many files were read one by one. */
  reset(): void;
}

export function makeReader(init: ReaderInit): Reader {
  const { store, root, unpacked, held, share, table, layersNow } = init;
  /** How many files were read one by one, by layer. */
  const singles = new Map<string, number>();

  /** The layer of that key, of an image that is known or of the one that is there now. */
  async function layerOf(key: string, signal: AbortSignal): Promise<Layer> {
    const images = (await table()).images();
    const found =
      images.flat().find((layer) => layer.key === key) ??
      (await layersNow(signal)).find((layer) => layer.key === key);
    if (found === undefined)
      throw new SourceError("changed", "the image no longer has such a layer");
    return found;
  }

  /** Gets bytes of a layer's blob. */
  async function fetchBlob({ blob }: Layer, range: BlobRange | undefined, signal: AbortSignal) {
    try {
      return await store.blob(blob, range, "read", signal);
    } catch (error) {
      if (!(error instanceof SourceError) || error.code !== "not-found") throw error;
      throw new SourceError("changed", "the registry no longer has that version", { cause: error });
    }
  }

  /** Reads a layer that is itself a file. */
  async function readTitled(layer: Layer, range: ByteRange | undefined, signal: AbortSignal) {
    const { size } = layer.blob;
    const offset = range?.offset ?? 0;
    const length = Math.min(range?.length ?? Infinity, size - offset);
    if (length <= 0) return new Uint8Array(0);
    const part = offset === 0 && length === size ? undefined : { offset, length };
    return fetchBlob(layer, part, signal);
  }

  /** Whether a file is read by itself, rather than with all of its layer. Counts it, if it is. */
  function readsAlone({ key, blob }: Layer): boolean {
    const count = (singles.get(key) ?? 0) + 1;
    const alone = count <= FEW || blob.size >= LARGE_LAYER;
    if (alone) singles.set(key, count);
    return alone;
  }

  /** Reads a file by its frames: out of its layer where that lies here, or has to by now. */
  async function readFramed(
    file: FramedFile,
    layer: Layer,
    range: ByteRange | undefined,
    signal: AbortSignal,
  ) {
    const { key } = layer;
    const fetch = (part: BlobRange) => fetchBlob(layer, part, signal);
    if (held.path(key) === undefined) {
      const hold = (inner: AbortSignal) => held.hold(layer, "read", inner);
      if (readsAlone(layer) || !(await share(`held layer ${key}`, hold, signal)))
        return readFrames(file, range, fetch, signal);
    }
    return readFrames(file, range, (part) => held.read(layer, part, signal), signal);
  }

  return {
    async read(entry, range, signal) {
      signal.throwIfAborted();
      const path = pathIn(root, entry.path);
      const sha256 = entry.fingerprint.replace("sha256:", "");
      const ref = withoutPlace(entry.ref ?? "");
      if (range?.length === 0 || (range?.offset ?? 0) >= (entry.size ?? Infinity)) {
        return new Uint8Array(0);
      }
      const found = (await table()).find(path, sha256, ref);
      const key = found?.layer ?? ref;
      const extent = unpacked.extent(path, key);
      if (extent !== undefined) return readExtent(extent, entry, range, signal);
      const layer = await layerOf(key, signal);
      if (layer.title !== undefined) return readTitled(layer, range, signal);
      const framed = found === undefined ? undefined : framedFile(found.row);
      if (framed !== undefined) return readFramed(framed, layer, range, signal);
      await share(
        `layer ${key}`,
        (inner) => unpacked.unpack([layer], undefined, "read", inner),
        signal,
      );
      const now = unpacked.extent(path, key);
      if (now === undefined) {
        throw new SourceError("changed", `${JSON.stringify(entry.path)} is not in the image`);
      }
      return readExtent(now, entry, range, signal);
    },

    reset: () => singles.clear(),
  };
}
