/** What a tree may look like: judged on the plan, before anything is fetched or written. */
import { RefusedError } from "../errors.ts";
import type { SyncOptions } from "../mount/sync-options.ts";
import type { Pause } from "../timing/slices.ts";
import { futureEntry, plannedEntry } from "../state/entries.ts";
import type { Run } from "./run.ts";
import { foldsNames } from "../volume/folding.ts";
import type { Generation } from "../state/generations.ts";
import type { State } from "../state/state.ts";
import { foldPath, parentOf, quotePath } from "../snapshot/path.ts";
import { type PublishedRow, SKIPPED, SYMLINK } from "../state/row.ts";

/** @throws RefusedError when the tree that the plan makes must not be */
export async function checkTree(
  { mount }: Run,
  published: Generation | undefined,
  pause: Pause,
): Promise<void> {
  const { state } = mount.volume;
  checkSymlinks(
    state,
    mount.settings.symlinks,
    mount.layers.some(({ view, position }) => published?.layers[position]?.view !== view),
  );
  // Of what is left once symlinks are left out.
  await checkPathConflicts(state, pause);
  if (
    state.sql("SELECT 1 FROM plan WHERE change = 'A' LIMIT 1").get() !== undefined &&
    foldsNames(mount.volume)
  )
    await checkFoldedNames(state, pause);
}

/** @throws RefusedError when a path runs through a file or symlink, i.e. a name is both a file and a directory */
async function checkPathConflicts(state: State, pause: Pause): Promise<void> {
  const future = futureEntry(state);
  const below = state.sql(
    "SELECT path FROM entries WHERE path > ? AND path < ? AND until IS NULL AND kind < 2 ORDER BY path",
  );
  const first = state.sql("SELECT 1 FROM entries LIMIT 1").get() === undefined;
  let checkedParent: string | undefined;
  for (const row of state
    .prepare(
      `SELECT path, change FROM plan WHERE put = 1 AND wins = 1 AND kind < ${SKIPPED} AND change IS NOT NULL ORDER BY path`,
    )
    .iterate()) {
    const path = row["path"] as string;
    const parent = parentOf(path);
    for (
      let directory = parent;
      directory !== "" && directory !== checkedParent;
      directory = parentOf(directory)
    ) {
      const blocking = future(directory);
      if (blocking !== undefined) throw conflict(directory, path, blocking.kind);
    }
    checkedParent = parent;
    await pause();
    if (first || row["change"] !== "A") continue;
    // '0' is the character behind '/': the range holds just what lies below the path.
    for (const other of below.iterate(`${path}/`, `${path}0`)) {
      if (future(other["path"] as string) !== undefined)
        throw conflict(path, other["path"] as string, 0);
    }
  }
}

function conflict(file: string, below: string, kind: number): RefusedError {
  return new RefusedError(
    `${quotePath(file)} is a ${kind === SYMLINK ? "symlink" : "file"}, and ${quotePath(below)} lies below it: one name cannot be both a file and a directory`,
    {
      hint: "rename one of them at the source, or exclude one",
    },
  );
}

/** @throws RefusedError when two names of the tree are one on a file system that folds case or Unicode forms */
async function checkFoldedNames(state: State, pause: Pause): Promise<void> {
  const seen = new Map<string, string>();
  const paths = state.prepare(
    `SELECT path FROM plan WHERE put = 1 AND wins = 1 UNION SELECT path FROM entries WHERE until IS NULL AND path NOT IN (SELECT path FROM plan WHERE wins = 1) ORDER BY path`,
  );
  for (const row of paths.iterate()) {
    await pause();
    for (let path = row["path"] as string; path !== ""; path = parentOf(path)) {
      const folded = foldPath(path);
      const other = seen.get(folded);
      if (other === path) break;
      if (other !== undefined) {
        throw new RefusedError(
          `${quotePath(other)} and ${quotePath(path)} are one name on the target's file system`,
          { hint: "rename one of them at the source, or exclude one" },
        );
      }
      seen.set(folded, path);
    }
  }
}

/**
 * Applies the policy on symlinks. Whether a link stays inside depends on the links that its own path runs through, so as
 * soon as one link of the tree changes all of them are judged again.
 *
 * @throws RefusedError naming the link
 */
function checkSymlinks(
  state: State,
  policy: NonNullable<SyncOptions["symlinks"]>,
  policyChanged: boolean,
): void {
  const planned = state.sql("SELECT path FROM plan WHERE kind > 0 LIMIT 1").get() !== undefined;
  const replaced =
    planned ||
    state
      .sql(
        "SELECT 1 FROM plan JOIN entries USING (path, layer) WHERE entries.kind > 0 AND until IS NULL LIMIT 1",
      )
      .get() !== undefined;
  if (!replaced && !policyChanged) return;
  const linkAt = futureLink(state);
  const leaveOut: string[] = [];
  const bringBack: string[] = [];
  for (const path of linkPaths(state)) {
    const link = linkAt(path);
    if (link === undefined) continue;
    if (policy === "reject")
      throw new RefusedError(`${quotePath(path)} is a symlink, and symlinks are rejected`, {
        hint: "exclude it, or choose another --symlinks policy",
      });
    const stays =
      policy === "all" || staysInside(path, link.fingerprint, (at) => linkAt(at)?.fingerprint);
    if (!stays && policy === "inside") {
      throw new RefusedError(
        `the symlink ${quotePath(path)} points to ${quotePath(link.fingerprint)}, outside the tree`,
        { hint: "exclude it, or leave such links out with --symlinks skip" },
      );
    }
    if (stays && link.kind === SKIPPED) bringBack.push(path);
    else if (!stays && link.kind === SYMLINK) leaveOut.push(path);
  }
  // Known, but not in the tree: what was there before goes.
  const skip = state.sql(
    `UPDATE plan SET kind = ${SKIPPED}, change = CASE change WHEN 'M' THEN 'D' WHEN 'A' THEN NULL ELSE change END WHERE path = ? AND wins = 1`,
  );
  const show = state.sql(
    `UPDATE plan SET kind = ${SYMLINK}, change = CASE change WHEN 'D' THEN 'M' ELSE 'A' END WHERE path = ? AND wins = 1`,
  );
  const planPublished = (kind: number, change: string) =>
    state.sql(
      `INSERT OR IGNORE INTO plan (path, layer, put, change, kind, mtime, fingerprint) SELECT path, layer, 1, '${change}', ${kind}, mtime, fingerprint FROM entries
       WHERE path = ? AND until IS NULL AND kind > 0 ORDER BY layer DESC LIMIT 1`,
    );
  const skipPublished = planPublished(SKIPPED, "D");
  const showPublished = planPublished(SYMLINK, "A");
  for (const path of leaveOut) if (skip.run(path).changes === 0) skipPublished.run(path);
  for (const path of bringBack) if (show.run(path).changes === 0) showPublished.run(path);
}

type Link = Pick<PublishedRow, "kind" | "fingerprint">;

/** The symlink that decides about a path once the plan is carried out, be it in the tree or left out. */
function futureLink(state: State): (path: string) => Link | undefined {
  const planned = plannedEntry(state);
  const published = state.sql(
    "SELECT kind, fingerprint FROM entries WHERE path = ? AND until IS NULL ORDER BY layer DESC LIMIT 1",
  );
  return (path) => {
    const inPlan = planned(path);
    const row =
      inPlan === undefined
        ? (published.get(path) as unknown as Link | undefined)
        : inPlan.put === 1
          ? inPlan
          : undefined;
    return row !== undefined && row.kind >= SYMLINK ? row : undefined;
  };
}

/** Paths at which there may be a symlink; they are few enough to be held. */
function linkPaths(state: State): string[] {
  const rows = state
    .sql(
      `SELECT path FROM plan WHERE wins = 1 AND put = 1 AND kind > 0
       UNION SELECT path FROM entries WHERE kind > 0 AND until IS NULL ORDER BY path`,
    )
    .all();
  return rows.map((row) => row["path"] as string);
}

/** Linux follows at most 40 links in one resolution (path_resolution(7)); what needs more resolves nowhere and so leads nowhere. */
const MAX_LINKS = 40;

/**
 * Whether a symlink, resolved as the kernel would resolve it in this tree, stays below the tree's root at every step.
 * A link that leads nowhere inside the tree is harmless.
 *
 * @param linkAt the target of the symlink at a path of the tree, or `undefined` when there is none
 */
export function staysInside(
  path: string,
  target: string,
  linkAt: (path: string) => string | undefined,
): boolean {
  if (target.includes("\0")) return false;
  const at = parentOf(path) === "" ? [] : parentOf(path).split("/");
  const todo = target.split("/").toReversed();
  if (target.startsWith("/")) return false;
  let links = 0;
  while (todo.length > 0) {
    const segment = todo.pop() as string;
    if (segment === "" || segment === ".") continue;
    if (segment === "..") {
      if (at.pop() === undefined) return false;
      continue;
    }
    at.push(segment);
    const through = linkAt(at.join("/"));
    if (through === undefined) continue;
    if (through.startsWith("/")) return false;
    if (++links > MAX_LINKS) return true;
    at.pop();
    todo.push(...through.split("/").toReversed());
  }
  return true;
}
