/** Symlinks of the tree to come, which the policy on symlinks may leave out. */
import { plannedEntry, planPublishedLink } from "./plan.ts";
import { FILE, type PublishedRow, SKIPPED, SYMLINK } from "./row.ts";
import type { State } from "./state.ts";

type Link = Pick<PublishedRow, "kind" | "fingerprint">;

/** Whether the plan puts, replaces or deletes a symlink. */
export function hasPlannedLinks(state: State): boolean {
  return (
    state.sql(`SELECT path FROM plan WHERE kind > ${FILE} LIMIT 1`).get() !== undefined ||
    state
      .sql(
        `SELECT 1 FROM plan JOIN entries USING (path, layer) WHERE entries.kind > ${FILE} AND until IS NULL LIMIT 1`,
      )
      .get() !== undefined
  );
}

/** Paths at which there may be a symlink, in order; they are few enough to be held. */
export function linkPaths(state: State): string[] {
  const rows = state
    .sql(
      `SELECT path FROM plan WHERE effective = 1 AND action = 'put' AND kind > ${FILE}
       UNION SELECT path FROM entries WHERE kind > ${FILE} AND until IS NULL ORDER BY path`,
    )
    .all();
  return rows.map((row) => row["path"] as string);
}

/** The symlink that decides about a path once the plan is carried out, be it in the tree or left out. */
export function futureLink(state: State): (path: string) => Link | undefined {
  const planned = plannedEntry(state);
  const published = state.sql(
    "SELECT kind, fingerprint FROM entries WHERE path = ? AND until IS NULL ORDER BY layer DESC LIMIT 1",
  );
  return (path) => {
    const inPlan = planned(path);
    const row =
      inPlan === undefined
        ? (published.get(path) as unknown as Link | undefined)
        : inPlan.action === "put"
          ? inPlan
          : undefined;
    return row !== undefined && row.kind >= SYMLINK ? row : undefined;
  };
}

/** Plans that a symlink is known, but not in the tree: what was there before goes. */
export function leaveOutLink(state: State, path: string): void {
  const { changes } = state
    .sql(
      `UPDATE plan SET kind = ${SKIPPED}, change = CASE change WHEN 'changed' THEN 'deleted' WHEN 'added' THEN NULL ELSE change END WHERE path = ? AND effective = 1`,
    )
    .run(path);
  if (changes === 0) planPublishedLink(state, path, SKIPPED, "deleted");
}

/** Plans that a symlink that was left out is in the tree. */
export function bringBackLink(state: State, path: string): void {
  const { changes } = state
    .sql(
      `UPDATE plan SET kind = ${SYMLINK}, change = CASE change WHEN 'deleted' THEN 'changed' ELSE 'added' END WHERE path = ? AND effective = 1`,
    )
    .run(path);
  if (changes === 0) planPublishedLink(state, path, SYMLINK, "added");
}
