/** What a tree may look like: judged on the plan, before anything is fetched or written. */
import { RefusedError } from "../errors.ts";
import type { SyncOptions } from "../mount/sync-options.ts";
import type { Pause } from "../timing/slices.ts";
import { hasEntries, publishedBelow } from "../state/entries.ts";
import {
  bringBackLink,
  futureLink,
  hasPlannedLinks,
  leaveOutLink,
  linkPaths,
} from "../state/links.ts";
import { futureEntry, hasAdditions } from "../state/plan.ts";
import { futurePaths, plannedPuts } from "../state/plan-paths.ts";
import type { Run } from "./run.ts";
import { foldsNames } from "../volume/folding.ts";
import type { Generation } from "../state/generations.ts";
import type { State } from "../state/state.ts";
import { foldPath, parentOf, quotePath } from "../source/path.ts";
import { SKIPPED, SYMLINK } from "../state/row.ts";

/** @throws RefusedError when the tree that the plan makes must not be */
export async function checkTree(
  { mount }: Run,
  published: Generation | undefined,
  pause: Pause,
): Promise<void> {
  const { state } = mount.volume;
  await checkSymlinks(
    state,
    mount.settings.symlinks,
    mount.layers.some(({ view, position }) => published?.layers[position]?.view !== view),
    pause,
  );
  // Of what is left once symlinks are left out.
  await checkPathConflicts(state, pause);
  if ((await hasAdditions(state, pause)) && foldsNames(mount.volume))
    await checkFoldedNames(state, pause);
}

/** @throws RefusedError when a path runs through a file or symlink, i.e. a name is both a file and a directory */
async function checkPathConflicts(state: State, pause: Pause): Promise<void> {
  const future = futureEntry(state);
  const below = publishedBelow(state);
  const first = !hasEntries(state);
  let checkedParent: string | undefined;
  for (const { path, change } of plannedPuts(state)) {
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
    const others = pause();
    if (others !== undefined) await others;
    if (first || change !== "added") continue;
    for (const other of below(path))
      if (future(other.path) !== undefined) throw conflict(path, other.path, 0);
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
  for (const row of futurePaths(state)) {
    await pause();
    for (let { path } = row; path !== ""; path = parentOf(path)) {
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
async function checkSymlinks(
  state: State,
  policy: NonNullable<SyncOptions["symlinks"]>,
  policyChanged: boolean,
  pause: Pause,
): Promise<void> {
  if (!policyChanged && !(await hasPlannedLinks(state, pause))) return;
  const linkAt = futureLink(state);
  const leaveOut: string[] = [];
  const bringBack: string[] = [];
  for (const path of await linkPaths(state, pause)) {
    await pause();
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
  for (const path of leaveOut) {
    leaveOutLink(state, path);
    await pause();
  }
  for (const path of bringBack) {
    bringBackLink(state, path);
    await pause();
  }
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
