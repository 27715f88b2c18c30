/** Making a generation the visible one. What is decided is in the state first; the rest can be done again after a crash. */
import { lstatSync, readdirSync, readlinkSync, renameSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { TargetError } from "../errors.ts";
import { isPlainName } from "../source/path.ts";
import { revisionName } from "../snapshot/revision.ts";
import { type Candidate, readCandidate, recordDirectories, writeCandidate } from "./candidate.ts";
import { HOME, randomName } from "./layout.ts";
import { inheriting } from "./modes.ts";
import { changeMode, isDirectory, moveTree, removeTree } from "./remove.ts";
import type { Volume } from "./volume.ts";
import {
  type Generation,
  generations,
  insertGeneration,
  latestGeneration,
  type NewGeneration,
} from "../state/generations.ts";
import { getMeta, setMeta } from "../state/meta.ts";
import { promotePlan } from "../state/promote.ts";
import { longTransaction, type State } from "../state/state.ts";
import { makePause, type Pause } from "../timing/slices.ts";
import { openTree, type Tree } from "./tree.ts";
import type { TreeSettings } from "./tree-settings.ts";
import { makeDirectories, removeFile } from "./files.ts";

/**
 * Records a candidate as the newest generation and makes it visible. The commit of the state decides; from then on a
 * process that restarts finishes what is missing.
 */
export async function publishCandidate(
  volume: Volume,
  candidate: Candidate,
  generation: NewGeneration,
  pause: Pause,
): Promise<Generation> {
  const { state } = volume;
  if (!candidate.tree.isInPlace())
    throw new TargetError(
      `the next tree was replaced or removed in the target ${volume.layout.target}`,
      { hint: "another process is changing it; sync again" },
    );
  const tree = freeTreeName(volume, generation.revision);
  // Before the commit: on a full volume this is what fails.
  const link = makeLink(volume, tree);
  try {
    await longTransaction(state, async () => {
      await recordGeneration(state, generation, { tree, slot: candidate.slot }, pause);
      await recordDirectories(state, candidate, pause);
      const { path: _, tree: written, ...record } = candidate;
      writeCandidate(state, { ...record, rootMode: written.dirMode });
    });
  } catch (error) {
    removeFile(link);
    throw error;
  }
  await finishPublish(volume, link);
  return latestGeneration(state) as Generation;
}

/** Moves the plan's rows into the entries of a new generation. Within a transaction. */
export async function recordGeneration(
  state: State,
  generation: NewGeneration,
  tree: { readonly tree: string | null; readonly slot: number | null },
  pause: Pause,
): Promise<void> {
  const before = latestGeneration(state);
  const id = (before?.id ?? 0) + 1;
  insertGeneration(state, { ...generation, ...tree, id });
  await promotePlan(state, id, { deltas: before !== undefined }, pause);
}

/** The published tree, for reading; `undefined` when there is none. */
export function openPublishedTree(
  volume: Volume,
  published: Generation | undefined,
  settings: TreeSettings,
): Tree | undefined {
  const root =
    volume.publish === "mirror"
      ? volume.layout.root
      : join(volume.layout.generations, published?.tree ?? "");
  if (
    published === undefined ||
    (volume.publish === "swap" && published.tree === null) ||
    !isDirectory(root)
  )
    return undefined;
  return openTree(root, settings);
}

/** A directory's name that tells the revision: `<revision>`, or `<revision>~2` where an older tree still has that name. */
function freeTreeName(volume: Volume, revision: string): string {
  const name = revisionName(revision);
  const taken = new Set(generations(volume.state).flatMap(({ tree }) => tree ?? []));
  // A state that was lost does not know the tree that is visible.
  for (const present of readdirSync(volume.layout.generations)) taken.add(present);
  for (let number = 1; ; number++) {
    const free = number === 1 ? name : `${name}~${number}`;
    if (!taken.has(free)) return free;
  }
}

/**
 * Brings the volume to what the state says is published: the tree under its name, the link to it.
 *
 * @param prepared a link to it, to be moved into place
 * @returns whether the link had to be recreated
 */
export async function finishPublish(volume: Volume, prepared?: string): Promise<boolean> {
  if (volume.publish === "mirror") return false;
  const { state, layout } = volume;
  const latest = latestGeneration(state);
  if (latest === undefined || latest.tree === null) return false;
  const path = join(layout.generations, latest.tree);
  const candidate = readCandidate(state);
  if (candidate !== undefined && candidate.slot === latest.slot) {
    makeDirectories(layout.generations);
    const from = join(layout.home, candidate.name);
    if (isDirectory(from)) {
      await removeTree(path, makePause());
      moveTree(from, path);
    }
    const { rootMode } = candidate;
    if (rootMode !== undefined && isDirectory(path))
      changeMode(path, (mode) => inheriting(rootMode, mode));
  }
  const pointed = isDirectory(path) && pointLink(volume, latest.tree, prepared);
  if (candidate !== undefined && candidate.slot === latest.slot) writeCandidate(state, undefined);
  dropOldLink(volume);
  return pointed;
}

/** Where the link should lead, relative to the target. */
function linkText(tree: string): string {
  return `${HOME}/generations/${tree}`;
}

function makeLink(volume: Volume, tree: string): string {
  const path = join(volume.layout.home, randomName("link"));
  symlinkSync(linkText(tree), path);
  return path;
}

function pointLink(volume: Volume, tree: string, prepared: string | undefined): boolean {
  const link = join(volume.layout.root, volume.link);
  const text = linkText(tree);
  if (
    lstatSync(link, { throwIfNoEntry: false })?.isSymbolicLink() === true &&
    readlinkSync(link) === text
  )
    return false;
  renameSync(prepared ?? makeLink(volume, tree), link);
  return true;
}

/** After `--link` was changed, the old name must not go on showing an old tree. */
function dropOldLink(volume: Volume): void {
  const before = getMeta(volume.state, "link");
  if (before === volume.link) return;
  if (before !== undefined && isPlainName(before)) {
    const old = join(volume.layout.root, before);
    const stats = lstatSync(old, { throwIfNoEntry: false });
    if (stats?.isSymbolicLink() === true && readlinkSync(old).startsWith(`${HOME}/generations/`))
      removeFile(old);
  }
  setMeta(volume.state, "link", volume.link);
}
