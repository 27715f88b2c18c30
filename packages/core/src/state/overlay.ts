/** How a candidate that was left behind half done differs from the generation it was recycled from, and what is left to do in it. */
import type { Pause } from "../timing/slices.ts";
import { publishedPaths } from "./entries.ts";
import { deltasAfter } from "./generations.ts";
import { mergePaths, type Paths } from "./merge-paths.ts";
import { getMeta } from "./meta.ts";
import { changedPlanPaths } from "./plan-paths.ts";
import type { PublishedRow } from "./row.ts";
import { clearTable, IN_RANGE, runInRanges } from "./ranges.ts";
import type { State } from "./state.ts";

/** Of a path in the overlay: whether the candidate has it. What is expected was noted, and is looked for. */
const ABSENT = 0;
export const PRESENT = 1;
const EXPECTED = 2;

/** What an interrupted attempt left at a path of the candidate. */
export type OverlayRow = Pick<
  PublishedRow,
  "path" | "kind" | "size" | "mode" | "fingerprint" | "sha256" | "ino" | "disk_mtime"
> & { readonly present: number; readonly origin: string | null };

export function hasOverlay(state: State): boolean {
  return state.sql("SELECT 1 FROM overlay LIMIT 1").get() !== undefined;
}

export function overlayEntry(state: State): (path: string) => OverlayRow | undefined {
  const select = state.sql("SELECT * FROM overlay WHERE path = ?");
  return (path) => select.get(path) as unknown as OverlayRow | undefined;
}

export async function clearOverlay(state: State, pause: Pause): Promise<void> {
  await clearTable(state, "overlay", pause);
}

/** What a plan that was not published had already fetched stays usable: it is taken over before the plan is recreated. */
export async function keepFetched(state: State, pause: Pause): Promise<void> {
  const sql = `INSERT OR REPLACE INTO overlay (path, present, origin, kind, size, mode, fingerprint, sha256, ino, disk_mtime)
    SELECT path, ${PRESENT}, ?, kind, size, mode, fingerprint, sha256, ino, disk_mtime FROM plan
    WHERE layer = ? AND effective = 1 AND action = 'put' AND ino IS NOT NULL AND ${IN_RANGE}`;
  for (const [layer, origin] of (getMeta(state, "origins") ?? []).entries())
    await runInRanges(state, "plan", pause, sql, origin, layer);
}

/** Before a candidate is looked through: nothing of what was noted is known to be there. Within a transaction. */
export async function beginReconciling(state: State, pause: Pause): Promise<void> {
  const expect = `UPDATE overlay SET present = ${EXPECTED} WHERE present = ${PRESENT} AND ${IN_RANGE}`;
  await runInRanges(state, "overlay", pause, DELETE_WITH, ABSENT);
  await runInRanges(state, "overlay", pause, expect);
  await clearTable(state, "seen", pause);
}

const DELETE_WITH = `DELETE FROM overlay WHERE present = ? AND ${IN_RANGE}`;

/** What was noted at a path and was not found yet. */
export function notedEntry(state: State): (path: string) => OverlayRow | undefined {
  const select = state.sql(`SELECT * FROM overlay WHERE path = ? AND present = ${EXPECTED}`);
  return (path) => select.get(path) as unknown as OverlayRow | undefined;
}

export function noteFound(state: State, path: string): void {
  state.sql(`UPDATE overlay SET present = ${PRESENT} WHERE path = ?`).run(path);
}

/** After it: what was not found was never written, or is lost, and is forgotten; what the base generation had and is not in `seen` is noted as gone. */
export async function endReconciling(
  state: State,
  base: number | null,
  pause: Pause,
): Promise<void> {
  await runInRanges(state, "overlay", pause, DELETE_WITH, EXPECTED);
  if (base !== null) {
    const sql = `INSERT OR IGNORE INTO overlay (path, present) SELECT DISTINCT path, ${ABSENT} FROM entries
      WHERE since <= ? AND (until IS NULL OR until > ?) AND ino IS NOT NULL AND ${IN_RANGE}
      AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.path = entries.path)`;
    await runInRanges(state, "entries", pause, sql, base, base);
  }
  await clearTable(state, "seen", pause);
}

/**
 * The paths at which the candidate may differ from the wanted tree, in order. For a recycled tree: what changed since its
 * generation, and what an interrupted attempt did; for a new one: everything.
 */
export function pathsToStage(state: State, base: number | null): Generator<{ path: string }> {
  return mergePaths([
    ...(base === null ? [publishedPaths(state)] : deltasAfter(state, base)),
    changedPlanPaths(state),
    state.prepare("SELECT path FROM overlay ORDER BY path").iterate() as unknown as Paths,
  ]);
}
