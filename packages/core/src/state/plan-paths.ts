/** What the plan changes, in order, for those who go through it. */
import { mergePaths, type Paths } from "./merge-paths.ts";
import type { PlannedChange, PlannedRow } from "./plan.ts";
import { type EntryRow, type PublishedRow, SKIPPED } from "./row.ts";
import type { State } from "./state.ts";

/** All paths of the tree to come, in order. */
export function futurePaths(state: State): Generator<{ path: string }> {
  const lists = [
    "SELECT path FROM plan WHERE action = 'put' AND effective = 1 ORDER BY path",
    "SELECT path FROM entries WHERE until IS NULL AND NOT EXISTS (SELECT 1 FROM plan WHERE plan.path = entries.path AND effective = 1) ORDER BY path",
  ];
  return mergePaths(lists.map((sql) => state.prepare(sql).iterate() as unknown as Paths));
}

/** Paths at which the tree, or what is known of it, will change; in order. */
export function changedPlanPaths(state: State): Paths {
  return state
    .prepare("SELECT path FROM plan WHERE effective = 1 AND change IS NOT NULL ORDER BY path")
    .iterate() as unknown as Paths;
}

/** What the tree is to have of a file or symlink. */
export type StagedRow = Pick<PublishedRow, "path" | "kind" | "size" | "ino" | "disk_mtime">;

/** What the plan puts into the tree, in order; without looking each path up. */
export function putRows(state: State): Iterable<StagedRow> {
  return state
    .prepare(
      `SELECT path, kind, size, ino, disk_mtime FROM plan WHERE effective = 1 AND action = 'put' AND kind < ${SKIPPED} AND change IS NOT NULL ORDER BY path`,
    )
    .iterate() as unknown as Iterable<StagedRow>;
}

const PATHS = {
  all: "TRUE",
  put: "effective = 1 AND action = 'put' AND change IN ('added', 'changed', 'touched')",
  gone: "effective = 1 AND change = 'deleted'",
};

/** Paths of the plan, in order, a page at a time: the plan may be changed meanwhile, and may be long. */
export function* plannedPaths(state: State, which: keyof typeof PATHS): Generator<string> {
  const select = state.sql(
    `SELECT DISTINCT path FROM plan WHERE path > ? AND ${PATHS[which]} ORDER BY path LIMIT 1000`,
  );
  let last = "";
  for (let more = true; more;) {
    const page = select.all(last);
    for (const row of page) yield (last = row["path"] as string);
    more = page.length === 1000;
  }
}

/** Paths that will show a new or another file or symlink, in order. */
export function plannedPuts(state: State): Iterable<Pick<PlannedRow, "path" | "change">> {
  return state
    .prepare(
      `SELECT path, change FROM plan WHERE action = 'put' AND effective = 1 AND kind < ${SKIPPED} AND change IS NOT NULL ORDER BY path`,
    )
    .iterate() as unknown as Iterable<Pick<PlannedRow, "path" | "change">>;
}

/** What the tree will show otherwise, in order. */
export function changedRows(
  state: State,
): Iterable<EntryRow & { readonly change: Exclude<PlannedChange, "touched"> }> {
  return state
    .prepare(
      "SELECT change, path, layer, kind, size, mode, mtime, fingerprint, ref, sha256 FROM plan WHERE effective = 1 AND change IN ('added', 'changed', 'deleted') ORDER BY path",
    )
    .iterate() as unknown as Iterable<
    EntryRow & { readonly change: Exclude<PlannedChange, "touched"> }
  >;
}

/** What of each changed path its revision depends on, in no order. */
export function namedChanges(
  state: State,
): Iterable<Pick<PlannedRow, "path" | "kind" | "mode" | "fingerprint" | "change">> {
  return state
    .prepare(
      "SELECT path, kind, mode, fingerprint, change FROM plan WHERE effective = 1 AND change IS NOT NULL",
    )
    .iterate() as unknown as Iterable<
    Pick<PlannedRow, "path" | "kind" | "mode" | "fingerprint" | "change">
  >;
}

/** Files that were read again, and are not what was published under the same fingerprint; in order. */
export function changedUnseen(
  state: State,
): Iterable<{ readonly path: string; readonly sha256: string }> {
  return state
    .prepare(
      `SELECT path, sha256 FROM plan WHERE effective = 1 AND change = 'changed' AND content = 'reread'
       AND sha256 IS NOT (SELECT sha256 FROM entries WHERE path = plan.path AND layer = plan.layer AND until IS NULL) ORDER BY path`,
    )
    .iterate() as unknown as Iterable<{ readonly path: string; readonly sha256: string }>;
}

/** `mirror`: what waits to be moved into place, in order. */
export function stagedRows(
  state: State,
): Iterable<{ readonly path: string; readonly staged: string; readonly ino: number }> {
  return state
    .prepare("SELECT path, staged, ino FROM plan WHERE staged IS NOT NULL ORDER BY path")
    .iterate() as unknown as Iterable<{
    readonly path: string;
    readonly staged: string;
    readonly ino: number;
  }>;
}
