/** The pipeline: from sources to a published tree. Read {@link attempt} from top to bottom. */
import type { SyncResult } from "../events.ts";
import { type Mount, openMount } from "../mount/mount.ts";
import type { SyncOptions } from "../mount/sync-options.ts";
import type { Change } from "../snapshot/change.ts";
import { guardDeletes, guardEmptied, guardSize, isQuiet } from "../snapshot/guard.ts";
import { type Generation, latestGeneration } from "../state/generations.ts";
import { setRollbackHold } from "../state/hold.ts";
import { makePause } from "../timing/slices.ts";
import { untilAborted } from "../timing/sleep.ts";
import { giveBackRoom } from "../volume/candidate.ts";
import { findDamage } from "../volume/damage.ts";
import { noteModes } from "../volume/modes.ts";
import { renewIfDamaged } from "../volume/open.ts";
import { toTargetError } from "../volume/target-error.ts";
import { refreshEntries } from "../volume/refresh.ts";
import { asNoRoom } from "../volume/room.ts";
import { collectAfterPublishing, finishInterrupted, makeRoom } from "./housekeeping.ts";
import { probeLayers, refuseUnsigned } from "./listing.ts";
import { checkLockedRevisions, lockPublished } from "./lock.ts";
import { makePlan, type Next } from "./make-plan.ts";
import { mirror, swap } from "./publish-tree.ts";
import { holdWhatIsFound, isHeldBack, renewHold } from "./rollback-hold.ts";
import { isChanged, type Run, startRun } from "./run.ts";

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
interface SyncExtras {
  /** Told of each path that the plan changes, in order. */
  readonly onChange?: (change: Change) => void;
  /** Compare the published tree byte by byte first, and put right what is wrong. */
  readonly verify?: boolean;
}

/** How often a source that changes under our hands is listed again before that counts as a failure. */
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
        if (!renewed && (await renewIfDamaged(mount.volume, error, mount.settings.dryRun))) {
          renewed = true;
          continue;
        }
        if (!isChanged(run, error) || tries === CHANGED_LIMIT || run.signal.aborted) throw error;
        mount.emit({ type: "warning", message: `${(error as Error).message}; listing again` });
      }
    }
  } catch (error) {
    const noRoom = asNoRoom(error);
    if (noRoom !== undefined) await giveBackRoom(mount.volume);
    // An aborted step fails in its own words; what counts is why it was aborted.
    throw run.signal.aborted
      ? run.signal.reason
      : (noRoom ?? toTargetError(error, mount.volume.layout.target));
  } finally {
    run.end();
  }
}

async function attempt(run: Run, extras: SyncExtras): Promise<SyncResult> {
  const { mount } = run;
  const { settings, volume } = mount;
  await finishInterrupted(mount, run.signal);
  const published = latestGeneration(volume.state);
  const damage = await findDamage(volume, published, {
    everyByte: extras.verify === true,
    dryRun: settings.dryRun,
    tree: settings.tree,
    signal: run.signal,
  });
  const intact = damage === undefined ? published : undefined;

  run.step("probe");
  const probes = await probeLayers(run, published);
  holdWhatIsFound(mount, probes);
  if (intact !== undefined && (probes.unchanged || isHeldBack(mount, probes))) {
    refuseUnsigned(mount.layers, intact);
    await lockPublished(run, intact, intact.layers);
    return run.unchanged(intact, probes.immutable);
  }

  run.step("list");
  const next = await makePlan(run, published, damage, probes, extras.onChange);
  const { totals } = next;
  if (!next.held) checkLockedRevisions(run, next.layers);
  mount.emit({ type: "planned", ...totals });
  if (intact !== undefined && next.held) {
    renewHold(mount, probes, next.digest, intact);
    await lockPublished(run, intact, intact.layers);
    return run.unchanged(intact, probes.immutable);
  }
  if (intact !== undefined && isQuiet(totals) && (settings.dryRun || totals.rereadFiles === 0))
    return keepWhatWasLearnt(run, intact, next, probes.immutable);
  guardEmptied(next.emptied, mount.layers, settings.maxDelete);
  guardDeletes(totals, published?.files ?? 0, settings.maxDelete);
  guardSize(totals, settings.limits);
  if (settings.dryRun) return run.planned(next, probes.immutable);

  await makeRoom(volume, totals);
  noteModes(volume);
  run.step("fetch");
  const outcome = settings.publish === "swap" ? await swap(run, next) : await mirror(run, next);
  // Everything that was fetched turned out to be what is published.
  if (outcome === undefined)
    return keepWhatWasLearnt(run, published as Generation, next, probes.immutable);

  run.step("collect");
  if (!next.held) setRollbackHold(volume.state, undefined);
  await collectAfterPublishing(mount);
  const result = run.published(outcome.generation, published, probes.immutable, outcome.foreign);
  await tellSources(run);
  return result;
}

/** Nothing visible changed: what was learnt is kept, so that it need not be asked again. */
async function keepWhatWasLearnt(
  run: Run,
  published: Generation,
  next: Next,
  immutable: boolean,
): Promise<SyncResult> {
  await lockPublished(run, published, next.layers);
  if (!run.mount.settings.dryRun) {
    await refreshEntries(run.mount.volume.state, published, next, makePause(run.signal));
    await tellSources(run);
  }
  return run.unchanged(published, immutable);
}

/** Sources may give up what they kept for older revisions. Whatever comes of that: it is published. */
async function tellSources(run: Run): Promise<void> {
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
