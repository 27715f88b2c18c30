/** Layering: which of a path's rows decides what the tree shows, once several sources have a say. */
import { publishedRows } from "../state/entries.ts";
import { decide, plannedRows, planRow, undecide } from "../state/plan.ts";
import { plannedPaths } from "../state/plan-paths.ts";
import { SKIPPED } from "../state/row.ts";
import type { Pause } from "../timing/slices.ts";
import type { State } from "../state/state.ts";

/**
 * Marks, for each planned path, the row that decides: the highest layer's, among what is planned and what stays published.
 * Where a deletion uncovers a lower layer's published row, that row is planned again. With a single layer every row decides already.
 */
export async function resolveLayers(state: State, layers: number, pause: Pause): Promise<void> {
  if (layers <= 1) return;
  const published = publishedRows(state);
  const planned = plannedRows(state);
  await undecide(state, pause);
  for (const path of plannedPaths(state, "all")) {
    await pause();
    const rows = planned(path);
    const old = published(path);
    const before = old[0];
    const kept = old.find((row) => !rows.some((plannedRow) => plannedRow.layer === row.layer));
    const put = rows.find((row) => row.action === "put");
    const wasShown = before !== undefined && before.kind !== SKIPPED;
    if (put !== undefined && (kept === undefined || put.layer > kept.layer)) {
      const content = before?.layer === put.layer ? put.content : "fetch";
      const change = content === "reread" ? "touched" : wasShown ? "changed" : "added";
      decide(state, { path, layer: put.layer }, change, content);
    } else if (kept === undefined) {
      const { layer } = rows[0] as { layer: number };
      decide(state, { path, layer }, wasShown ? "deleted" : null, "fetch");
    } else if (kept !== before) {
      const willShow = kept.kind !== SKIPPED;
      const change = willShow ? (wasShown ? "changed" : "added") : wasShown ? "deleted" : null;
      planRow(
        state,
        { ...kept, ino: null, disk_mtime: null },
        { action: "put", effective: true, change, content: "fetch" },
      );
    }
  }
}
