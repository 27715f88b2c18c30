/** `--owner` and `--dir-mode`: a change of them concerns every file and directory, so all are recreated. */
import { getMeta, setMeta } from "../state/meta.ts";
import { planCopies } from "../state/plan-published.ts";
import type { Pause } from "../timing/slices.ts";
import type { State } from "../state/state.ts";
import type { TreeSettings } from "./tree-settings.ts";

type Ownership = Pick<TreeSettings, "dirMode" | "owner">;

export function noteOwnership(state: State, settings: TreeSettings): void {
  setMeta(state, "ownership", describe(settings));
}

export function ownershipChanged(state: State, settings: Ownership): boolean {
  const before = getMeta(state, "ownership");
  return before !== undefined && before !== describe(settings);
}

/** Of the directories of what is published; `undefined` where a process was killed before it was noted. */
export function publishedDirMode(state: State): number | undefined {
  const noted = getMeta(state, "ownership");
  return noted === undefined ? undefined : (JSON.parse(noted) as [number])[0];
}

/** Plans every published file again, as a copy, when its owner is to be another. */
export async function planOwnership(
  state: State,
  settings: TreeSettings,
  pause: Pause,
): Promise<void> {
  if (ownershipChanged(state, settings)) await planCopies(state, pause);
}

function describe({ dirMode, owner }: Ownership): string {
  return JSON.stringify([dirMode, owner?.uid ?? null, owner?.gid ?? null]);
}
