/** What a plan does, in numbers. */
import { FILE, SKIPPED } from "./row.ts";
import type { State } from "./state.ts";

/** What a plan does to the tree. */
export interface PlanTotals {
  readonly added: number;
  readonly changed: number;
  readonly deleted: number;
  /** The tree after it: files and symlinks, and the bytes of its files as far as sources tell them. */
  readonly files: number;
  readonly bytes: number;
  /** What has to be fetched. */
  readonly fetchFiles: number;
  readonly fetchBytes: number;
  /** What is only read to be sure that it is what is published. It takes no room of its own unless it is not. */
  readonly rereadFiles: number;
  readonly rereadBytes: number;
}

export function planTotals(
  state: State,
  before: { readonly files: number; readonly bytes: number } = { files: 0, bytes: 0 },
): PlanTotals {
  const row = state
    .sql(
      `SELECT
        count(*) FILTER (WHERE change = 'added') AS added, count(*) FILTER (WHERE change = 'changed') AS changed, count(*) FILTER (WHERE change = 'deleted') AS deleted,
        coalesce(sum(size) FILTER (WHERE change IN ('added', 'changed') AND kind = ${FILE}), 0) AS put,
        count(*) FILTER (WHERE change IN ('added', 'changed') AND kind = ${FILE} AND content <> 'samePublished') AS fetchFiles,
        coalesce(sum(size) FILTER (WHERE change IN ('added', 'changed') AND kind = ${FILE} AND content <> 'samePublished'), 0) AS fetchBytes,
        count(*) FILTER (WHERE change = 'touched' AND content = 'reread') AS rereadFiles,
        coalesce(sum(size) FILTER (WHERE change = 'touched' AND content = 'reread'), 0) AS rereadBytes
      FROM plan WHERE effective = 1`,
    )
    .get() as unknown as {
    added: number;
    changed: number;
    deleted: number;
    put: number;
    fetchFiles: number;
    fetchBytes: number;
    rereadFiles: number;
    rereadBytes: number;
  };
  const gone = state
    .sql(
      `SELECT coalesce(sum((SELECT CASE kind WHEN ${FILE} THEN size ELSE 0 END FROM entries WHERE entries.path = plan.path AND until IS NULL ORDER BY entries.layer DESC LIMIT 1)), 0) AS bytes
      FROM plan WHERE effective = 1 AND change IN ('changed', 'deleted')`,
    )
    .get()?.["bytes"] as number;
  return {
    added: row.added,
    changed: row.changed,
    deleted: row.deleted,
    files: before.files + row.added - row.deleted,
    bytes: before.bytes + row.put - gone,
    fetchFiles: row.fetchFiles,
    fetchBytes: row.fetchBytes,
    rereadFiles: row.rereadFiles,
    rereadBytes: row.rereadBytes,
  };
}

/** A layer of which the plan leaves nothing. */
export interface EmptiedLayer {
  readonly layer: number;
  /** Files and symlinks that it had. */
  readonly files: number;
}

/**
 * The first layer that had something and has nothing any more.
 *
 * @param layers how many sources the mount has: what came from others was taken off the list
 */
export function emptiedLayer(state: State, layers: number): EmptiedLayer | undefined {
  const losing = state
    .sql(
      `SELECT layer, count(*) AS files FROM plan WHERE kind <> ${SKIPPED} AND layer < ? GROUP BY layer HAVING max(action = 'put') = 0 ORDER BY layer`,
    )
    .all(layers) as unknown as EmptiedLayer[];
  return losing.find(({ layer }) => !hasSurvivor(state, layer));
}

/** Goes through entries until it finds one: only to be asked of a layer that loses something and gains nothing. */
function hasSurvivor(state: State, layer: number): boolean {
  const survivor = state
    .sql(
      `SELECT 1 FROM entries WHERE layer = ? AND until IS NULL AND kind <> ${SKIPPED}
       AND NOT EXISTS (SELECT 1 FROM plan WHERE plan.path = entries.path AND plan.layer = entries.layer) LIMIT 1`,
    )
    .get(layer);
  return survivor !== undefined;
}
