/** Layers that lie unpacked in the scratch directory. */
import { rm } from "node:fs/promises";
import { basename, dirname } from "node:path";
import {
  createMeter,
  createScratch,
  ExpansionError,
  type Extent,
  type Unpacked,
  withoutPlace,
  withPlace,
} from "@pannier/archive";
import type { Entry, SourceContext } from "@pannier/core/adapter";
import { type ImageStore, tocRange } from "@pannier/oci";
import { forEach } from "./for-each.ts";
import type { HeldLayers } from "./held.ts";
import type { Layer } from "./image.ts";
import { indexLayer } from "./index-layer.ts";
import { makeFolder } from "./scratch.ts";
import type { LayerTable } from "./table/table.ts";
import { unpackLayer } from "./unpack-layer.ts";

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
  /** Whether anything lies unpacked. */
  readonly isEmpty: boolean;
  /** Removes all of them. */
  clear(): Promise<void>;
}

export function unpackedLayers(
  store: ImageStore,
  root: string,
  held: HeldLayers,
  context: SourceContext,
): UnpackedLayers {
  const { limits } = context;
  const depots: Depot[] = [];

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
    const layer = withoutPlace(entry.ref);
    const found = extent(pathIn(root, entry.path), layer);
    if (found === undefined || found.own) return entry;
    return { ...entry, ref: withPlace(layer, basename(dirname(found.file)), found.start) };
  }

  return {
    async unpack(layers, known, operation, signal) {
      if (layers.length === 0) return;
      const folder = await makeFolder(await context.scratch());
      const scratch = await createScratch(folder);
      const meter = createMeter(limits);
      const prefixes = new Map<string, string>();
      let tries = 0;
      let content: Unpacked | undefined;

      async function unpackOne(layer: Layer, inner: AbortSignal) {
        // What a try left that was cut is none of the layer's.
        const prefix = `${tries++}/`;
        const attempt = meter.attempt();
        const writer = known?.write(layer);
        const fetch = () =>
          held.path(layer.key) === undefined
            ? store.blob(layer.blob, undefined, operation, inner)
            : held.read(layer, { offset: 0, length: layer.blob.size }, inner);
        const unpacking = {
          layer,
          fetch,
          root,
          limits,
          meter: attempt,
          scratch,
          prefix,
          signal: inner,
        };
        try {
          await unpackLayer(unpacking, (row) => writer?.add(row));
        } catch (error) {
          attempt.undo();
          if (!(error instanceof ExpansionError) || tocRange(layer.blob) === undefined) throw error;
          if (known !== undefined) await indexLayer(store, layer, root, known, inner);
          return;
        }
        inner.throwIfAborted();
        writer?.finish();
        prefixes.set(layer.key, prefix);
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

    get isEmpty() {
      return depots.length === 0;
    },

    async clear() {
      for (const { folder, content } of depots.splice(0)) {
        content.close();
        await rm(folder, { recursive: true, force: true });
      }
    },
  };
}

/** The path in the image of what the source has at a path. */
export function pathIn(root: string, path: string): string {
  return root === "" ? path : `${root}/${path}`;
}
