/** What is wrong with the published tree, and planning to put it right. */
import { join } from "node:path";
import { finishPublish, openPublishedTree } from "./publish.ts";
import { isDirectory } from "./remove.ts";
import type { Generation } from "../state/generations.ts";
import { getMeta, setMeta } from "../state/meta.ts";
import { distrustSeen, planSeen } from "../state/plan.ts";
import { clearSeen, noteSeen } from "../state/seen.ts";
import { makePause, type Pause } from "../timing/slices.ts";
import type { State } from "../state/state.ts";
import type { TreeSettings } from "./tree.ts";
import { verifyTree } from "./verify.ts";
import type { Volume } from "./volume.ts";

/** Present when a new generation is needed though the sources may not have changed. The paths to fetch again are in the table `seen`. */
export interface Damage {
  readonly message: string;
}

/**
 * Looks whether the published tree is in place, and after a restart of the machine, or when asked to, at every byte of it.
 */
export async function findDamage(
  volume: Volume,
  published: Generation | undefined,
  init: {
    readonly everyByte: boolean;
    readonly dryRun: boolean;
    readonly tree: TreeSettings;
    readonly signal: AbortSignal;
  },
): Promise<Damage | undefined> {
  const { state, layout } = volume;
  if (published === undefined) return undefined;
  await clearSeen(state, makePause(init.signal));
  if (volume.publish === "swap") {
    if (published.tree === null || !isDirectory(join(layout.generations, published.tree)))
      return healed(volume, "the published tree was gone");
    if (!init.dryRun && finishPublish(volume))
      volume.emit({ type: "healed", message: `the link ${volume.link} was not as published` });
  }
  const verify = init.everyByte || getMeta(state, "unverified") !== undefined;
  if (!verify) return undefined;
  const tree = openPublishedTree(volume, published, init.tree);
  if (tree === undefined) return healed(volume, "the published tree cannot be opened");
  try {
    const alone = volume.publish === "swap";
    const report = await verifyTree(
      state,
      tree,
      published.id,
      alone,
      init.signal,
      (fault, path) => {
        if (fault !== "extra") noteSeen(state, path);
      },
    );
    const { changed, missing, extra } = report;
    const sound = changed + missing + extra === 0;
    // What is found is put right by this sync or, if it fails, by a later one.
    setMeta(state, "unverified", sound ? undefined : "damaged");
    if (sound) return undefined;
    return healed(
      volume,
      `the published tree was not as published: ${changed} changed, ${missing} missing, ${extra} added by somebody else`,
    );
  } finally {
    tree.close();
  }
}

function healed(volume: Volume, message: string): Damage {
  volume.emit({ type: "healed", message });
  return { message };
}

/** What was damaged has been put right. */
export function trustPublished(state: State): void {
  setMeta(state, "unverified", undefined);
}

/** Plans to fetch the damaged files again, at the version that was published. Without its digest: it may be that which is damaged. */
export async function planDamage(
  state: State,
  damage: Damage | undefined,
  pause: Pause,
): Promise<void> {
  if (damage !== undefined) await planSeen(state, pause);
}

/** After layering: whatever is planned at a damaged path, the published file is not to be used for it. */
export async function distrustDamaged(
  state: State,
  damage: Damage | undefined,
  pause: Pause,
): Promise<void> {
  if (damage !== undefined) await distrustSeen(state, pause);
}
