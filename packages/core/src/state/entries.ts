/** Looking up what the tree shows, or showed, at a path. */
import { ALL_COLUMNS, type PublishedRow, SKIPPED } from "./row.ts";
import { empty, type State } from "./state.ts";

/** What a tree has at a path: the row of the highest layer; nothing where that is a link left out. */
export type EntryView = (path: string) => PublishedRow | undefined;

/** The published tree. */
export function publishedEntry(state: State): EntryView {
  const select = state.sql(
    `SELECT since, ${ALL_COLUMNS} FROM entries WHERE path = ? AND until IS NULL ORDER BY layer DESC LIMIT 1`,
  );
  return (path) => shown(select.get(path) as unknown as PublishedRow | undefined);
}

/** The tree of a generation whose rows are kept. */
export function entryAt(state: State, generation: number): EntryView {
  const select = state.sql(
    `SELECT since, ${ALL_COLUMNS} FROM entries WHERE path = ? AND since <= ? AND (until IS NULL OR until > ?) ORDER BY layer DESC LIMIT 1`,
  );
  return (path) =>
    shown(select.get(path, generation, generation) as unknown as PublishedRow | undefined);
}

/** How a planned row (its `same`) says that its content must come from the source, whatever the published tree seems to have. */
export const FETCH_ANEW = 2;

/** How one with the change `T` says that its content is believed to be what is published, and read to be sure. */
export const READ_AGAIN = 3;

/** Assignments by which planned rows are made anew from the source, whatever was believed of their content. */
export const MADE_ANEW = `same = ${FETCH_ANEW}, change = CASE change WHEN 'T' THEN 'M' ELSE change END`;

/** A row of the plan that decides what the tree will show at its path. */
export type PlannedRow = PublishedRow & {
  readonly put: number;
  readonly change: "A" | "M" | "D" | "T" | null;
  readonly same: number;
  readonly staged: string | null;
};

/** The row of the plan that decides about a path, if the plan has one. */
export function plannedEntry(state: State): (path: string) => PlannedRow | undefined {
  const select = state.sql(
    `SELECT 0 AS since, ${ALL_COLUMNS}, put, change, same, staged FROM plan WHERE path = ? AND wins = 1`,
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
    return row.put === 1 ? shown(row) : undefined;
  };
}

export function shown<Row extends PublishedRow>(row: Row | undefined): Row | undefined {
  return row === undefined || row.kind === SKIPPED ? undefined : row;
}

/** Paths of the plan, in order, a page at a time: the plan may be changed meanwhile, and may be long. */
export function* plannedPaths(state: State, condition: string): Generator<string> {
  const select = state.sql(
    `SELECT DISTINCT path FROM plan WHERE path > ? AND ${condition} ORDER BY path LIMIT 1000`,
  );
  let last = "";
  for (let more = true; more;) {
    const page = select.all(last);
    for (const row of page) yield (last = row["path"] as string);
    more = page.length === 1000;
  }
}

export function clearPlan(state: State): void {
  empty(state, "plan");
}
