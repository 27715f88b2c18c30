/** A source that is an image: what its layers hold, one over the other. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  createMeter,
  createScratch,
  ExpansionError,
  type Extent,
  readExtent,
  type Unpacked,
} from "@pannier/archive";
import { IGNORE_FILE, type Source, type SourceContext, SourceError } from "@pannier/core/adapter";
import { type ImageStore, readToc, type Reference, tocRange } from "@pannier/oci";
import { type FramedFile, framedFile, readFrames } from "./frames.ts";
import { type Layer, readImage } from "./image.ts";
import type { OciSettings } from "./options.ts";
import { fileRow, destinationOf, refusedRow, rowsOfToc } from "./members.ts";
import { makeSharedWork } from "./shared.ts";
import { checkImage } from "./signature.ts";
import { type LayerTable, openLayerTable } from "./table/table.ts";
import type { TagChoice } from "./tags.ts";
import { unpackLayer } from "./unpack-layer.ts";

/** Names of scratch directories begin so; what is left of an earlier process is known by it. */
const PREFIX = "unpacked-";
const TABLE = "layers.db";
/** Layers that are taken at once. */
const AT_ONCE = 6;
/** A larger layer with a table of contents holds large files: they are read from where they lie, in parts, and go on where they were cut. */
const LARGE_LAYER = 64 << 20;
/** Files that are read one by one out of a layer before all of it is taken instead. */
const FEW = 8;

export interface ImageSourceInit {
  readonly store: ImageStore;
  readonly reference: Reference;
  readonly settings: OciSettings;
  /** Chooses the tag where the URL names none. */
  readonly choose: TagChoice | undefined;
  readonly context: SourceContext;
}

/** Layers that lie unpacked on the disk. */
interface Depot {
  readonly folder: string;
  readonly content: Unpacked;
  /** By the layer's key: what names begin with. */
  readonly prefixes: ReadonlyMap<string, string>;
}

export function imageSource(init: ImageSourceInit): Source {
  const { store, reference, settings, choose, context } = init;
  const { signers = [] } = context;
  const root = settings.path;
  const closing = new AbortController();
  const share = makeSharedWork(closing.signal);
  const depots: Depot[] = [];
  /** How many files were read one by one, by layer. */
  const singles = new Map<string, number>();
  /** Layers of which the content is far larger than they are: their tables tell how large, and their files are read within that. */
  const inflated = new Set<string>();
  let opening: Promise<LayerTable> | undefined;
  let opened: LayerTable | undefined;
  /** The digest of the image that was listed last. */
  let listed: string | undefined;

  async function openTable(): Promise<LayerTable> {
    const scratch = await context.scratch();
    for (const name of await readdir(scratch)) {
      if (name.startsWith(PREFIX)) await rm(join(scratch, name), { recursive: true, force: true });
    }
    const { os, architecture, variant = "" } = settings.platform;
    opened = openLayerTable(join(scratch, TABLE), [root, os, architecture, variant].join("\n"));
    return opened;
  }
  const table = () => (opening ??= openTable());

  const tagNow = async (signal: AbortSignal) =>
    choose === undefined ? reference.tag : choose(await store.tags(signal));

  /** The layers of an image, all of them known. */
  async function load(name: string, signal: AbortSignal) {
    const { digest, layers } = await readImage(store, name, settings, signal);
    // Before anything of its layers is looked at.
    const signature =
      signers.length === 0 ? undefined : await checkImage(store, digest, signers, signal);
    const known = await table();
    await know(layers, known, signal);
    known.remember(digest, layers);
    return { digest, layers, signature };
  }

  /** Looks at the layers that are not known yet: by their tables of contents where some are known, else whole. */
  async function know(layers: readonly Layer[], known: LayerTable, signal: AbortSignal) {
    const unknown = [...new Map(layers.map((layer) => [layer.key, layer])).values()].filter(
      (layer) => !known.has(layer),
    );
    const follows = !known.isEmpty;
    const whole = unknown.filter(({ blob, title }) => {
      const toc = title === undefined ? tocRange(blob) : undefined;
      return title === undefined && (toc === undefined || (!follows && blob.size < LARGE_LAYER));
    });
    await unpackAll(whole, known, "list", signal);
    await forEach(
      unknown.filter((layer) => !whole.includes(layer)),
      (layer, inner) => context.retry(() => look(layer, known, inner), inner),
      signal,
    );
  }

  /** Learns what a layer holds without its content. */
  async function look(layer: Layer, known: LayerTable, signal: AbortSignal): Promise<void> {
    const { blob, title, whiteouts } = layer;
    const writer = known.write(layer);
    if (title !== undefined) {
      const destination = destinationOf(title, root, false);
      const sha256 = blob.digest.slice("sha256:".length);
      const facts = { size: blob.size, sha256, mode: undefined, mtime: undefined };
      if (destination.kind === "refused") writer.add(refusedRow(destination.path, destination.why));
      if (destination.kind === "member" && destination.path !== "")
        writer.add(fileRow(destination.path, facts));
    } else {
      const toc = tocRange(blob);
      if (toc === undefined) throw new Error("a layer without a table of contents");
      const { offset, length } = toc;
      const bytes: Uint8Array[] = [];
      for await (const chunk of await store.blob(blob, { offset, length }, "list", signal)) {
        bytes.push(Buffer.from(chunk));
      }
      const entries = await readToc(Buffer.concat(bytes), toc);
      signal.throwIfAborted();
      for (const row of rowsOfToc(entries, root, whiteouts).values()) writer.add(row);
    }
    writer.finish();
  }

  /** Unpacks layers side by side into one depot. @param known `undefined`: what they hold is known already */
  async function unpackAll(
    layers: readonly Layer[],
    known: LayerTable | undefined,
    operation: string,
    signal: AbortSignal,
  ): Promise<void> {
    if (layers.length === 0) return;
    const { limits } = context;
    const folder = await mkdtemp(join(await context.scratch(), PREFIX));
    const scratch = await createScratch(folder);
    const meter = createMeter(limits);
    const prefixes = new Map(layers.map((layer, index) => [layer.key, `${index}/`]));
    let content: Unpacked | undefined;
    try {
      await forEach(
        layers,
        (layer, inner) => {
          const prefix = prefixes.get(layer.key) as string;
          const unpacking = { store, layer, root, limits, meter, scratch, prefix, operation };
          return context.retry(async () => {
            const writer = known?.write(layer);
            try {
              await unpackLayer({ ...unpacking, signal: inner }, (row) => writer?.add(row));
            } catch (error) {
              if (!(error instanceof ExpansionError) || tocRange(layer.blob) === undefined) {
                throw error;
              }
              inflated.add(layer.key);
              prefixes.delete(layer.key);
              if (known !== undefined) await look(layer, known, inner);
              return;
            }
            inner.throwIfAborted();
            writer?.finish();
          }, inner);
        },
        signal,
      );
      content = await scratch.finish();
      depots.push({ folder, content, prefixes });
    } finally {
      await scratch.close();
      if (content === undefined) await rm(folder, { recursive: true, force: true });
    }
  }

  /** Where the content of a file is, if it lies on the disk. */
  function extentOf(path: string, layer: string): Extent | undefined {
    for (const { content, prefixes } of depots) {
      const prefix = prefixes.get(layer);
      const extent = prefix === undefined ? undefined : content.find(prefix + path);
      if (extent !== undefined) return extent;
    }
    return undefined;
  }

  /** The layer of that key, of an image that is known or of the one that is there now. */
  async function layerOf(key: string, signal: AbortSignal): Promise<Layer> {
    const known = await table();
    const images = known.images();
    const found = images.flat().find((layer) => layer.key === key);
    if (found !== undefined) return found;
    const name = reference.digest ?? (await tagNow(signal));
    const { layers } = await readImage(store, name, settings, signal);
    const now = layers.find((layer) => layer.key === key);
    if (now !== undefined) return now;
    throw new SourceError("changed", "the image has no such layer any more");
  }

  const withRoot = (path: string) => (root === "" ? path : `${root}/${path}`);

  return {
    async probe(signal) {
      signal.throwIfAborted();
      const { digest } = reference;
      if (digest !== undefined) return { token: digest, revision: hexOf(digest), immutable: true };
      const found = await store.resolve(await tagNow(signal), signal);
      return { token: found, revision: hexOf(found) };
    },

    async list(signal, scope) {
      signal.throwIfAborted();
      const name = reference.digest ?? (await tagNow(signal));
      const { digest, layers, signature } = await share(
        `image ${name}`,
        (inner) => load(name, inner),
        signal,
      );
      listed = digest;
      const known = await table();
      await scope?.ignoreFile(known.entry(IGNORE_FILE, layers, root));
      return {
        entries: known.entries(layers, root, scope),
        ordered: true,
        revision: hexOf(digest),
        token: () => digest,
        signature,
      };
    },

    async changes(from, to, signal, scope) {
      signal.throwIfAborted();
      const known = await table();
      const before = known.image(`sha256:${from}`);
      // What it held is gone: a listing costs no more.
      if (before?.every((layer) => known.has(layer)) !== true) return undefined;
      const name = `sha256:${to}`;
      const { layers, signature } = await share(
        `image ${name}`,
        (inner) => load(name, inner),
        signal,
      );
      const changes = await known.compare(before, layers, root, scope);
      listed = name;
      return changes === undefined ? undefined : { changes, signature };
    },

    async read(entry, range, signal) {
      signal.throwIfAborted();
      const path = withRoot(entry.path);
      const sha256 = entry.fingerprint.replace("sha256:", "");
      const ref = entry.ref ?? "";
      if (range?.length === 0 || (range?.offset ?? 0) >= (entry.size ?? Infinity)) {
        return new Uint8Array(0);
      }
      const found = (await table()).find(path, sha256, ref);
      const key = found?.layer ?? ref;
      const extent = extentOf(path, key);
      if (extent !== undefined) return readExtent(extent, entry, range, signal);
      const layer = await layerOf(key, signal);
      if (layer.title !== undefined) return readBlob(layer, range, signal);
      const file = found === undefined ? undefined : framedFile(found.row);
      const framed = (parts: FramedFile) =>
        readFrames(parts, range, (part) => fetched(layer, part, signal));
      const count = (singles.get(key) ?? 0) + 1;
      const isFramed = count <= FEW || layer.blob.size >= LARGE_LAYER || inflated.has(key);
      if (file !== undefined && isFramed) {
        singles.set(key, count);
        return framed(file);
      }
      await share(`layer ${key}`, (inner) => unpackAll([layer], undefined, "read", inner), signal);
      if (file !== undefined && inflated.has(key)) return framed(file);
      const now = extentOf(path, key);
      if (now === undefined) {
        throw new SourceError("changed", `${JSON.stringify(entry.path)} is not in the image`);
      }
      return readExtent(now, entry, range, signal);
    },

    localPath(entry) {
      const extent = extentOf(withRoot(entry.path), entry.ref ?? "");
      if (extent?.own !== true) return undefined;
      return { path: extent.file, disposable: true, check: async () => {} };
    },

    async published(signal) {
      signal.throwIfAborted();
      if (listed === undefined) return;
      await (await table()).keepOnly(listed);
      await drop(depots.splice(0));
      singles.clear();
    },

    version: (entry) => entry.fingerprint.slice(0, "sha256:".length + 12),
    identity: (signal) => store.identity(signal),
    ranges: true,
    contentAddressed: true,
    concurrency: 16,

    async close() {
      closing.abort(new SourceError("unavailable", "the source was closed"));
      await store.close();
      await opening?.catch(() => {});
      opened?.close();
      await drop(depots.splice(0)).catch(() => {});
    },
  };

  async function readBlob(
    { blob }: Layer,
    range: { readonly offset: number; readonly length?: number | undefined } | undefined,
    signal: AbortSignal,
  ) {
    const offset = range?.offset ?? 0;
    const length = Math.min(range?.length ?? Infinity, blob.size - offset);
    if (length <= 0) return new Uint8Array(0);
    return fetched(
      { blob },
      offset === 0 && length === blob.size ? undefined : { offset, length },
      signal,
    );
  }

  async function fetched(
    { blob }: Pick<Layer, "blob">,
    range: { readonly offset: number; readonly length: number } | undefined,
    signal: AbortSignal,
  ) {
    try {
      return await store.blob(blob, range, "read", signal);
    } catch (error) {
      if (!(error instanceof SourceError) || error.code !== "not-found") throw error;
      throw new SourceError("changed", "the registry has that version no more", { cause: error });
    }
  }
}

function hexOf(digest: string): string {
  return digest.slice("sha256:".length);
}

async function drop(depots: readonly Depot[]): Promise<void> {
  for (const { folder, content } of depots) {
    content.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Some at a time; the first failure ends the others. */
async function forEach<Item>(
  items: readonly Item[],
  work: (item: Item, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const inner = AbortSignal.any([signal, failed.signal]);
  const queue = items.values();
  const worker = async () => {
    for (const item of queue) {
      inner.throwIfAborted();
      await work(item, inner);
    }
  };
  const workers = Array.from({ length: Math.min(AT_ONCE, items.length) }, async () =>
    worker().catch((error: unknown) => {
      failed.abort(error);
      throw error;
    }),
  );
  // All have to be at their end before what they write to is taken away.
  await Promise.allSettled(workers);
  await Promise.all(workers);
}
