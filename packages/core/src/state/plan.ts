/** The plan of the sync under way: rows of layers that are to begin and to end, and what that changes in the tree. */
import type { Pause } from "../timing/slices.ts";
import { type EntryView, publishedEntry, shown } from "./entries.ts";
import { clearTable, IN_RANGE, ranges, runInRanges } from "./ranges.ts";
import { ALL_COLUMNS, type EntryRow, type PublishedRow } from "./row.ts";
import type { State } from "./state.ts";

/** What the plan does at a path of the tree. `touched`: a file whose content is what is published, or is believed to be and read to be sure. */
export type PlannedChange = "added" | "changed" | "deleted" | "touched";

/**
 * Where the content of a row comes from.
 *
 * - `fetch`: from the source; if it turns out to be what is published, that stays in place
 * - `mustFetch`: from the source, whatever the published tree seems to have
 * - `samePublished`: it is that of the published row, only the mode differs
 * - `reread`: it is believed to be what is published, and read from the source to be sure
 */
export type ContentFrom = "fetch" | "mustFetch" | "samePublished" | "reread";

/** A row of the plan that decides what the tree will show at its path. */
export type PlannedRow = PublishedRow & {
  /** `remove`: the layer's row ends. */
  readonly action: "put" | "remove";
  readonly change: PlannedChange | null;
  readonly content: ContentFrom;
  readonly staged: string | null;
};

export const PLAN_COLUMNS =
  "path, layer, action, effective, change, content, kind, size, mode, mtime, fingerprint, ref, sha256, ino, disk_mtime";

/** All rows of the plan come this way. */
export function insertIntoPlan(conflict: "ABORT" | "IGNORE" | "REPLACE", rows: string): string {
  return `INSERT OR ${conflict} INTO plan (${PLAN_COLUMNS}) ${rows}`;
}

const INSERT_ROW = insertIntoPlan(
  "REPLACE",
  "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
);

/** Plans that a row of a layer begins, or ends. */
export function planRow(
  state: State,
  row: EntryRow & Partial<Pick<PublishedRow, "ino" | "disk_mtime">>,
  how: Pick<PlannedRow, "action" | "change" | "content"> & {
    /** Whether this row decides what the tree shows at its path. */
    readonly effective: boolean;
  },
): void {
  state
    .sql(INSERT_ROW)
    .run(
      row.path,
      row.layer,
      how.action,
      how.effective ? 1 : 0,
      how.change,
      how.content,
      row.kind,
      row.size,
      row.mode,
      row.mtime,
      row.fingerprint,
      row.ref,
      row.sha256,
      row.ino ?? null,
      row.disk_mtime ?? null,
    );
}

export async function clearPlan(state: State, pause: Pause): Promise<void> {
  await clearTable(state, "plan", pause);
}

/** Forgets what is planned for a layer. */
export async function clearLayer(state: State, layer: number, pause: Pause): Promise<void> {
  await runInRanges(
    state,
    "plan",
    pause,
    `DELETE FROM plan WHERE layer = ? AND ${IN_RANGE}`,
    layer,
  );
}

export function hasPlan(state: State): boolean {
  return state.sql("SELECT 1 FROM plan LIMIT 1").get() !== undefined;
}

/** Whether any row is one that the tree did not show before. */
export async function hasAdditions(state: State, pause: Pause): Promise<boolean> {
  const some = state.sql(`SELECT 1 FROM plan WHERE change = 'added' AND ${IN_RANGE} LIMIT 1`);
  for await (const range of ranges(state, "plan", pause))
    if (some.get(...range) !== undefined) return true;
  return false;
}

/** The row of the plan that decides about a path, if the plan has one. */
export function plannedEntry(state: State): (path: string) => PlannedRow | undefined {
  const select = state.sql(
    `SELECT 0 AS since, ${ALL_COLUMNS}, action, change, content, staged FROM plan WHERE path = ? AND effective = 1`,
  );
  return (path) => select.get(path) as unknown as PlannedRow | undefined;
}

/** What the tree will show once the plan is carried out. */
export function futureEntry(state: State): EntryView {
  const planned = plannedEntry(state);
  const published = publishedEntry(state);
  return (path) => {
    const row = planned(path);
    if (row === undefined) return published(path);
    return row.action === "put" ? shown(row) : undefined;
  };
}

const BELOW = "SELECT 1 FROM plan WHERE path > ? AND path < ?";

const HAS_BELOW = {
  put: `${BELOW} AND action = 'put' AND change IN ('added', 'changed') LIMIT 1`,
  gone: `${BELOW} AND change = 'deleted' LIMIT 1`,
};

/** Whether something below a path is planned to be put there, or to be deleted. */
export function hasPlannedBelow(
  state: State,
  path: string,
  which: keyof typeof HAS_BELOW,
): boolean {
  return state.sql(HAS_BELOW[which]).get(`${path}/`, `${path}0`) !== undefined;
}

/** What is planned at a path, the highest layer first. */
export function plannedRows(
  state: State,
): (path: string) => Pick<PlannedRow, "layer" | "action" | "kind" | "content">[] {
  const select = state.sql(
    "SELECT layer, action, kind, content FROM plan WHERE path = ? ORDER BY layer DESC",
  );
  return (path) =>
    select.all(path) as unknown as Pick<PlannedRow, "layer" | "action" | "kind" | "content">[];
}

/** Until it is decided again, no row decides what the tree shows. */
export async function undecide(state: State, pause: Pause): Promise<void> {
  await runInRanges(state, "plan", pause, `UPDATE plan SET effective = 0 WHERE ${IN_RANGE}`);
}

/** A planned row decides what the tree shows. */
export function decide(
  state: State,
  { path, layer }: Pick<EntryRow, "path" | "layer">,
  change: PlannedRow["change"],
  content: ContentFrom,
): void {
  state
    .sql("UPDATE plan SET effective = 1, change = ?, content = ? WHERE path = ? AND layer = ?")
    .run(change, content, path, layer);
}

/** What the plan learns of a file once it is on the volume. */
export interface WrittenFacts {
  readonly size: number | null;
  readonly sha256: string | null;
  readonly ino: number | null;
  readonly disk_mtime: number | null;
  readonly change: PlannedRow["change"];
  /** `mirror`: the file's name in the staging directory. */
  readonly staged?: string | undefined;
}

export function noteWritten(
  state: State,
  { path, layer }: Pick<EntryRow, "path" | "layer">,
  facts: WrittenFacts,
): void {
  state
    .sql(
      "UPDATE plan SET size = ?, sha256 = ?, ino = ?, disk_mtime = ?, change = ?, staged = ? WHERE path = ? AND layer = ?",
    )
    .run(
      facts.size,
      facts.sha256,
      facts.ino,
      facts.disk_mtime,
      facts.change,
      facts.staged ?? null,
      path,
      layer,
    );
}

/** Rows of the plan, and the bytes of their paths at most. */
export async function planSize(
  state: State,
  pause: Pause,
): Promise<{ readonly rows: number; readonly bytes: number }> {
  const select = state.sql(
    `SELECT count(*) AS rows, coalesce(sum(length(path)), 0) * 4 AS bytes FROM plan WHERE ${IN_RANGE}`,
  );
  const size = { rows: 0, bytes: 0 };
  for await (const range of ranges(state, "plan", pause)) {
    const { rows, bytes } = select.get(...range) as typeof size;
    size.rows += rows;
    size.bytes += bytes;
  }
  return size;
}
