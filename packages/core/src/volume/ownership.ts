/** `--owner` and `--dir-mode`: a change of them concerns every file and directory, so all are made anew. */
import { getMeta, setMeta } from "../state/meta.ts";
import { planCopies } from "../state/plan.ts";
import type { Pause } from "../timing/slices.ts";
import type { State } from "../state/state.ts";
import type { TreeSettings } from "./tree.ts";

export function noteOwnership(state: State, settings: TreeSettings): void {
  setMeta(state, "ownership", describe(settings));
}

export function ownershipChanged(state: State, settings: TreeSettings): boolean {
  const before = getMeta(state, "ownership");
  return before !== undefined && before !== describe(settings);
}

/** Plans every published file anew, as a copy, when its owner is to be another. */
export async function planOwnership(
  state: State,
  settings: TreeSettings,
  pause: Pause,
): Promise<void> {
  if (ownershipChanged(state, settings)) await planCopies(state, pause);
}

function describe({ dirMode, owner }: TreeSettings): string {
  return JSON.stringify([dirMode, owner?.uid ?? null, owner?.gid ?? null]);
}
