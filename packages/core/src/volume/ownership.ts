/** `--owner` and `--dir-mode`: a change of them concerns every file and directory, so all are made anew. */
import { MADE_ANEW } from "../state/entries.ts";
import { getMeta, setMeta } from "../state/meta.ts";
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
export function planOwnership(state: State, settings: TreeSettings): void {
  if (!ownershipChanged(state, settings)) return;
  // What is fetched is not to be found the same, and linked.
  state.db.exec(`UPDATE plan SET ${MADE_ANEW} WHERE put = 1 AND same <> 1`);
  state.db.exec(
    `INSERT OR IGNORE INTO plan (path, layer, put, wins, change, same, kind, size, mode, mtime, fingerprint, ref, sha256)
     SELECT path, layer, 1, 1, 'M', 1, kind, size, mode, mtime, fingerprint, ref, sha256 FROM entries WHERE until IS NULL AND kind < 2`,
  );
}

function describe({ dirMode, owner }: TreeSettings): string {
  return JSON.stringify([dirMode, owner?.uid ?? null, owner?.gid ?? null]);
}
