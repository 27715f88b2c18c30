/** Layering: which of a path's rows decides what the tree shows, once several sources have a say. */
import { ALL_COLUMNS, type EntryRow, type PublishedRow, SKIPPED } from "../state/row.ts";
import { plannedPaths, READ_AGAIN } from "../state/entries.ts";
import type { State } from "../state/state.ts";

/**
 * Marks, for each planned path, the row that wins: the highest layer's, among what is planned and what stays published.
 * Where a deletion uncovers a lower layer's published row, that row is planned anew. With a single layer every row wins already.
 */
export function layOver(state: State, layers: number): void {
  if (layers <= 1) return;
  const published = state.sql(
    `SELECT since, ${ALL_COLUMNS} FROM entries WHERE path = ? AND until IS NULL ORDER BY layer DESC`,
  );
  const planned = state.sql(
    "SELECT layer, put, kind, same FROM plan WHERE path = ? ORDER BY layer DESC",
  );
  const decide = state.sql(
    "UPDATE plan SET wins = 1, change = ?, same = ? WHERE path = ? AND layer = ?",
  );
  const uncover = state.sql(
    `INSERT INTO plan (path, layer, put, wins, change, same, kind, size, mode, mtime, fingerprint, ref, sha256) VALUES (?, ?, 1, 1, ?, 0, ?, ?, ?, ?, ?, ?, ?)`,
  );
  state.db.exec("UPDATE plan SET wins = 0");
  for (const path of plannedPaths(state, "TRUE")) {
    const rows = planned.all(path) as unknown as (Pick<EntryRow, "layer" | "kind"> & {
      put: number;
      same: number;
    })[];
    const old = published.all(path) as unknown as PublishedRow[];
    const before = old[0];
    const kept = old.find((row) => !rows.some((plannedRow) => plannedRow.layer === row.layer));
    const put = rows.find((row) => row.put === 1);
    const wasShown = before !== undefined && before.kind !== SKIPPED;
    if (put !== undefined && (kept === undefined || put.layer > kept.layer)) {
      const same = before?.layer === put.layer ? put.same : 0;
      const change = same === READ_AGAIN ? "T" : wasShown ? "M" : "A";
      decide.run(change, same, path, put.layer);
    } else if (kept === undefined) {
      decide.run(wasShown ? "D" : null, 0, path, (rows[0] as { layer: number }).layer);
    } else if (kept !== before) {
      const willShow = kept.kind !== SKIPPED;
      uncover.run(
        path,
        kept.layer,
        willShow ? (wasShown ? "M" : "A") : wasShown ? "D" : null,
        kept.kind,
        kept.size,
        kept.mode,
        kept.mtime,
        kept.fingerprint,
        kept.ref,
        kept.sha256,
      );
    }
  }
}
