/** Symlinks of the tree to come, which the policy on symlinks may leave out. */
import { comparePaths } from "../source/path.ts";
import { type Pause, sortInSlices } from "../timing/slices.ts";
import { plannedEntry } from "./plan.ts";
import { planPublishedLink } from "./plan-published.ts";
import { FILE, type PublishedRow, SKIPPED, SYMLINK } from "./row.ts";
import { IN_RANGE, ranges } from "./ranges.ts";
import type { State } from "./state.ts";

type Link = Pick<PublishedRow, "kind" | "fingerprint">;

/** Whether the plan puts, replaces or deletes a symlink. */
export async function hasPlannedLinks(state: State, pause: Pause): Promise<boolean> {
  const planned = state.sql(`SELECT 1 FROM plan WHERE kind > ${FILE} AND ${IN_RANGE} LIMIT 1`);
  const published =
    state.sql(`SELECT 1 FROM entries WHERE kind > ${FILE} LIMIT 1`).get() !== undefined;
  const replaced = state.sql(
    `SELECT 1 FROM (SELECT path, layer FROM plan WHERE ${IN_RANGE}) CROSS JOIN entries USING (path, layer) WHERE entries.kind > ${FILE} AND until IS NULL LIMIT 1`,
  );
  for await (const range of ranges(state, "plan", pause)) {
    if (planned.get(...range) !== undefined) return true;
    if (published && replaced.get(...range) !== undefined) return true;
  }
  return false;
}

/** Paths at which there may be a symlink, in order; they are few enough to be held. */
export async function linkPaths(state: State, pause: Pause): Promise<string[]> {
  const planned = state.sql(
    `SELECT path FROM plan WHERE effective = 1 AND action = 'put' AND kind > ${FILE} AND ${IN_RANGE}`,
  );
  const paths = new Set<string>();
  for await (const range of ranges(state, "plan", pause))
    for (const { path } of planned.all(...range)) paths.add(path as string);
  const published = state.prepare(
    `SELECT path FROM entries WHERE kind > ${FILE} AND until IS NULL`,
  );
  for (const { path } of published.iterate()) {
    paths.add(path as string);
    await pause();
  }
  return sortInSlices([...paths], comparePaths);
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
