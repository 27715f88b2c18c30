/** From the plan to the entries. */
import type { Pause } from "../timing/slices.ts";
import { IN_RANGE, ranges } from "./ranges.ts";
import type { State } from "./state.ts";

const CLEAR_RANGE = `DELETE FROM plan WHERE ${IN_RANGE}`;

const NOTE_DELTAS = `INSERT INTO deltas (generation, path)
  SELECT ?, path FROM plan WHERE effective = 1 AND change IN ('added', 'changed', 'deleted') AND ${IN_RANGE}`;

// IN, where a join would go through all entries.
const END_ENTRIES = `UPDATE entries SET until = ? WHERE until IS NULL AND (path, layer) IN (SELECT path, layer FROM plan WHERE ${IN_RANGE})`;

const DROP_ENTRIES = `DELETE FROM entries WHERE until = ? AND since = ? AND ${IN_RANGE}`;

const BEGIN_ENTRIES = `INSERT INTO entries (path, layer, since, until, kind, size, mode, mtime, fingerprint, ref, sha256, ino, disk_mtime)
  SELECT path, layer, ?, NULL, kind, size, mode, mtime, fingerprint, ref, sha256, ino, disk_mtime FROM plan WHERE action = 'put' AND ${IN_RANGE}`;

/**
 * Moves the plan's rows into the entries, valid from a generation on. Rows of earlier generations stay, for going back to. Within a
 * transaction.
 *
 * @param deltas whether to note which paths that changes, so that differences cost what changed
 */
export async function promotePlan(
  state: State,
  generation: number,
  { deltas }: { readonly deltas: boolean },
  pause: Pause,
): Promise<void> {
  for await (const range of ranges(state, "plan", pause)) {
    if (deltas) state.sql(NOTE_DELTAS).run(generation, ...range);
    state.sql(END_ENTRIES).run(generation, ...range);
    state.sql(DROP_ENTRIES).run(generation, generation, ...range);
    state.sql(BEGIN_ENTRIES).run(generation, ...range);
    state.sql(CLEAR_RANGE).run(...range);
  }
}
