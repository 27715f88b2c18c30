/** The plan of the sync under way: rows of layers that are to begin and to end, and what that changes in the tree. */
import type { Pause } from "../timing/slices.ts";
import { publishedEntry, shown, type EntryView } from "./entries.ts";
import { ALL_COLUMNS, type EntryRow, FILE, type PublishedRow, SKIPPED } from "./row.ts";
import { clearTable, IN_RANGE, ranges, runInRanges } from "./ranges.ts";
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

/** Assignments by which planned rows are fetched, whatever was believed of their content. */
const MUST_FETCH =
  "content = 'mustFetch', change = CASE change WHEN 'touched' THEN 'changed' ELSE change END";

const COLUMNS =
  "path, layer, action, effective, change, content, kind, size, mode, mtime, fingerprint, ref, sha256, ino, disk_mtime";

/** All rows of the plan come this way. */
function insert(conflict: "ABORT" | "IGNORE" | "REPLACE", rows: string): string {
  return `INSERT OR ${conflict} INTO plan (${COLUMNS}) ${rows}`;
}

/** Rows for {@link insert} that are made of published ones. */
function fromPublished(values: Readonly<Record<string, string | number>>, where: string): string {
  const all = { effective: 1, content: "'fetch'", ino: "NULL", disk_mtime: "NULL", ...values };
  const columns = COLUMNS.split(", ").map((name) => all[name as keyof typeof all] ?? name);
  return `SELECT ${columns.join(", ")} FROM entries WHERE until IS NULL AND ${where}`;
}

const INSERT_ROW = insert("REPLACE", "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");

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

const DELETION = {
  action: "'remove'",
  change: `CASE kind WHEN ${SKIPPED} THEN NULL ELSE 'deleted' END`,
};
const insertDeletion = (conflict: "IGNORE" | "REPLACE") =>
  insert(conflict, fromPublished(DELETION, "path = ? AND layer = ?"));
const INSERT_DELETION = { IGNORE: insertDeletion("IGNORE"), REPLACE: insertDeletion("REPLACE") };

/**
 * Plans that a published row of a layer ends.
 *
 * @param conflict what to do where the path has a plan already
 * @returns false when there is no such row, or where a plan was left as it was
 */
export function planDeletion(
  state: State,
  { path, layer }: Pick<EntryRow, "path" | "layer">,
  conflict: keyof typeof INSERT_DELETION,
): boolean {
  return state.sql(INSERT_DELETION[conflict]).run(path, layer).changes > 0;
}

const INSERT_OLD_LAYERS = insert(
  "ABORT",
  fromPublished({ action: "'remove'", change: "'deleted'" }, `layer >= ? AND ${IN_RANGE}`),
);

/** Plans away what came from layers that a mount has no more. */
export async function planAwayLayers(state: State, first: number, pause: Pause): Promise<void> {
  await runInRanges(state, "entries", pause, INSERT_OLD_LAYERS, first);
}

const INSERT_SEEN = insert(
  "IGNORE",
  fromPublished(
    { action: "'put'", change: "'changed'", content: "'mustFetch'", sha256: "NULL" },
    `kind < ${SKIPPED} AND path IN (SELECT path FROM seen WHERE ${IN_RANGE})`,
  ),
);

/** Plans to fetch the paths in `seen` again, at the version that was published. Without its digest: it may be that which is damaged. */
export async function planSeen(state: State, pause: Pause): Promise<void> {
  await runInRanges(state, "seen", pause, INSERT_SEEN);
}

/** Whatever is planned at a path in `seen`, the published file is not to be used for it. */
export async function distrustSeen(state: State, pause: Pause): Promise<void> {
  const sql = `UPDATE plan SET ${MUST_FETCH} WHERE path IN (SELECT path FROM seen WHERE ${IN_RANGE})`;
  await runInRanges(state, "seen", pause, sql);
}

const INSERT_COPIES = insert(
  "IGNORE",
  fromPublished(
    { action: "'put'", change: "'changed'", content: "'samePublished'" },
    `kind < ${SKIPPED} AND ${IN_RANGE}`,
  ),
);

/** Plans every published file anew, as a copy; what is fetched is not to be found the same, and linked. */
export async function planCopies(state: State, pause: Pause): Promise<void> {
  const sql = `UPDATE plan SET ${MUST_FETCH} WHERE action = 'put' AND content <> 'samePublished' AND ${IN_RANGE}`;
  await runInRanges(state, "plan", pause, sql);
  await runInRanges(state, "entries", pause, INSERT_COPIES);
}

const INSERT_REFETCHED = insert(
  "REPLACE",
  fromPublished(
    { action: "'put'", change: "'changed'", size: "?", sha256: "?", ino: "?", disk_mtime: "?" },
    "path = ? AND layer = ?",
  ),
);

/** A published file that had to be fetched again has a new inode from now on. */
export function planRefetched(
  state: State,
  { path, layer }: Pick<EntryRow, "path" | "layer">,
  written: {
    readonly size: number;
    readonly sha256: string;
    readonly ino: number;
    readonly mtime: number;
  },
): void {
  state
    .sql(INSERT_REFETCHED)
    .run(written.size, written.sha256, written.ino, written.mtime, path, layer);
}

/** Plans what becomes of a published symlink of which the plan says nothing. */
export function planPublishedLink(
  state: State,
  path: string,
  kind: number,
  change: "added" | "deleted",
): void {
  const rows = fromPublished(
    { action: "'put'", change: `'${change}'`, kind },
    `path = ? AND kind > ${FILE} ORDER BY layer DESC LIMIT 1`,
  );
  state.sql(insert("IGNORE", rows)).run(path);
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

/** All paths of the tree to come, in order. */
export function futurePaths(state: State): Iterable<{ path: string }> {
  return state
    .prepare(
      `SELECT path FROM plan WHERE action = 'put' AND effective = 1 UNION SELECT path FROM entries WHERE until IS NULL AND path NOT IN (SELECT path FROM plan WHERE effective = 1) ORDER BY path`,
    )
    .iterate() as unknown as Iterable<{ path: string }>;
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

/** Until it is decided anew, no row decides what the tree shows. */
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
