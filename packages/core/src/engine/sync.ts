/** The pipeline: from sources to a published tree. Read {@link attempt} from top to bottom. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { SyncResult } from "../events.ts";
import { hasState } from "./history.ts";
import { openFetcher } from "./fetching.ts";
import { askHook } from "./hook.ts";
import { listLayers, type Probes, probeLayers, refuseUnsigned } from "./listing.ts";
import type { Layer } from "../mount/layer.ts";
import { type Mount, openMount } from "../mount/mount.ts";
import { isChanged, type Run, startRun } from "./run.ts";
import type { SyncOptions } from "../mount/sync-options.ts";
import { UsageError } from "../source/errors.ts";
import type { Change } from "../snapshot/change.ts";
import { checkTree } from "./checks.ts";
import { guardDeletes, guardEmptied, guardSize, isQuiet } from "../snapshot/guard.ts";
import { resolveLayers } from "../snapshot/layers.ts";
import { plannedChanges } from "../snapshot/plan.ts";
import { makePause, type Pause } from "../timing/slices.ts";
import { digestAfterPlan, nameRevision, revisionFound } from "../snapshot/revision.ts";
import { type EntryRow, toEntry } from "../state/row.ts";
import {
  discardCandidate,
  giveBackRoom,
  noteOrigins,
  prepareCandidate,
  readCandidate,
  settleCandidate,
} from "../volume/candidate.ts";
import { collect } from "../volume/collect.ts";
import {
  type Damage,
  distrustDamaged,
  findDamage,
  planDamage,
  trustPublished,
} from "../volume/damage.ts";
import {
  rollbackHold,
  setRollbackHold,
  isStillRolledBack,
  type SourcesState,
  tellAll,
  urlsOf,
} from "../state/hold.ts";
import { clearPlan } from "../state/plan.ts";
import {
  type EmptiedLayer,
  emptiedLayer,
  type PlanTotals,
  planTotals,
} from "../state/plan-totals.ts";
import { keepFetched } from "../state/overlay.ts";
import { clearSeen } from "../state/seen.ts";
import { HOME, layoutOf } from "../volume/layout.ts";
import { finishMirror, publishMirror, stageMirror } from "../volume/mirror.ts";
import { noteModes } from "../volume/modes.ts";
import { noteOwnership, ownershipChanged, planOwnership } from "../volume/ownership.ts";
import { toTargetError, renewIfDamaged } from "../volume/open.ts";
import type { Volume } from "../volume/volume.ts";
import { openPublishedTree, publishCandidate } from "../volume/publish.ts";
import { removeTree } from "../volume/remove.ts";
import { refreshEntries } from "../volume/refresh.ts";
import { asNoRoom, checkRoom, checkStateRoom } from "../volume/room.ts";
import { checkRecycled, checkStaged, stage } from "../volume/stage.ts";
import {
  countTrees,
  type Generation,
  type LayerRecord,
  latestGeneration,
} from "../state/generations.ts";
import { longTransaction } from "../state/state.ts";
import { openTree } from "../volume/tree.ts";
import { untilAborted } from "../timing/until-aborted.ts";

/**
 * Makes the target equal to its sources, once.
 *
 * @throws UsageError, TargetError, MountSourceError, RefusedError, NoRoomError, HookError; on each of them, and on an abort,
 * what was published before is untouched
 */
export async function sync(options: SyncOptions): Promise<SyncResult> {
  const mount = await openMount(options);
  try {
    return await syncMount(mount, options.signal);
  } finally {
    await mount.close();
  }
}

/**
 * Finds out what a sync would do; writes nothing to the tree.
 *
 * @param onChange told of each path that would change, in order
 * @throws what {@link sync} throws before it fetches
 */
export async function plan(
  options: SyncOptions,
  onChange: (change: Change) => void = () => {},
): Promise<SyncResult> {
  // A target that was never synced is left as it is, even if it is not there.
  const fresh = !hasState(layoutOf(resolve(options.target)));
  const target = fresh ? mkdtempSync(join(tmpdir(), "pannier-plan-")) : options.target;
  try {
    const mount = await openMount({ ...options, target, dryRun: true });
    try {
      return await syncMount(mount, options.signal, { onChange });
    } finally {
      await mount.close();
    }
  } finally {
    if (fresh) rmSync(target, { recursive: true, force: true });
  }
}

/** What a caller inside the package may ask beside the settings. */
interface SyncExtras {
  readonly onChange?: (change: Change) => void;
  /** Compare the published tree byte by byte first, and put right what is wrong. */
  readonly verify?: boolean;
}

/** How often a source that changes under our hands is listed anew before that counts as a failure. */
const CHANGED_LIMIT = 4;

/** One sync of an open mount. */
export async function syncMount(
  mount: Mount,
  signal?: AbortSignal,
  extras: SyncExtras = {},
): Promise<SyncResult> {
  const run = startRun(mount, signal);
  let renewed = false;
  try {
    for (let tries = 1; ; tries++) {
      try {
        const result = await attempt(run, extras);
        // What was done in a directory that nobody sees is not done.
        mount.volume.check();
        mount.emit({ type: "done", result });
        return result;
      } catch (error) {
        if (!renewed && renewIfDamaged(mount.volume, error, mount.settings.dryRun)) {
          renewed = true;
          continue;
        }
        if (!isChanged(run, error) || tries === CHANGED_LIMIT || run.signal.aborted) throw error;
        mount.emit({ type: "warning", message: `${(error as Error).message}; listing again` });
      }
    }
  } catch (error) {
    const noRoom = asNoRoom(error);
    if (noRoom !== undefined) giveBackRoom(mount.volume);
    // An aborted step fails in its own words; what counts is why it was aborted.
    throw run.signal.aborted
      ? run.signal.reason
      : (noRoom ?? toTargetError(error, mount.volume.layout.target));
  } finally {
    run.end();
  }
}

/** The tree that is to be recycled may hold what takes the room: without it the next one costs more work, and no more room. */
function makeRoom(volume: Volume, totals: PlanTotals): void {
  const check = () => checkRoom(volume.layout.root, totals.fetchBytes, totals.fetchFiles);
  try {
    check();
  } catch (error) {
    if (readCandidate(volume.state) === undefined) throw error;
    discardCandidate(volume);
    check();
  }
}

/** What is about to be published. */
interface Next {
  readonly published: Generation | undefined;
  readonly damage: Damage | undefined;
  /** True when the sources are as they were when somebody rolled back. */
  readonly held: boolean;
  readonly layers: readonly LayerRecord[];
  /** Of the tree's entries. */
  readonly digest: string;
  readonly revision: string;
  readonly totals: PlanTotals;
  readonly emptied: EmptiedLayer | undefined;
}

interface Outcome {
  readonly generation: Generation;
  readonly foreign: readonly string[];
}

async function attempt(run: Run, extras: SyncExtras): Promise<SyncResult> {
  const { mount } = run;
  const { settings, volume } = mount;
  const { state } = volume;
  if (settings.publish === "mirror" && !settings.dryRun) await finishMirror(volume);
  // Left over where a process was killed after it had published, or where fewer are to be kept now.
  if (!settings.dryRun && countTrees(state) > settings.keep)
    await collect(volume, settings.keep, makePause(run.signal));
  const published = latestGeneration(state);
  const damage = await findDamage(volume, published, {
    everyByte: extras.verify === true,
    dryRun: settings.dryRun,
    tree: settings.tree,
    signal: run.signal,
  });

  run.step("probe");
  const probes = await probeLayers(run, published);
  // The first look after a rollback for which nobody could ask.
  if (rollbackHold(state) === "next" && tellAll(probes) && !settings.dryRun)
    setRollbackHold(state, probes.unchanged ? undefined : sourcesState(mount, probes));
  const current =
    published !== undefined &&
    damage === undefined &&
    (probes.unchanged || isStillRolledBack(state, sourcesState(mount, probes)));
  if (current) {
    refuseUnsigned(mount.layers, published);
    return run.unchanged(published, probes.immutable);
  }

  run.step("list");
  const next = await makePlan(run, published, damage, probes, extras);
  const { totals } = next;
  mount.emit({ type: "planned", ...totals });
  if (published !== undefined && damage === undefined) {
    if (next.held) {
      // What the sources now tell of themselves saves the next listing.
      const { digest } = next;
      if (!settings.dryRun)
        setRollbackHold(
          state,
          digest === published.digest ? undefined : sourcesState(mount, probes, digest),
        );
      return run.unchanged(published, probes.immutable);
    }
    if (isQuiet(totals) && (settings.dryRun || totals.rereadFiles === 0))
      return keepWhatWasLearnt(run, published, next, probes.immutable);
  }
  guardEmptied(next.emptied, mount.layers, settings.maxDelete);
  guardDeletes(totals, published?.files ?? 0, settings.maxDelete);
  guardSize(totals, settings.limits);
  if (settings.dryRun) return run.planned(next, probes.immutable);
  makeRoom(volume, totals);
  noteModes(volume);

  run.step("fetch");
  const outcome = settings.publish === "swap" ? await swap(run, next) : await mirror(run, next);
  // Everything that was fetched turned out to be what is published.
  if (outcome === undefined)
    return keepWhatWasLearnt(run, published as Generation, next, probes.immutable);

  run.step("collect");
  if (!next.held) setRollbackHold(state, undefined);
  trustPublished(state);
  noteOwnership(state, settings.tree);
  await collect(volume, settings.keep, makePause());
  const result = run.published(outcome.generation, published, probes.immutable, outcome.foreign);
  await letGo(run);
  return result;
}

/**
 * What the sources hold now, without touching the target.
 *
 * @throws what {@link plan} throws; UsageError where the settings differ from those of the published tree, whose digests could not be compared
 */
export async function lookAtSources(options: SyncOptions): Promise<SourcesState> {
  const mount = await openMount({ ...options, dryRun: true });
  const run = startRun(mount, options.signal);
  try {
    const published = latestGeneration(mount.volume.state);
    const probes = await probeLayers(run, published);
    if (tellAll(probes)) {
      const now = sourcesState(mount, probes, probes.unchanged ? published?.digest : undefined);
      // The command line does not know the filters of the next sync: most likely they are those of the last one.
      const settings = now.settings?.map((own, position) => {
        const before = published?.layers[position]?.settings;
        return before === undefined ? [] : [...own, before];
      });
      return { ...now, settings };
    }
    if (mount.layers.some(({ position, view }) => published?.layers[position]?.view !== view))
      throw new UsageError("the settings differ from those of the published tree");
    const { digest } = await makePlan(run, published, undefined, probes, {});
    return sourcesState(mount, probes, digest);
  } finally {
    run.end();
    await mount.close();
  }
}

function sourcesState({ layers }: Mount, { tokens }: Probes, digest?: string): SourcesState {
  return {
    urls: urlsOf(layers),
    tokens,
    digest,
    settings: layers.map(({ settings }) => [settings]),
  };
}

/** From listings to a plan that may be carried out. In one transaction: what fails half way leaves no half plan. */
async function makePlan(
  run: Run,
  published: Generation | undefined,
  damage: Damage | undefined,
  probes: Probes,
  extras: SyncExtras,
): Promise<Next> {
  const { mount } = run;
  const { settings, volume } = mount;
  const { state } = volume;
  const pause = makePause(run.signal);
  if (!settings.dryRun) {
    if (settings.publish === "swap") await longTransaction(state, () => keepFetched(state, pause));
    if (ownershipChanged(state, settings.tree)) discardCandidate(volume);
  }
  const work = async (): Promise<Next> => {
    await clearPlan(state, pause);
    noteOrigins(
      state,
      mount.layers.map(({ identity }) => identity),
    );
    let layers: readonly LayerRecord[] = await listLayers(
      run,
      published,
      probes,
      damage !== undefined,
    );
    run.step("plan");
    let digest = await completePlan(run, published, damage, pause);
    // After a rollback it is what was gone back to that is mended, not what was rolled back from.
    const held =
      published !== undefined && isStillRolledBack(state, sourcesState(mount, probes, digest));
    if (held) refuseUnsigned(mount.layers, published);
    if (held && damage !== undefined) {
      await clearPlan(state, pause);
      ({ layers } = published);
      digest = await completePlan(run, published, damage, pause);
    }
    await clearSeen(state, pause);
    if (extras.onChange !== undefined) {
      const versionOf = (row: EntryRow) => {
        const { source, into } = mount.layers[row.layer] as Layer;
        return source.version?.(toEntry(row, into));
      };
      for (const change of plannedChanges(state, versionOf)) {
        extras.onChange(change);
        await pause();
      }
    }
    const revision = nameRevision(layers, digest);
    const next: Next = {
      published,
      damage,
      held,
      layers,
      digest,
      revision,
      totals: await planTotals(state, published, pause),
      emptied: await emptiedLayer(state, mount.layers.length, pause),
    };
    if (!settings.dryRun) await checkStateRoom(state, volume.layout.root, pause);
    return next;
  };
  return longTransaction(state, work, !settings.dryRun);
}

/** What is to be done beside what the sources changed; then the checks. Returns the digest of the tree to come. */
async function completePlan(
  run: Run,
  published: Generation | undefined,
  damage: Damage | undefined,
  pause: Pause,
): Promise<string> {
  const { settings, volume, layers } = run.mount;
  await planDamage(volume.state, damage, pause);
  await planOwnership(volume.state, settings.tree, pause);
  await resolveLayers(volume.state, Math.max(layers.length, published?.layers.length ?? 0), pause);
  await distrustDamaged(volume.state, damage, pause);
  await checkTree(run, published, pause);
  return digestAfterPlan(volume.state, published, pause);
}

/** A complete tree beside the published one, then one rename. `undefined`: there was nothing new after all. */
async function swap(run: Run, next: Next): Promise<Outcome | undefined> {
  const { mount } = run;
  const { settings, volume } = mount;
  const pause = makePause(run.signal);
  const candidate = await prepareCandidate(volume, settings.tree, pause);
  const published = openPublishedTree(volume, next.published, settings.tree);
  try {
    const job = {
      volume,
      candidate,
      published,
      origins: mount.layers.map(({ identity }) => identity),
      fetcher: openFetcher(run, next.totals),
      owner: settings.tree.owner,
      signal: run.signal,
    };
    await stage(job);
    await checkRecycled(job);
    const totals = await planTotals(volume.state, next.published, pause);
    guardSize(totals, settings.limits);
    if (next.published !== undefined && next.damage === undefined && isQuiet(totals)) {
      await checkStaged(job);
      await settleCandidate(volume, candidate, next.published.id, pause);
      return undefined;
    }
    const revision = revisionFound(volume.state, next.revision);
    if (settings.prePublish !== undefined) {
      run.step("hook");
      const shown = join(volume.layout.target, HOME, candidate.name);
      await askHook(run, settings.prePublish, shown, { ...next, revision });
    }
    run.step("publish");
    await checkStaged(job);
    run.signal.throwIfAborted();
    return {
      generation: await publishCandidate(
        volume,
        candidate,
        { ...next, ...totals, revision },
        pause,
      ),
      foreign: [],
    };
  } finally {
    published?.close();
    candidate.tree.close();
  }
}

/** Files straight into the target, each by a rename. `undefined`: there was nothing new after all. */
async function mirror(run: Run, next: Next): Promise<Outcome | undefined> {
  const { settings, volume } = run.mount;
  const pause = makePause(run.signal);
  const tree = openTree(volume.layout.root, settings.tree);
  let staging: string | undefined;
  try {
    staging = await stageMirror(
      volume,
      tree,
      openFetcher(run, next.totals),
      settings.tree.owner,
      run.signal,
    );
    const totals = await planTotals(volume.state, next.published, pause);
    guardSize(totals, settings.limits);
    if (next.published !== undefined && isQuiet(totals)) return undefined;
    run.signal.throwIfAborted();
    run.step("publish");
    const decided = staging;
    staging = undefined;
    const revision = revisionFound(volume.state, next.revision);
    return await publishMirror(volume, decided, { ...next, ...totals, revision }, settings.tree);
  } finally {
    tree.close();
    if (staging !== undefined) removeTree(join(volume.layout.home, staging));
  }
}

/** Nothing visible changed: what was learnt is kept, so that it need not be asked again. */
async function keepWhatWasLearnt(
  run: Run,
  published: Generation,
  next: Next,
  immutable: boolean,
): Promise<SyncResult> {
  if (!run.mount.settings.dryRun) {
    await refreshEntries(run.mount.volume.state, published, next, makePause(run.signal));
    await letGo(run);
  }
  return run.unchanged(published, immutable);
}

/** Sources may give up what they kept for older revisions. Whatever comes of that: it is published. */
async function letGo(run: Run): Promise<void> {
  for (const { source, position } of run.mount.layers) {
    try {
      const done = source.published?.(run.signal);
      if (done !== undefined) await untilAborted(done, run.signal);
    } catch (error) {
      if (run.signal.aborted) return;
      run.mount.emit({ type: "warning", source: position, message: (error as Error).message });
    }
  }
}
