/** What a plan does, in numbers. */
import type { Pause } from "../timing/slices.ts";
import { FILE, SKIPPED } from "./row.ts";
import { IN_RANGE, ranges } from "./ranges.ts";
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

const TOTALS = `SELECT
    count(*) FILTER (WHERE change = 'added') AS added,
    count(*) FILTER (WHERE change = 'changed') AS changed,
    count(*) FILTER (WHERE change = 'deleted') AS deleted,
    total(size) FILTER (WHERE change IN ('added', 'changed') AND kind = ${FILE}) AS putBytes,
    count(*) FILTER (WHERE change IN ('added', 'changed') AND kind = ${FILE} AND content <> 'samePublished') AS fetchFiles,
    total(size) FILTER (WHERE change IN ('added', 'changed') AND kind = ${FILE} AND content <> 'samePublished') AS fetchBytes,
    count(*) FILTER (WHERE change = 'touched' AND content = 'reread') AS rereadFiles,
    total(size) FILTER (WHERE change = 'touched' AND content = 'reread') AS rereadBytes
  FROM plan WHERE effective = 1 AND ${IN_RANGE}`;

/** Bytes of the files that are replaced or deleted. */
const GONE = `SELECT total((
    SELECT CASE kind WHEN ${FILE} THEN size ELSE 0 END FROM entries WHERE entries.path = plan.path AND until IS NULL ORDER BY entries.layer DESC LIMIT 1
  )) AS bytes FROM plan WHERE effective = 1 AND change IN ('changed', 'deleted') AND ${IN_RANGE}`;

export async function planTotals(
  state: State,
  before: { readonly files: number; readonly bytes: number } = { files: 0, bytes: 0 },
  pause: Pause,
): Promise<PlanTotals> {
  const sums = {
    added: 0,
    changed: 0,
    deleted: 0,
    putBytes: 0,
    fetchFiles: 0,
    fetchBytes: 0,
    rereadFiles: 0,
    rereadBytes: 0,
  };
  let gone = 0;
  for await (const range of ranges(state, "plan", pause)) {
    const found = state.sql(TOTALS).get(...range) as typeof sums;
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += found[key];
    if (found.changed + found.deleted > 0)
      gone += state.sql(GONE).get(...range)?.["bytes"] as number;
  }
  const { putBytes, ...totals } = sums;
  return {
    ...totals,
    files: before.files + sums.added - sums.deleted,
    bytes: before.bytes + putBytes - gone,
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
export async function emptiedLayer(
  state: State,
  layers: number,
  pause: Pause,
): Promise<EmptiedLayer | undefined> {
  const select = state.sql(
    `SELECT layer, count(*) AS files, max(action = 'put') AS puts FROM plan WHERE kind <> ${SKIPPED} AND ${IN_RANGE} GROUP BY layer`,
  );
  const files = new Map<number, number>();
  const putting = new Set<number>();
  for await (const range of ranges(state, "plan", pause)) {
    for (const row of select.all(...range) as unknown as (EmptiedLayer & { puts: number })[]) {
      files.set(row.layer, (files.get(row.layer) ?? 0) + row.files);
      if (row.puts === 1) putting.add(row.layer);
    }
  }
  for (let layer = 0; layer < layers; layer++) {
    const count = files.get(layer);
    if (count === undefined || putting.has(layer)) continue;
    if (!(await hasSurvivor(state, layer, pause))) return { layer, files: count };
  }
  return undefined;
}

/** Goes through entries until it finds one: only to be asked of a layer that loses something and gains nothing. */
async function hasSurvivor(state: State, layer: number, pause: Pause): Promise<boolean> {
  const some = state.sql(
    `SELECT 1 FROM entries WHERE layer = ? AND until IS NULL AND kind <> ${SKIPPED}
     AND NOT EXISTS (SELECT 1 FROM plan WHERE plan.path = entries.path AND plan.layer = entries.layer) AND ${IN_RANGE} LIMIT 1`,
  );
  for await (const range of ranges(state, "entries", pause))
    if (some.get(layer, ...range) !== undefined) return true;
  return false;
}
