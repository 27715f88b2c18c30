/** Pushes what is published at a target as an image. */
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Adapter,
  type Credentials,
  type ErrorCode,
  type Location,
  openPublished,
  PannierError,
  type PublishedTree,
  parseLocation,
  redact,
  resolveFolder,
  retry,
  type RetryOptions,
  SourceError,
  UsageError,
} from "@pannier/core";
import {
  type Descriptor,
  digestOf,
  type ImageStore,
  MEDIA,
  needZstd,
  openStore,
  parseManifest,
  referenceOf,
  SCHEMES,
  once,
} from "@pannier/oci";
import type { SigningKey } from "@pannier/signatures/sign";
import { groupEntries } from "./groups.ts";
import { writeChunkedLayer, writePlainLayer } from "./layer.ts";
import { signPushed } from "./sign.ts";

/** Says which files a layer holds, so that the next push need not make it again to know that it is the same. */
const GROUP = "dev.pannier.group";
/** Layers at most: overlay file systems take some 120. */
const MOST_LAYERS = 100;
const AT_ONCE = 4;
const ATTEMPTS = 5;
const MAX_CONFIG = 4 << 20;

export interface PushInit {
  /** Whose published tree is pushed. */
  readonly target: string;
  /** `oci://registry/repository:tag`, `oci+http://…`, `oci+file:///directory:tag`; with adapters, `oci+s3://bucket/prefix:tag` and its like. */
  readonly destination: string;
  /** Those that reach the folder of a layout: for `oci+s3`, the adapter of `s3`. Default: none. */
  readonly adapters?: readonly Adapter[] | undefined;
  /** Layers at most; 1 is a plain tar.gz, as Flux wants it. Default 100. */
  readonly layers?: number | undefined;
  /** What the image is signed with, before the tag names it. */
  readonly sign?: SigningKey | undefined;
  /** For the destination. */
  readonly credentials?: Credentials | undefined;
  /** Where proxies and files of Docker and podman are looked up. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds. Default 30,000. */
  readonly idleTimeout?: number | undefined;
  /** How often one upload is tried in all. Default 5. */
  readonly attempts?: number | undefined;
  /** Told of each attempt that failed and is made again. */
  readonly onRetry?: RetryOptions["onRetry"];
  readonly signal: AbortSignal;
}

export interface PushResult {
  /** The destination, without secrets. */
  readonly destination: string;
  readonly revision: string;
  /** Of the manifest. */
  readonly digest: string;
  /** False where the tag named just this already. */
  readonly changed: boolean;
  /** True where it was signed now, false where it was signed before or is not to be. */
  readonly signed: boolean;
  readonly files: number;
  readonly layers: number;
  /** Layers that had to be sent, and bytes of all that was sent. */
  readonly sentLayers: number;
  readonly sentBytes: number;
}

/**
 * Takes a destination apart.
 *
 * @param adapters that reach the folder of a layout: for `oci+s3`, the adapter of `s3`. Default: none
 * @throws UsageError where it is none
 */
export function parseDestination(text: string, adapters: readonly Adapter[] = []): Location {
  return placeOf(text, adapters).location;
}

function placeOf(text: string, adapters: readonly Adapter[]) {
  const location = parseLocation(text);
  const { scheme } = location;
  if (!/^oci(\+|$)/.test(scheme)) {
    throw new UsageError(
      "the destination is not an image",
      "write oci://registry/repository:tag, or oci+file:///directory:tag",
    );
  }
  const folder = SCHEMES.includes(scheme) ? undefined : resolveFolder(location, "oci+", adapters);
  const { digest } = referenceOf(location);
  if (digest !== undefined) {
    throw new UsageError("a digest cannot be pushed to", "write a tag instead");
  }
  const shown = redact(location, Object.keys(folder?.adapter.options ?? {}));
  return { location, folder, shown };
}

/**
 * Pushes the published tree. Layers that are there already are not sent; the tag is moved last.
 *
 * @throws UsageError, PushError, TargetError, RefusedError
 */
export async function pushPublished(init: PushInit): Promise<PushResult> {
  const place = placeOf(init.destination, init.adapters ?? []);
  try {
    return await push(init, place);
  } catch (error) {
    throw error instanceof SourceError ? new PushError(place.shown, error) : error;
  }
}

/** The destination failed. */
class PushError extends PannierError {
  override readonly name = "PushError";
  readonly code: ErrorCode;
  readonly exitCode: number;
  readonly transient: boolean;
  constructor(destination: string, cause: SourceError) {
    super(`cannot push to ${destination}: ${cause.message}`, { cause, hint: cause.hint });
    this.code = cause.code;
    this.exitCode = cause.exitCode;
    this.transient = cause.transient;
  }
}

async function push(
  init: PushInit,
  { location, folder, shown }: ReturnType<typeof placeOf>,
): Promise<PushResult> {
  if ((init.layers ?? MOST_LAYERS) > 1) needZstd();
  const reference = referenceOf(location);
  const { credentials = {}, idleTimeout = 30_000 } = init;
  const store = await openStore({
    location,
    reference,
    actions: "pull,push",
    credentials,
    env: init.env,
    idleTimeout,
    folder: async (pathname) => {
      if (folder === undefined) throw new UsageError("the destination is in no folder");
      return folder.open(pathname, { credentials, idleTimeout, request() {} });
    },
  });
  try {
    const tree = openPublished(init.target);
    try {
      const pushed = await pushTree(tree, store, reference.tag, init);
      return { destination: shown, ...pushed };
    } finally {
      tree.close();
    }
  } finally {
    await store.close();
  }
}

/** Pushes a tree to a tag of a store. */
export async function pushTree(
  tree: Omit<PublishedTree, "close">,
  store: ImageStore,
  tag: string,
  init: Pick<PushInit, "layers" | "sign" | "attempts" | "onRetry" | "signal">,
): Promise<Omit<PushResult, "destination">> {
  const { layers: limit = MOST_LAYERS, attempts = ATTEMPTS, onRetry, signal } = init;
  const again = <Result>(task: () => Promise<Result>) => retry(task, { attempts, signal, onRetry });
  const sent = { layers: 0, bytes: 0 };
  const put = (
    blob: Pick<Descriptor, "digest" | "size">,
    content: () => AsyncIterable<Uint8Array>,
  ): Promise<boolean> =>
    again(async () => {
      if (await store.has(blob, signal)) return false;
      await store.putBlob(blob, content, signal);
      sent.bytes += blob.size;
      return true;
    });
  const putBytes = async (content: Buffer): Promise<void> => {
    const blob = { digest: digestOf(content), size: content.byteLength };
    await put(blob, () => once(content));
  };
  const work = await mkdtemp(join(tmpdir(), "pannier-push-"));
  const before = await again(() => lastPush(store, tag, signal)).catch(removing);
  const groups = await groupEntries(tree.entries(), limit, join(work, "groups.db"), signal).catch(
    removing,
  );
  try {
    const form = limit === 1 ? "plain" : "chunked";
    const write = limit === 1 ? writePlainLayer : writeChunkedLayer;
    const layers = await mapSome(groups.groups, async (group, index): Promise<PushedLayer> => {
      const name = `${form} ${group.key}`;
      const known = before?.layers.get(name);
      if (known !== undefined) return known;
      const file = join(work, `layer-${index}`);
      const built = await write({ file, tree: tree.path, entries: group.entries(), signal });
      if (await put(built, () => createReadStream(file))) sent.layers++;
      await rm(file);
      const { mediaType, digest, size, diffId } = built;
      const annotations = { ...built.annotations, [GROUP]: name };
      return { blob: { mediaType, digest, size, annotations }, diffId };
    });
    const config = Buffer.from(JSON.stringify(configOf(layers)));
    const described = { digest: digestOf(config), size: config.byteLength };
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA.manifest,
        config: { mediaType: MEDIA.config, ...described },
        layers: layers.map(({ blob }) => blob),
        annotations: {
          "org.opencontainers.image.revision": tree.revision,
          "org.opencontainers.image.source": tree.sources.join(" "),
        },
      }),
    );
    const digest = digestOf(bytes);
    const changed = digest !== before?.digest;
    const { sign } = init;
    if (changed) await put(described, () => once(config));
    // The tag never names what is to be signed and is not.
    const signed =
      sign !== undefined &&
      (await again(async () => {
        const image = { digest, size: bytes.byteLength };
        if (changed) await store.putManifest(digest, { bytes, mediaType: MEDIA.manifest }, signal);
        return signPushed(store, image, sign, putBytes, signal);
      }));
    if (changed) {
      await again(() => store.putManifest(tag, { bytes, mediaType: MEDIA.manifest }, signal));
      sent.bytes += bytes.byteLength;
    }
    return {
      revision: tree.revision,
      digest,
      changed,
      signed,
      files: groups.files,
      layers: layers.length,
      sentLayers: sent.layers,
      sentBytes: sent.bytes,
    };
  } finally {
    groups.close();
    await rm(work, { recursive: true, force: true });
  }

  async function removing(error: unknown): Promise<never> {
    await rm(work, { recursive: true, force: true });
    throw error;
  }
}

interface PushedLayer {
  readonly blob: Descriptor;
  readonly diffId: string;
}

/** What the tag names now, as far as it is ours: its layers by what they hold. */
async function lastPush(
  store: ImageStore,
  tag: string,
  signal: AbortSignal,
): Promise<
  { readonly digest: string; readonly layers: ReadonlyMap<string, PushedLayer> } | undefined
> {
  try {
    const { bytes, digest } = await store.manifest(tag, "list", signal);
    const manifest = parseManifest(bytes);
    if (manifest.kind === "index") return { digest, layers: new Map() };
    const { config, layers } = manifest;
    if (!layers.some(({ annotations }) => GROUP in annotations) || config.size > MAX_CONFIG) {
      return { digest, layers: new Map() };
    }
    const chunks: Uint8Array[] = [];
    for await (const chunk of await store.blob(config, undefined, "list", signal)) {
      chunks.push(Buffer.from(chunk));
    }
    const { rootfs } = JSON.parse(Buffer.concat(chunks).toString()) as {
      rootfs?: { diff_ids?: readonly string[] };
    };
    const known = layers.flatMap((blob, index) => {
      const name = blob.annotations[GROUP];
      const diffId = rootfs?.diff_ids?.[index];
      return name === undefined || diffId === undefined ? [] : [[name, { blob, diffId }] as const];
    });
    return { digest, layers: new Map(known) };
  } catch (error) {
    // Whatever it is, it is replaced: only where the destination cannot be asked is there no push.
    const codes = ["not-found", "invalid", "unsupported"];
    const isNothing = error instanceof SourceError && codes.includes(error.code);
    if (isNothing || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** The configuration of an image that is only content. */
function configOf(layers: readonly PushedLayer[]) {
  const architectures: Readonly<Record<string, string>> = { x64: "amd64", ia32: "386" };
  return {
    architecture: architectures[process.arch] ?? process.arch,
    os: "linux",
    config: {},
    rootfs: { type: "layers", diff_ids: layers.map(({ diffId }) => diffId) },
  };
}

/** Some at a time, in their order; the first failure ends it. */
async function mapSome<Item, Result>(
  items: readonly Item[],
  work: (item: Item, index: number) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const queue = items.entries();
  let failed = false;
  const worker = async () => {
    for (const [index, item] of queue) {
      if (failed) return;
      results[index] = await work(item, index);
    }
  };
  const workers = Array.from({ length: AT_ONCE }, async () =>
    worker().catch((error: unknown) => {
      failed = true;
      throw error;
    }),
  );
  await Promise.allSettled(workers);
  await Promise.all(workers);
  return results;
}
