/** Layering: which of a path's rows decides what the tree shows, once several sources have a say. */
import { publishedRows } from "../state/entries.ts";
import { decide, plannedPaths, plannedRows, planRow, READ_AGAIN, undecide } from "../state/plan.ts";
import { SKIPPED } from "../state/row.ts";
import type { State } from "../state/state.ts";

/**
 * Marks, for each planned path, the row that wins: the highest layer's, among what is planned and what stays published.
 * Where a deletion uncovers a lower layer's published row, that row is planned anew. With a single layer every row wins already.
 */
export function layOver(state: State, layers: number): void {
  if (layers <= 1) return;
  const published = publishedRows(state);
  const planned = plannedRows(state);
  undecide(state);
  for (const path of plannedPaths(state, "all")) {
    const rows = planned(path);
    const old = published(path);
    const before = old[0];
    const kept = old.find((row) => !rows.some((plannedRow) => plannedRow.layer === row.layer));
    const put = rows.find((row) => row.put === 1);
    const wasShown = before !== undefined && before.kind !== SKIPPED;
    if (put !== undefined && (kept === undefined || put.layer > kept.layer)) {
      const same = before?.layer === put.layer ? put.same : 0;
      const change = same === READ_AGAIN ? "T" : wasShown ? "M" : "A";
      decide(state, { path, layer: put.layer }, change, same);
    } else if (kept === undefined) {
      const { layer } = rows[0] as { layer: number };
      decide(state, { path, layer }, wasShown ? "D" : null, 0);
    } else if (kept !== before) {
      const willShow = kept.kind !== SKIPPED;
      const change = willShow ? (wasShown ? "M" : "A") : wasShown ? "D" : null;
      planRow(
        state,
        { ...kept, ino: null, disk_mtime: null },
        { put: 1, wins: 1, change, same: 0 },
      );
    }
  }
}
