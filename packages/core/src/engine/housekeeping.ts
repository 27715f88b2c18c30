/** What a sync does on the volume before and after its own work. */
import type { Mount } from "../mount/mount.ts";
import { countTrees } from "../state/generations.ts";
import type { PlanTotals } from "../state/plan-totals.ts";
import { makePause } from "../timing/slices.ts";
import { discardCandidate, readCandidate } from "../volume/candidate.ts";
import { collect } from "../volume/collect.ts";
import { trustPublished } from "../volume/damage.ts";
import { finishMirror } from "../volume/mirror.ts";
import { noteOwnership } from "../volume/ownership.ts";
import { checkRoom } from "../volume/room.ts";
import type { Volume } from "../volume/volume.ts";

/** Ends what a process that was killed had decided, and collects the trees that it left. */
export async function finishInterrupted(
  { settings, volume }: Mount,
  signal: AbortSignal,
): Promise<void> {
  if (settings.dryRun) return;
  if (settings.publish === "mirror") await finishMirror(volume);
  // Also where fewer are to be kept now.
  if (countTrees(volume.state) > settings.keep)
    await collect(volume, settings.keep, makePause(signal));
}

/**
 * The tree that is to be recycled may hold what takes the room: without it the next one costs more work, and no more room.
 *
 * @throws NoRoomError
 */
export async function makeRoom(volume: Volume, totals: PlanTotals): Promise<void> {
  const check = () => checkRoom(volume.layout.root, totals.fetchBytes, totals.fetchFiles);
  try {
    check();
  } catch (error) {
    if (readCandidate(volume.state) === undefined) throw error;
    await discardCandidate(volume);
    check();
  }
}

/** After publishing. Is not cut short: the content is there. */
export async function collectAfterPublishing({ settings, volume }: Mount): Promise<void> {
  trustPublished(volume.state);
  noteOwnership(volume.state, settings.tree);
  await collect(volume, settings.keep, makePause());
}
