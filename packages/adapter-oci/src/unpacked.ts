/** Layers that lie unpacked in the scratch directory. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import {
  createMeter,
  createScratch,
  ExpansionError,
  type Extent,
  type Unpacked,
  withPlace,
} from "@pannier/archive";
import type { LaneData } from "@pannier/archive/lane";
import type { Entry, LaneSpec, SourceContext } from "@pannier/core/adapter";
import { type ImageStore, tocRange } from "@pannier/oci";
import { forEach } from "./for-each.ts";
import type { Layer } from "./image.ts";
import { indexLayer } from "./index-layer.ts";
import type { LayerTable } from "./table/table.ts";
import { unpackLayer } from "./unpack-layer.ts";

/** Names of scratch directories begin so; what is left of an earlier process is known by it. */
const PREFIX = "unpacked-";
const LANE = new URL(`./image-lane${extname(import.meta.url)}`, import.meta.url);

/** Layers that were unpacked together. */
interface Depot {
  readonly folder: string;
  readonly content: Unpacked;
  /** By the layer's key: what names begin with. */
  readonly prefixes: ReadonlyMap<string, string>;
}

export interface UnpackedLayers {
  /**
   * Unpacks layers side by side into one directory.
   * @param known Where to record what they hold. `undefined`: that is known already
   */
  unpack(
    layers: readonly Layer[],
    known: LayerTable | undefined,
    operation: string,
    signal: AbortSignal,
  ): Promise<void>;
  /** Where the content of a file is, if its layer lies unpacked. */
  extent(path: string, layer: string): Extent | undefined;
  /** The same entries; those of small files that lie unpacked tell a lane where. */
  placed(batches: AsyncIterable<readonly Entry[]>): AsyncGenerator<readonly Entry[]>;
  /** `undefined` where nothing lies unpacked. */
  lane(): Promise<LaneSpec | undefined>;
  /** Whether a layer's content is too large to unpack. Its table tells how large its files are, so they are read one by one. */
  isInflated(layer: string): boolean;
  /** Removes all of them. */
  clear(): Promise<void>;
}

export function unpackedLayers(
  store: ImageStore,
  root: string,
  context: SourceContext,
): UnpackedLayers {
  const { limits } = context;
  const depots: Depot[] = [];
  const inflated = new Set<string>();

  function extent(path: string, layer: string): Extent | undefined {
    for (const { content, prefixes } of depots) {
      const prefix = prefixes.get(layer);
      const found = prefix === undefined ? undefined : content.find(prefix + path);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  function withExtent(entry: Entry): Entry {
    if (entry.kind !== "file" || entry.ref === undefined) return entry;
    const found = extent(pathIn(root, entry.path), entry.ref);
    if (found === undefined || found.own) return entry;
    return { ...entry, ref: withPlace(entry.ref, basename(dirname(found.file)), found.start) };
  }

  return {
    async unpack(layers, known, operation, signal) {
      if (layers.length === 0) return;
      const folder = await mkdtemp(join(await context.scratch(), PREFIX));
      const scratch = await createScratch(folder);
      const meter = createMeter(limits);
      const prefixes = new Map(layers.map((layer, index) => [layer.key, `${index}/`]));
      let content: Unpacked | undefined;

      async function unpackOne(layer: Layer, inner: AbortSignal) {
        const prefix = prefixes.get(layer.key) as string;
        const writer = known?.write(layer);
        const unpacking = { store, layer, root, limits, meter, scratch, prefix, operation };
        try {
          await unpackLayer({ ...unpacking, signal: inner }, (row) => writer?.add(row));
        } catch (error) {
          if (!(error instanceof ExpansionError) || tocRange(layer.blob) === undefined) throw error;
          inflated.add(layer.key);
          prefixes.delete(layer.key);
          if (known !== undefined) await indexLayer(store, layer, root, known, inner);
          return;
        }
        inner.throwIfAborted();
        writer?.finish();
      }

      try {
        await forEach(
          layers,
          (layer, inner) => context.retry(() => unpackOne(layer, inner), inner),
          signal,
        );
        content = await scratch.finish();
        depots.push({ folder, content, prefixes });
      } finally {
        await scratch.close();
        if (content === undefined) await rm(folder, { recursive: true, force: true });
      }
    },

    extent,

    async *placed(batches) {
      for await (const batch of batches) yield depots.length === 0 ? batch : batch.map(withExtent);
    },

    async lane() {
      if (depots.length === 0) return undefined;
      const scratch = await context.scratch();
      return { module: LANE, data: { scratch } satisfies LaneData };
    },

    isInflated: (layer) => inflated.has(layer),

    async clear() {
      for (const { folder, content } of depots.splice(0)) {
        content.close();
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

/** Removes what an earlier process left in a scratch directory. */
export async function removeLeftovers(scratch: string): Promise<void> {
  for (const name of await readdir(scratch)) {
    if (name.startsWith(PREFIX)) await rm(join(scratch, name), { recursive: true, force: true });
  }
}

/** The path in the image of what the source has at a path. */
export function pathIn(root: string, path: string): string {
  return root === "" ? path : `${root}/${path}`;
}
