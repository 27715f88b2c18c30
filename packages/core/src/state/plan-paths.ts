/** What the plan changes, in order, for those who go through it. */
import { comparePaths } from "../source/path.ts";
import { DamagedState } from "./damaged.ts";
import { mergePaths, type Paths } from "./merge-paths.ts";
import type { ContentFrom, PlannedChange, PlannedRow } from "./plan.ts";
import { type EntryRow, type PublishedRow, SKIPPED } from "./row.ts";
import type { State } from "./state.ts";

/** Rows that are read at once. */
const PAGE = 500;

/**
 * Rows of the plan in order, a page at a time: the plan may be changed meanwhile.
 *
 * @param columns after the path and the layer
 */
function* planRows<Row extends readonly unknown[]>(
  state: State,
  columns: string,
  where: string,
): Generator<readonly [path: string, layer: number, ...columns: Row], void, undefined> {
  const list = state.rows(
    `SELECT path, layer, ${columns} FROM plan WHERE (path, layer) > (?, ?) AND ${where} ORDER BY path, layer LIMIT ${PAGE}`,
  );
  let path = "";
  let layer = -1;
  for (let more = true; more;) {
    const page = list(path, layer) as unknown as (readonly [string, number, ...Row])[];
    yield* page;
    const last = page.at(-1);
    if (last === undefined) return;
    const step = comparePaths(last[0], path) || last[1] - layer;
    // Bytes that are no text are read as others than they are.
    if (step <= 0) throw new DamagedState("the paths of plan are in no order");
    [path, layer] = last;
    more = page.length === PAGE;
  }
}

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

/** Rows that put a file or symlink into the tree. */
const PUTS = `effective = 1 AND action = 'put' AND kind < ${SKIPPED} AND change IS NOT NULL`;

/** What the plan puts into the tree, in order; without looking each path up. */
export function* putRows(state: State): Generator<StagedRow, void, undefined> {
  for (const [path, , kind, size, ino, disk_mtime] of planRows<
    [number, number | null, number | null, number | null]
  >(state, "kind, size, ino, disk_mtime", PUTS))
    yield { path, kind, size, ino, disk_mtime };
}

/** The same rows as a whole, before anything is known of what they put on the volume. */
export function* rowsToPut(state: State): Generator<PlannedRow, void, undefined> {
  type Columns = [
    kind: number,
    size: number | null,
    mode: number | null,
    mtime: number | null,
    fingerprint: string,
    ref: string | null,
    sha256: string | null,
    change: PlannedChange,
    content: ContentFrom,
  ];
  const columns = "kind, size, mode, mtime, fingerprint, ref, sha256, change, content";
  for (const row of planRows<Columns>(state, columns, PUTS)) {
    const [path, layer, kind, size, mode, mtime, fingerprint, ref, sha256, change, content] = row;
    yield {
      since: 0,
      path,
      layer,
      kind,
      size,
      mode,
      mtime,
      fingerprint,
      ref,
      sha256,
      ino: null,
      disk_mtime: null,
      action: "put",
      change,
      content,
      staged: null,
    };
  }
}

const PATHS = {
  all: "TRUE",
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
export function* plannedPuts(
  state: State,
): Generator<Pick<PlannedRow, "path" | "change">, void, undefined> {
  for (const [path, , change] of planRows<[PlannedChange]>(state, "change", PUTS))
    yield { path, change };
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

/** What of each changed path its revision depends on. */
export function* namedChanges(
  state: State,
): Generator<
  Pick<PlannedRow, "path" | "kind" | "mode" | "fingerprint" | "change">,
  void,
  undefined
> {
  for (const [path, , kind, mode, fingerprint, change] of planRows<
    [number, number | null, string, PlannedChange]
  >(state, "kind, mode, fingerprint, change", "effective = 1 AND change IS NOT NULL"))
    yield { path, kind, mode, fingerprint, change };
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
