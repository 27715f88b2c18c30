/** Asking the sources: has anything changed, and what. */
import type { Layer } from "../mount/layer.ts";
import type { Mount } from "../mount/mount.ts";
import { PROGRESS_INTERVAL } from "./progress.ts";
import type { Run } from "./run.ts";
import type {
  CheckedSignature,
  FileEntry,
  Listing,
  ProbeResult,
  Published,
} from "../source/contract.ts";
import { RefusedError } from "../errors.ts";
import { SourceError } from "../source/errors.ts";
import { digestOfTrusted } from "../source/signers.ts";
import { boundedEntries, boundedScope } from "../snapshot/bounded.ts";
import { diffChanges, diffListing, type LayerDiff } from "../snapshot/diff.ts";
import { orderedEntries } from "../snapshot/ordered.ts";
import { type IgnoreFile, makeScope, type SourceScope, wantedEntries } from "../snapshot/scope.ts";
import { makePause } from "../timing/slices.ts";
import type { Generation, LayerRecord } from "../state/generations.ts";
import { knownRow, pathsOfRefs } from "../state/entries.ts";
import { clearLayer } from "../state/plan.ts";
import { planAwayLayers } from "../state/plan-published.ts";

/** What the probes of a mount's sources found, by position. */
export interface Probes {
  readonly results: readonly (ProbeResult | undefined)[];
  /** Digests of what is trusted to sign each of them; `undefined` where nobody has to sign. */
  readonly trusted: readonly (string | undefined)[];
  /** Their tokens; null for a source that cannot tell. */
  readonly tokens: readonly (string | null)[];
  /** True when every source says that it is as published, under the same settings. */
  readonly unchanged: boolean;
  /** True when no source can ever change. */
  readonly immutable: boolean;
}

export async function probeLayers(run: Run, published: Generation | undefined): Promise<Probes> {
  const { layers } = run.mount;
  // Before anything is asked: it is this that what is listed will be checked by, or something later.
  const trusted = await Promise.all(
    layers.map(({ signers }) => (signers.length === 0 ? undefined : digestOfTrusted(signers))),
  );
  const recordOf = ({ position }: Layer) =>
    signedRecord(published?.layers[position], trusted[position]);
  const results = await Promise.all(
    layers.map((layer) => {
      const known = sameView(layer, recordOf(layer))?.token ?? undefined;
      return run.ask(layer, "probe", () => layer.source.probe(run.signal, known));
    }),
  );
  const unchanged =
    published !== undefined &&
    published.layers.length === results.length &&
    layers.every((layer) => isUnchanged(layer, recordOf(layer), results[layer.position]));
  return {
    results,
    trusted,
    tokens: results.map((result) => result?.token ?? null),
    unchanged,
    immutable: results.every((result) => result?.immutable === true),
  };
}

/** What is recorded of a layer, unless it has to be signed and was not checked by what is trusted now. */
function signedRecord(
  record: LayerRecord | undefined,
  trusted: string | undefined,
): LayerRecord | undefined {
  return trusted === undefined || record?.signature?.trusted === trusted ? record : undefined;
}

/** As it is recorded with what was listed. @throws SourceError where it has to be signed and was not checked */
function signatureFor(
  signature: CheckedSignature | undefined,
  trusted: string | undefined,
): LayerRecord["signature"] {
  if (trusted === undefined) return undefined;
  if (signature !== undefined) return { ...signature, trusted };
  throw new SourceError("invalid", "it was listed without its signature being checked", {
    hint: "this is a fault of the adapter: report it",
  });
}

/** What was rolled back to stays published while the sources are as they were: but not unchecked. @throws RefusedError */
export function refuseUnsigned(layers: readonly Layer[], published: Generation): void {
  for (const { signers, position, url } of layers) {
    if (signers.length === 0 || published.layers[position]?.signature !== undefined) continue;
    throw new RefusedError(
      `what was rolled back to was published without a check for a signature of ${url}`,
      { hint: "roll back to a revision whose signature was checked: history shows which" },
    );
  }
}

/** What is published of a layer, where its source's word that nothing changed is enough. */
function sameView(layer: Layer, record: LayerRecord | undefined): LayerRecord | undefined {
  return record !== undefined &&
    !readsAgain(layer) &&
    record.identity === layer.identity &&
    record.view === layer.view
    ? record
    : undefined;
}

/** Not known before it is asked: some sources learn from their first answer what they are. */
function readsAgain({ verifyContent, source }: Layer): boolean {
  return verifyContent && source.contentAddressed !== true;
}

function isUnchanged(
  layer: Layer,
  record: LayerRecord | undefined,
  probe: ProbeResult | undefined,
): boolean {
  const same = sameView(layer, record);
  return same !== undefined && probe !== undefined && same.token === probe.token;
}

/**
 * Writes to the plan what each source changes against the published rows of its layer.
 *
 * @param damaged what is recorded may be what is wrong: the sources tell all that they hold
 * @returns what to remember of each layer
 */
export async function listLayers(
  run: Run,
  published: Generation | undefined,
  probes: Probes,
  damaged: boolean,
): Promise<LayerRecord[]> {
  const { mount } = run;
  const records: LayerRecord[] = [];
  for (const layer of mount.layers) {
    const record = published?.layers[layer.position];
    const probe = probes.results[layer.position];
    const trusted = probes.trusted[layer.position];
    const signed = signedRecord(record, trusted);
    if (!damaged && signed !== undefined && isUnchanged(layer, signed, probe)) records.push(signed);
    else
      records.push(
        (damaged ? undefined : await listChanges(run, layer, signed, probe, trusted)) ??
          (await listWhole(run, layer, record, probe, trusted)),
      );
  }
  if ((published?.layers.length ?? 0) > mount.layers.length)
    await planAwayLayers(mount.volume.state, mount.layers.length, makePause(run.signal));
  return records;
}

/** The source's own delta, where it has one from the published revision to this one. */
async function listChanges(
  run: Run,
  layer: Layer,
  published: LayerRecord | undefined,
  probe: ProbeResult | undefined,
  trusted: string | undefined,
): Promise<LayerRecord | undefined> {
  const record = sameView(layer, published);
  const revision = probe?.revision ?? "";
  if (layer.source.changes === undefined || record === undefined || probe === undefined)
    return undefined;
  // Without names, tokens tell revisions apart.
  const [from, to] =
    revision === "" && record.revision === ""
      ? [record.token ?? "", probe.token]
      : [record.revision, revision];
  if (from === "" || to === "") return undefined;
  const { state } = run.mount.volume;
  const delta = await run.ask(layer, "compare", async () => {
    await clearLayer(state, layer.position, makePause(run.signal));
    const diff = makeDiff(run, layer, true, layerScope(run, layer, record.ignore));
    const scope = boundedScope(diff.scope, diff.maxFiles);
    const before = publishedOf(run, layer);
    const found = await layer.source.changes?.(from, to, run.signal, scope, before);
    if (found === undefined) return undefined;
    const signature = signatureFor(found.signature, trusted);
    if (!(await diffChanges(diff, found.changes))) return undefined;
    return { signature, token: found.token?.() ?? probe.token };
  });
  if (delta !== undefined) return { ...record, ...delta, settings: layer.settings, revision };
  await clearLayer(state, layer.position, makePause(run.signal));
  return undefined;
}

function publishedOf({ mount, signal }: Run, { position, into }: Layer): Published {
  const { state } = mount.volume;
  const prefix = into === "" ? "" : `${into}/`;
  const known = knownRow(state, position);
  return {
    ref: (path) => known(prefix + path)?.ref ?? undefined,
    async pathsOf(refs) {
      const paths = await pathsOfRefs(state, position, refs, makePause(signal));
      return paths.map((path) => path.slice(prefix.length));
    },
  };
}

/** How often a listing is begun again because the source's `.pannierignore` was not what was assumed. */
const IGNORE_FILE_TRIES = 3;

async function listWhole(
  run: Run,
  layer: Layer,
  published: LayerRecord | undefined,
  probe: ProbeResult | undefined,
  trusted: string | undefined,
): Promise<LayerRecord> {
  const { state } = run.mount.volume;
  const comparable = published?.identity === layer.identity;
  let assumed = comparable && !readsAgain(layer) ? (published?.ignore ?? null) : null;
  for (let tries = 0; tries <= IGNORE_FILE_TRIES; tries++) {
    const { scope, listing, found } = await run.ask(layer, "list", async () => {
      await clearLayer(state, layer.position, makePause(run.signal));
      return listWithin(run, layer, comparable, layerScope(run, layer, assumed), trusted);
    });
    if (listing !== undefined && found === undefined) {
      const revision =
        typeof listing.revision === "function" ? listing.revision() : listing.revision;
      return {
        identity: layer.identity,
        view: layer.view,
        settings: layer.settings,
        url: layer.url,
        adapter: layer.adapter,
        into: layer.into,
        revision: revision ?? probe?.revision ?? "",
        token: listing.token?.() ?? probe?.token ?? null,
        ignore: scope.ignore,
        signature: signatureFor(listing.signature, trusted),
      };
    }
    const entry = found?.entry;
    assumed =
      entry === undefined
        ? null
        : {
            fingerprint: entry.fingerprint,
            text: await run.ask(layer, "read", () => readText(layer, entry, run.signal)),
          };
  }
  throw new SourceError("changed", "its .pannierignore keeps changing");
}

/** One try at a listing. `found`: the `.pannierignore` that there is, where it is not the one that was gone by. */
async function listWithin(
  run: Run,
  layer: Layer,
  comparable: boolean,
  scope: SourceScope,
  trusted: string | undefined,
): Promise<{
  readonly scope: SourceScope;
  readonly listing?: Listing;
  readonly found: { readonly entry: FileEntry | undefined } | undefined;
}> {
  try {
    const diff = makeDiff(run, layer, comparable, scope);
    const listing = await layer.source.list(run.signal, boundedScope(scope, diff.maxFiles));
    // Before any of it is taken.
    signatureFor(listing.signature, trusted);
    return { scope, listing, found: await diffUnlessIgnoreFileDiffers(diff, listing) };
  } catch (error) {
    if (scope.outdated === undefined) throw error;
    return { scope, found: scope.outdated };
  }
}

function layerScope(run: Run, layer: Layer, assumed: IgnoreFile | null): SourceScope {
  return makeScope(layer.into, run.mount.filter, assumed, (entry) =>
    readText(layer, entry, run.signal),
  );
}

/**
 * Sources that do not call {@link SourceScope.ignoreFile} have their `.pannierignore` somewhere in the listing, or no more.
 *
 * @returns `undefined` when the listing went through under the right ignore file; else the one to go by (or that there is none)
 */
async function diffUnlessIgnoreFileDiffers(
  diff: LayerDiff,
  { entries, ordered, clash }: Listing,
): Promise<{ readonly entry: FileEntry | undefined } | undefined> {
  const { scope, state } = diff;
  const wanted = wantedEntries(boundedEntries(entries, diff.maxFiles), scope);
  let found: FileEntry | undefined;
  const differs = Symbol("ignore file");
  try {
    await diffListing(diff, orderedEntries(wanted, ordered, state, diff.signal, clash), (entry) => {
      if (entry.kind !== "file") return;
      found = entry;
      if (entry.fingerprint !== scope.ignore?.fingerprint) throw differs;
    });
  } catch (error) {
    if (error !== differs) throw error;
    return { entry: found };
  }
  return found === undefined && scope.ignore !== null ? { entry: undefined } : undefined;
}

/** Longest `.pannierignore` that is read. */
const IGNORE_FILE_LIMIT = 1 << 20;

async function readText(layer: Layer, entry: FileEntry, signal: AbortSignal): Promise<string> {
  const body = await layer.source.read(entry, undefined, signal);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body instanceof Uint8Array ? [body] : body) {
    size += chunk.length;
    if (size > IGNORE_FILE_LIMIT)
      throw new SourceError(
        "invalid",
        `its .pannierignore has more than ${IGNORE_FILE_LIMIT} bytes`,
      );
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks).toString("utf8");
}

function makeDiff(run: Run, layer: Layer, comparable: boolean, scope: SourceScope): LayerDiff {
  const { mount } = run;
  const { settings } = mount;
  return {
    state: mount.volume.state,
    place: { layer: layer.position, into: layer.into, mode: settings.mode },
    scope,
    comparable,
    readAgain: readsAgain(layer),
    maxFileBytes: settings.limits.maxFileBytes,
    maxFiles: settings.limits.maxFiles,
    signal: run.signal,
    onEntries: countEntries(mount),
  };
}

function countEntries(mount: Mount): (count: number) => void {
  let entries = 0;
  let told = performance.now();
  return (count) => {
    entries += count;
    if (performance.now() - told < PROGRESS_INTERVAL) return;
    told = performance.now();
    mount.emit({ type: "listed", entries });
  };
}
