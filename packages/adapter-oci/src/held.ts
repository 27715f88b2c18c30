/** Layers with a table of contents that lie in the scratch directory as they came: their files are read by frames. */
import { open, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { readExtent, writeAll } from "@pannier/archive";
import type { SourceContext } from "@pannier/core/adapter";
import { type BlobRange, type ImageStore, once } from "@pannier/oci";
import type { Layer } from "./image.ts";
import { makeFolder } from "./scratch.ts";

export interface HeldLayers {
  /**
   * Fetches one whole, and checks it against its digest.
   *
   * @returns false where nothing was fetched, as all of them would have more than {@link Limits.maxBytes}
   */
  hold(layer: Layer, operation: string, signal: AbortSignal): Promise<boolean>;
  /** The file that one is in, if it is held. */
  path(layer: string): string | undefined;
  /** Bytes of one that is held. @throws SourceError `changed` where it is gone */
  read(layer: Layer, range: BlobRange, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** The name in the scratch directory of what they are in; `undefined` where none is held. */
  folder(): string | undefined;
  /** Removes all of them. */
  clear(): Promise<void>;
}

export function heldLayers(store: ImageStore, context: SourceContext): HeldLayers {
  const held = new Set<string>();
  /** Bytes of those that are held or fetched, by their keys. */
  const sizes = new Map<string, number>();
  let made: Promise<string> | undefined;
  let folder: string | undefined;
  async function make(): Promise<string> {
    try {
      return (folder = await makeFolder(await context.scratch()));
    } catch (error) {
      // A full disk is not full for ever.
      made = undefined;
      throw error;
    }
  }
  const path = (layer: string) =>
    folder !== undefined && held.has(layer) ? join(folder, layer) : undefined;

  return {
    async hold({ key, blob }, operation, signal) {
      const others = [...sizes].reduce((sum, [other, size]) => sum + (other === key ? 0 : size), 0);
      if (others + blob.size > context.limits.maxBytes) return false;
      sizes.set(key, blob.size);
      try {
        const file = join(await (made ??= make()), key);
        await context.retry(async () => {
          await write(`${file}.part`, await store.blob(blob, undefined, operation, signal));
          await rename(`${file}.part`, file);
        }, signal);
      } catch (error) {
        if (!held.has(key)) sizes.delete(key);
        throw error;
      }
      held.add(key);
      return true;
    },
    path,
    async read({ key, blob }, range, signal) {
      const extent = { file: path(key) as string, start: 0, own: false };
      const body = await readExtent(extent, blob, range, signal);
      return body instanceof Uint8Array ? once(body) : body;
    },
    folder: () => (held.size === 0 || folder === undefined ? undefined : basename(folder)),
    async clear() {
      held.clear();
      sizes.clear();
      const gone = await made?.catch(() => undefined);
      made = folder = undefined;
      if (gone !== undefined) await rm(gone, { recursive: true, force: true });
    },
  };
}

async function write(path: string, content: AsyncIterable<Uint8Array>): Promise<void> {
  const handle = await open(path, "w");
  try {
    for await (const chunk of content) await writeAll(handle, chunk);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}
