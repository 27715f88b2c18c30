/** Plans that are made of published rows: what ends, what is fetched again, what is copied. */
import type { Pause } from "../timing/slices.ts";
import { PLAN_COLUMNS, insertIntoPlan } from "./plan.ts";
import { IN_RANGE, runInRanges } from "./ranges.ts";
import { type EntryRow, FILE, SKIPPED } from "./row.ts";
import type { State } from "./state.ts";

/** Assignments by which planned rows are fetched, whatever was believed of their content. */
const MUST_FETCH =
  "content = 'mustFetch', change = CASE change WHEN 'touched' THEN 'changed' ELSE change END";

/** Rows for {@link insert} that are made of published ones. */
function fromPublished(values: Readonly<Record<string, string | number>>, where: string): string {
  const all = { effective: 1, content: "'fetch'", ino: "NULL", disk_mtime: "NULL", ...values };
  const columns = PLAN_COLUMNS.split(", ").map((name) => all[name as keyof typeof all] ?? name);
  return `SELECT ${columns.join(", ")} FROM entries WHERE until IS NULL AND ${where}`;
}

const DELETION = {
  action: "'remove'",
  change: `CASE kind WHEN ${SKIPPED} THEN NULL ELSE 'deleted' END`,
};

const insertDeletion = (conflict: "IGNORE" | "REPLACE") =>
  insertIntoPlan(conflict, fromPublished(DELETION, "path = ? AND layer = ?"));

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

const INSERT_OLD_LAYERS = insertIntoPlan(
  "ABORT",
  fromPublished({ action: "'remove'", change: "'deleted'" }, `layer >= ? AND ${IN_RANGE}`),
);

/** Plans away what came from layers that a mount has no more. */
export async function planAwayLayers(state: State, first: number, pause: Pause): Promise<void> {
  await runInRanges(state, "entries", pause, INSERT_OLD_LAYERS, first);
}

const INSERT_SEEN = insertIntoPlan(
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

const INSERT_COPIES = insertIntoPlan(
  "IGNORE",
  fromPublished(
    { action: "'put'", change: "'changed'", content: "'samePublished'" },
    `kind < ${SKIPPED} AND ${IN_RANGE}`,
  ),
);

/** Plans every published file again, as a copy; what is fetched is not to be found the same, and linked. */
export async function planCopies(state: State, pause: Pause): Promise<void> {
  const sql = `UPDATE plan SET ${MUST_FETCH} WHERE action = 'put' AND content <> 'samePublished' AND ${IN_RANGE}`;
  await runInRanges(state, "plan", pause, sql);
  await runInRanges(state, "entries", pause, INSERT_COPIES);
}

const INSERT_REFETCHED = insertIntoPlan(
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
    readonly sha256: string | null;
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
  state.sql(insertIntoPlan("IGNORE", rows)).run(path);
}
