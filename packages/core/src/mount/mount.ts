/** A mount opened for work: its settings checked, its volume locked, its sources open. */
import { readdirSync } from "node:fs";
import { join, resolve, sep } from "node:path";
import { within } from "../timing/sleep.ts";
import { withTimeout } from "./sync-timeout.ts";
import { TargetError } from "../errors.ts";
import type { SyncEvent } from "../events.ts";
import { asLayerSpec, type Layer, normaliseInto, openLayer, scratchNames } from "./layer.ts";
import { checkSettings, type MountSettings, signersOf } from "./settings.ts";
import type { LayerSpec, SyncOptions } from "./sync-options.ts";
import { type Filter, makeFilter } from "../snapshot/filter.ts";
import { decodedPath } from "../source/location.ts";
import { type Bandwidth, createBandwidth } from "../transfer/bandwidth.ts";
import { makePause } from "../timing/slices.ts";
import { openVolume } from "../volume/open.ts";
import { removeTree } from "../volume/remove.ts";
import type { Volume } from "../volume/volume.ts";

export interface Mount {
  readonly settings: MountSettings;
  readonly filter: Filter | undefined;
  readonly layers: readonly Layer[];
  readonly volume: Volume;
  readonly bandwidth: Bandwidth | undefined;
  /** Requests made to the sources so far. */
  readonly counters: { requests: number; received: number };
  emit(event: SyncEvent): void;
  close(): Promise<void>;
}

/**
 * @throws UsageError for settings that cannot be, TargetError for a target that cannot be used, SourceError from an adapter's `open`,
 * or where that takes longer than a whole sync may; the signal's reason
 */
export async function openMount(options: SyncOptions): Promise<Mount> {
  const settings = checkSettings(options);
  const specs = options.sources.map(asLayerSpec);
  refuseNesting(specs, settings.target);
  const signers = signersOf(specs, options);
  const emit = (event: SyncEvent) => options.onEvent?.(event);
  const volume = await openVolume({
    target: settings.target,
    publish: settings.publish,
    link: settings.link,
    dryRun: settings.dryRun,
    owner: settings.tree.owner,
    emit,
  });
  const scratches = scratchNames(specs);
  const counters = { requests: 0, received: 0 };
  const layers: Layer[] = [];
  /** Under way, or done. */
  const openings: Promise<unknown>[] = [];
  const close = async () => {
    const closing = layers.map(({ source }) => source.close());
    const closed = await Promise.allSettled(
      closing.map((done) => within(settings.idleTimeout, done)),
    );
    volume.close();
    // A source that takes longer may still be at work in its scratch directory.
    void Promise.allSettled([...closing, ...openings]).then(() => volume.release());
    for (const [source, outcome] of closed.entries()) {
      if (outcome.status === "fulfilled") continue;
      // What was synced is synced, and what failed before must not be hidden by this.
      const message = `cannot be closed: ${(outcome.reason as Error).message}`;
      emit({ type: "warning", source, message });
    }
  };
  const deadline = withTimeout(options.signal, settings.timeout);
  const tools = { volume, counters, emit, openings, deadline: deadline.signal };
  try {
    for (const [position, spec] of specs.entries()) {
      layers.push(
        await openLayer(spec, position, options, settings, {
          ...tools,
          scratch: scratches[position] as string,
          signers: signers[position] ?? [],
        }),
      );
    }
    if (!settings.dryRun) await sweepScratch(volume, scratches);
    return {
      settings,
      filter: makeFilter(options.include ?? [], options.exclude ?? []),
      layers,
      volume,
      bandwidth: settings.bandwidth === undefined ? undefined : createBandwidth(settings.bandwidth),
      counters,
      emit,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  } finally {
    deadline.end();
  }
}

/** See `checkOptions`, which also looks at what only the loop needs. @throws UsageError, TargetError */
export function checkMount(options: SyncOptions): void {
  const { target } = checkSettings(options);
  const specs = options.sources.map(asLayerSpec);
  for (const { into } of specs) normaliseInto(into);
  refuseNesting(specs, target);
  signersOf(specs, options);
  makeFilter(options.include ?? [], options.exclude ?? []);
}

/** A target inside its own source would grow without end; a source inside its target would be mistaken for litter. */
function refuseNesting(specs: readonly LayerSpec[], target: string): void {
  for (const { source } of specs) {
    if (source.adapter.name !== "file") continue;
    const path = resolve(decodedPath(source.location));
    if (path === target || target.startsWith(path.endsWith(sep) ? path : path + sep))
      throw new TargetError(`the target ${target} lies inside its source ${path}`, {
        hint: "choose a target outside the source",
      });
    if (path.startsWith(`${target}${sep}`))
      throw new TargetError(`the source ${path} lies inside the target ${target}`, {
        hint: "choose another target",
      });
  }
}

/** Caches of sources that the mount has no more. */
async function sweepScratch(volume: Volume, scratches: readonly string[]): Promise<void> {
  const used = new Set(scratches);
  let names: string[];
  try {
    names = readdirSync(volume.layout.scratch);
  } catch {
    return;
  }
  const pause = makePause();
  for (const name of names)
    if (!used.has(name)) await removeTree(join(volume.layout.scratch, name), pause);
}
