/** From what the sources changed to a plan that may be carried out. */
import { listLayers, type Probes, refuseUnsigned } from "./listing.ts";
import type { Change } from "../snapshot/change.ts";
import type { Layer } from "../mount/layer.ts";
import type { Run } from "./run.ts";
import { checkTree } from "./checks.ts";
import { resolveLayers } from "../snapshot/layers.ts";
import { plannedChanges } from "../snapshot/plan.ts";
import { makePause, type Pause } from "../timing/slices.ts";
import { digestAfterPlan, nameRevision } from "../snapshot/revision.ts";
import { type EntryRow, toEntry } from "../state/row.ts";
import { discardCandidate, noteOrigins } from "../volume/candidate.ts";
import type { Damage } from "../volume/damage.ts";
import { clearPlan } from "../state/plan.ts";
import {
  type EmptiedLayer,
  emptiedLayer,
  type PlanTotals,
  planTotals,
} from "../state/plan-totals.ts";
import { keepFetched } from "../state/overlay.ts";
import { distrustSeen, planSeen } from "../state/plan-published.ts";
import { clearSeen } from "../state/seen.ts";
import { ownershipChanged, planOwnership } from "../volume/ownership.ts";
import { checkStateRoom } from "../volume/room.ts";
import type { Generation, LayerRecord } from "../state/generations.ts";
import { longTransaction } from "../state/state.ts";
import { isHeldBack } from "./rollback-hold.ts";

/** What is about to be published. */
export interface Next {
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

/** From listings to a plan that may be carried out. In one transaction: what fails half way leaves no half plan. */
export async function makePlan(
  run: Run,
  published: Generation | undefined,
  damage: Damage | undefined,
  probes: Probes,
  onChange?: (change: Change) => void,
): Promise<Next> {
  const { mount } = run;
  const { settings, volume } = mount;
  const { state } = volume;
  const pause = makePause(run.signal);
  if (!settings.dryRun) {
    if (settings.publish === "swap") await longTransaction(state, () => keepFetched(state, pause));
    if (ownershipChanged(state, settings.tree)) await discardCandidate(volume);
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
    const held = published !== undefined && isHeldBack(mount, probes, digest);
    if (held) refuseUnsigned(mount.layers, published);
    if (held && damage !== undefined) {
      await clearPlan(state, pause);
      ({ layers } = published);
      digest = await completePlan(run, published, damage, pause);
    }
    await clearSeen(state, pause);
    if (onChange !== undefined) await tellChanges(run, onChange, pause);
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

async function tellChanges(
  { mount }: Run,
  onChange: (change: Change) => void,
  pause: Pause,
): Promise<void> {
  const versionOf = (row: EntryRow) => {
    const { source, into } = mount.layers[row.layer] as Layer;
    return source.version?.(toEntry(row, into));
  };
  for (const change of plannedChanges(mount.volume.state, versionOf)) {
    onChange(change);
    await pause();
  }
}

/** What is to be done beside what the sources changed; then the checks. Returns the digest of the tree to come. */
async function completePlan(
  run: Run,
  published: Generation | undefined,
  damage: Damage | undefined,
  pause: Pause,
): Promise<string> {
  const { settings, volume, layers } = run.mount;
  if (damage !== undefined) await planSeen(volume.state, pause);
  await planOwnership(volume.state, settings.tree, pause);
  await resolveLayers(volume.state, Math.max(layers.length, published?.layers.length ?? 0), pause);
  if (damage !== undefined) await distrustSeen(volume.state, pause);
  await checkTree(run, published, pause);
  return digestAfterPlan(volume.state, published, pause);
}
