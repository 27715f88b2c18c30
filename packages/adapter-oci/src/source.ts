/** A source that is an image: what its layers hold, one over the other. */
import { extname, join } from "node:path";
import { createMeter, withoutPlace } from "@pannier/archive";
import { IGNORE_FILE, type Source, type SourceContext, SourceError } from "@pannier/core/adapter";
import { DIGEST, type ImageStore, type Reference, tocRange } from "@pannier/oci";
import { forEach } from "./for-each.ts";
import { type HeldLayers, heldLayers } from "./held.ts";
import { type Layer, readImage } from "./image.ts";
import type { LaneData } from "./image-lane.ts";
import { indexHeldLayer, indexLayer } from "./index-layer.ts";
import type { OciSettings } from "./options.ts";
import { LARGE_LAYER, makeReader } from "./read.ts";
import { makeSharedWork } from "./shared.ts";
import { checkImage } from "./signature.ts";
import { type LayerTable, openLayerTable } from "./table/table.ts";
import type { TagChoice } from "./tags.ts";
import { removeLeftovers } from "./scratch.ts";
import { pathIn, unpackedLayers } from "./unpacked.ts";

const TABLE = "layers.db";
const LANE = new URL(`./image-lane${extname(import.meta.url)}`, import.meta.url);

export interface ImageSourceInit {
  readonly store: ImageStore;
  readonly reference: Reference;
  readonly settings: OciSettings;
  /** Chooses the tag where the URL names none. */
  readonly choose: TagChoice | undefined;
  readonly context: SourceContext;
}

export function imageSource(init: ImageSourceInit): Source {
  const { store, reference, settings, choose, context } = init;
  const root = settings.path;
  const closing = new AbortController();
  const share = makeSharedWork(closing.signal);
  const held = heldLayers(store, context);
  const unpacked = unpackedLayers(store, root, held, context);
  const table = lazyTable(settings, context);
  /** The digest of the image that was listed last. */
  let listed: string | undefined;

  const tagNow = async (signal: AbortSignal) =>
    choose === undefined ? reference.tag : choose(await store.tags(signal));
  const nameNow = async (signal: AbortSignal) =>
    reference.digest ?? lockedDigest(context) ?? tagNow(signal);

  /** Each asks which image a tag names, as it may have moved since another asked. What that image holds is learned once for all. */
  async function load(name: string, signal: AbortSignal) {
    const image = await readImage(store, name, settings, signal);
    return share(
      `image ${image.digest}`,
      async (inner) => learnImage(init, image, table, held, unpacked, inner),
      signal,
    );
  }

  const reader = makeReader({
    store,
    root,
    unpacked,
    held,
    share,
    table: table.open,
    layersNow: async (signal) =>
      (await readImage(store, await nameNow(signal), settings, signal)).layers,
  });

  return {
    async probe(signal) {
      signal.throwIfAborted();
      const { digest } = reference;
      if (digest !== undefined) return { token: digest, revision: hexOf(digest), immutable: true };
      const found = lockedDigest(context) ?? (await store.resolve(await tagNow(signal), signal));
      return { token: found, revision: hexOf(found) };
    },

    async list(signal, scope) {
      signal.throwIfAborted();
      const { digest, layers, signature } = await load(await nameNow(signal), signal);
      listed = digest;
      const known = await table.open();
      await scope?.ignoreFile(known.entry(IGNORE_FILE, layers, root));
      return {
        entries: unpacked.placed(known.entries(layers, root, scope)),
        ordered: true,
        revision: hexOf(digest),
        token: () => digest,
        signature,
      };
    },

    async changes(from, to, signal, scope) {
      signal.throwIfAborted();
      const known = await table.open();
      const before = known.image(`sha256:${from}`);
      // What it held is gone: a listing costs no more.
      if (before?.every((layer) => known.has(layer)) !== true) return undefined;
      const name = `sha256:${to}`;
      const { layers, signature } = await load(name, signal);
      const changes = await known.compare(before, layers, root, scope);
      listed = name;
      return changes === undefined ? undefined : { changes, signature };
    },

    read: reader.read,

    async lane() {
      const folder = held.folder();
      if (folder === undefined && unpacked.isEmpty) return undefined;
      const data: LaneData = { scratch: await context.scratch(), held: folder };
      return { module: LANE, data };
    },

    localPath(entry) {
      const extent = unpacked.extent(pathIn(root, entry.path), withoutPlace(entry.ref ?? ""));
      if (extent?.own !== true) return undefined;
      return { path: extent.file, disposable: true, check: async () => {} };
    },

    async published(signal) {
      signal.throwIfAborted();
      if (listed === undefined) return;
      await (await table.open()).keepOnly(listed);
      await unpacked.clear();
      await held.clear();
      reader.reset();
    },

    version: (entry) => entry.fingerprint.slice(0, "sha256:".length + 12),
    identity: (signal) => store.identity(signal),
    ranges: true,
    contentAddressed: true,
    concurrency: 16,

    async close() {
      closing.abort(new SourceError("unavailable", "the source was closed"));
      await store.close();
      await table.close();
      await unpacked.clear().catch(() => {});
      await held.clear().catch(() => {});
    },
  };
}

/** The image that a lock file names. */
function lockedDigest({ locked }: SourceContext): string | undefined {
  const hex = locked?.();
  return hex !== undefined && DIGEST.test(`sha256:${hex}`) ? `sha256:${hex}` : undefined;
}

/** The table of layers, opened when it is first needed. */
function lazyTable({ path, platform }: OciSettings, context: SourceContext) {
  let opening: Promise<LayerTable> | undefined;
  const open = async () => {
    const scratch = await context.scratch();
    await removeLeftovers(scratch);
    const { os, architecture, variant = "" } = platform;
    return openLayerTable(join(scratch, TABLE), [path, os, architecture, variant].join("\n"));
  };
  return {
    open: () =>
      (opening ??= open().catch((error: unknown) => {
        // A full disk is not full for ever.
        opening = undefined;
        throw error;
      })),
    close: async () => (await opening?.catch(() => undefined))?.close(),
  };
}

/** The same image, all of its layers known. */
async function learnImage(
  { store, settings, context }: ImageSourceInit,
  { digest, layers }: Awaited<ReturnType<typeof readImage>>,
  table: ReturnType<typeof lazyTable>,
  held: HeldLayers,
  unpacked: Learning["unpacked"],
  signal: AbortSignal,
) {
  const { signers = [] } = context;
  // Before anything of its layers is looked at.
  const signature =
    signers.length === 0 ? undefined : await checkImage(store, digest, signers, signal);
  const known = await table.open();
  await learn({ store, root: settings.path, held, unpacked, context }, layers, known, signal);
  known.remember(digest, layers);
  return { digest, layers, signature };
}

interface Learning extends Pick<ImageSourceInit, "store" | "context"> {
  readonly root: string;
  readonly held: HeldLayers;
  readonly unpacked: ReturnType<typeof unpackedLayers>;
}

/** Looks at the layers that are not known yet: by their tables of contents where some are known, else whole. */
async function learn(
  { store, root, held, unpacked, context }: Learning,
  layers: readonly Layer[],
  known: LayerTable,
  signal: AbortSignal,
): Promise<void> {
  const unknown = [...new Map(layers.map((layer) => [layer.key, layer])).values()].filter(
    (layer) => !known.has(layer),
  );
  const follows = !known.isEmpty;
  const { plain, whole, parts } = Object.groupBy(unknown, ({ blob, title }) => {
    if (title !== undefined) return "parts";
    if (tocRange(blob) === undefined) return "plain";
    return follows || blob.size >= LARGE_LAYER ? "parts" : "whole";
  });
  const meter = createMeter(context.limits);
  const toUnpack = [...(plain ?? [])];
  const noRoom: Layer[] = [];
  await forEach(
    whole ?? [],
    async (layer, inner) => {
      if (!(await held.hold(layer, "list", inner))) noRoom.push(layer);
      else if (!(await indexHeldLayer(held, layer, root, known, meter, inner)))
        toUnpack.push(layer);
    },
    signal,
  );
  await unpacked.unpack(toUnpack, known, "list", signal);
  await forEach(
    [...(parts ?? []), ...noRoom],
    (layer, inner) => context.retry(() => indexLayer(store, layer, root, known, inner), inner),
    signal,
  );
}

function hexOf(digest: string): string {
  return digest.slice("sha256:".length);
}
