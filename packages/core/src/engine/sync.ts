/** The pipeline: from sources to a published tree. Read {@link attempt} from top to bottom. */
import type { SyncResult } from "../events.ts";
import { probeLayers, refuseUnsigned } from "./listing.ts";
import { type Mount, openMount } from "../mount/mount.ts";
import { isChanged, type Run, startRun } from "./run.ts";
import type { SyncOptions } from "../mount/sync-options.ts";
import type { Change } from "../snapshot/change.ts";
import { guardDeletes, guardEmptied, guardSize, isQuiet } from "../snapshot/guard.ts";
import { makePause } from "../timing/slices.ts";
import { discardCandidate, giveBackRoom, readCandidate } from "../volume/candidate.ts";
import { collect } from "../volume/collect.ts";
import { findDamage, trustPublished } from "../volume/damage.ts";
import { rollbackHold, setRollbackHold, isStillRolledBack, tellAll } from "../state/hold.ts";
import type { PlanTotals } from "../state/plan-totals.ts";
import { finishMirror } from "../volume/mirror.ts";
import { noteModes } from "../volume/modes.ts";
import { noteOwnership } from "../volume/ownership.ts";
import { toTargetError, renewIfDamaged } from "../volume/open.ts";
import type { Volume } from "../volume/volume.ts";
import { refreshEntries } from "../volume/refresh.ts";
import { asNoRoom, checkRoom } from "../volume/room.ts";
import { countTrees, type Generation, latestGeneration } from "../state/generations.ts";
import { untilAborted } from "../timing/until-aborted.ts";
import { sourcesState } from "./hold.ts";
import { type Next, makePlan } from "./make-plan.ts";
import { swap, mirror } from "./publish-tree.ts";

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

/** What a caller inside the package may ask beside the settings. */
export interface SyncExtras {
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
