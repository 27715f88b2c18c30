/**
 * `--publish mirror`: files straight into the target. Everything is fetched beside the target first; then the plan is carried out by renames, and
 * written down beforehand, so that a process killed half way is finished by the next one.
 */
import { existsSync, opendirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { TargetError } from "../errors.ts";
import { parentOf } from "../source/path.ts";
import { publishedEntry } from "../state/entries.ts";
import { type Generation, latestGeneration, type NewGeneration } from "../state/generations.ts";
import { getMeta, type MirrorRecord, setMeta } from "../state/meta.ts";
import { plannedPaths, stagedRows } from "../state/plan-paths.ts";
import { hasPlannedBelow, plannedEntry } from "../state/plan.ts";
import { longTransaction, type State } from "../state/state.ts";
import { makePause, type Pause } from "../timing/slices.ts";
import { distrustPublished } from "./damage.ts";
import { isRandomName, type Layout } from "./layout.ts";
import { blocked } from "./obstacles.ts";
import { ownershipChanged, publishedDirMode } from "./ownership.ts";
import { recordGeneration } from "./publish.ts";
import { isDirectory, isReadOnly, removeTree, WRITABLE } from "./remove.ts";
import { openTree, type Tree } from "./tree.ts";
import { READING, type TreeSettings } from "./tree-settings.ts";
import type { Volume } from "./volume.ts";

/** The staging directory of a mirrored plan that is not wholly carried out yet. */
export function mirrorStaging(state: State): string | undefined {
  return getMeta(state, "mirroring")?.staging;
}

/**
 * Carries out the staged plan and records it. What cannot be finished now is finished by {@link finishMirror} later.
 *
 * @throws TargetError, and nothing is done, where something of what was staged is gone
 */
export async function publishMirror(
  volume: Volume,
  staging: string,
  generation: NewGeneration,
  settings: TreeSettings,
): Promise<{ readonly generation: Generation; readonly foreign: string[] }> {
  const record: MirrorRecord = { staging, generation, settings };
  try {
    await checkStaging(volume, staging);
    setMeta(volume.state, "mirroring", record);
  } catch (error) {
    await removeTree(join(volume.layout.home, staging), makePause());
    throw error;
  }
  const { foreign, isWhole } = await carryOutRecord(volume, record, false);
  if (!isWhole) throw takenAway(volume);
  return { generation: latestGeneration(volume.state) as Generation, foreign };
}

function takenAway({ layout }: Volume): TargetError {
  return new TargetError(`what was to be published was removed in the target ${layout.target}`, {
    hint: "another process is changing it; the next sync looks at every file",
  });
}

async function checkStaging(volume: Volume, staging: string): Promise<void> {
  const stage = openStaging(volume.layout, staging);
  const pause = makePause();
  try {
    for (const { staged, ino } of stagedRows(volume.state)) {
      if (stage?.stat(staged)?.ino !== ino) throw takenAway(volume);
      await pause();
    }
  } finally {
    stage?.close();
  }
}

/** Carries out what was decided, from wherever it was left. Does nothing when nothing was. */
export async function finishMirror(volume: Volume): Promise<void> {
  const record = getMeta(volume.state, "mirroring");
  if (record !== undefined) await carryOutRecord(volume, record, true);
}

/**
 * What was decided is done whatever happens.
 *
 * @param resumed whether a process has been at it before
 * @returns files found beside ours that are not ours, at most 100
 */
async function carryOutRecord(
  { state, layout }: Volume,
  { staging, generation, settings }: MirrorRecord,
  resumed: boolean,
): Promise<{ readonly foreign: string[]; readonly isWhole: boolean }> {
  const pause = makePause();
  const tree = openTree(layout.root, settings, layout.home);
  try {
    const isWhole = await carryOut(state, tree, openStaging(layout, staging), pause);
    await restoreModes(state, tree, resumed, pause);
    await tree.seal(pause);
    await longTransaction(state, async () => {
      // The next look at the published tree tells what is missing, and brings it back.
      if (!isWhole) distrustPublished(state);
      await recordGeneration(state, generation, { tree: null, slot: null }, pause);
      setMeta(state, "mirroring", undefined);
    });
    if (isRandomName("staging", staging)) await removeTree(join(layout.home, staging), pause);
    return { foreign: await foreignFiles(state, tree, pause), isWhole };
  } finally {
    tree.close();
  }
}

/** `undefined` where it is gone: somebody took it, or named another directory in the state. */
function openStaging(layout: Layout, staging: string): Tree | undefined {
  const path = join(layout.home, staging);
  return isRandomName("staging", staging) && isDirectory(path)
    ? openTree(path, READING)
    : undefined;
}

/**
 * Additions and replacements first, then deletions, so that no reader misses a file that only moved; but a deletion that makes way for an
 * addition goes before it.
 *
 * @returns whether all that was staged is in place
 */
async function carryOut(
  state: State,
  tree: Tree,
  staging: Tree | undefined,
  pause: Pause,
): Promise<boolean> {
  let isWhole = true;
  try {
    for (const path of plannedPaths(state, "gone")) {
      if (makesWay(state, path)) tree.remove(path);
      await pause();
    }
    await tree.prune(pause);
    for (const { path, staged, ino } of stagedRows(state)) {
      await pause();
      if (staging === undefined || staging.stat(staged)?.ino !== ino) {
        // Moved before the process was killed, or lost.
        if (tree.stat(path)?.ino !== ino) isWhole = false;
        continue;
      }
      const from = staging.at(staged, false);
      const place = tree.at(path, true);
      try {
        renameSync(from.path, place.path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "EISDIR") throw blocked(path, "a directory");
        throw error;
      } finally {
        place.release();
        from.release();
      }
    }
    for (const path of plannedPaths(state, "gone")) {
      tree.remove(path);
      await pause();
    }
    await tree.prune(pause);
    return isWhole;
  } finally {
    staging?.close();
  }
}

/**
 * Directories that have another mode than they should: read-only ones that a killed process had made writable, and all of ours where they
 * are to have another mode or owner from now on. Which are ours is not written down: they are known by the mode that we gave them.
 */
async function restoreModes(
  state: State,
  tree: Tree,
  resumed: boolean,
  pause: Pause,
): Promise<void> {
  const found = new Set<number>();
  if (resumed && isReadOnly(tree.dirMode)) found.add((tree.dirMode | WRITABLE) & 0o777);
  const before = publishedDirMode(state);
  if (before !== undefined && ownershipChanged(state, tree)) found.add(before & 0o777);
  if (found.size === 0) return;
  for (const path of plannedPaths(state, "all")) {
    for (let directory = parentOf(path); directory !== ""; directory = parentOf(directory)) {
      const stats = tree.stat(directory);
      if (stats?.isDirectory() === true && found.has(stats.mode & 0o777))
        tree.restoreMode(directory);
    }
    await pause();
  }
}

/** Whether a deleted path is where an added path needs a directory, or the other way round. */
function makesWay(state: State, path: string): boolean {
  if (hasPlannedBelow(state, path, "put")) return true;
  const planned = plannedEntry(state);
  for (let directory = parentOf(path); directory !== ""; directory = parentOf(directory))
    if (planned(directory)?.action === "put") return true;
  return false;
}

/** Files of others in the directories that were written to. */
async function foreignFiles(state: State, tree: Tree, pause: Pause): Promise<string[]> {
  const ours = publishedEntry(state);
  const foreign: string[] = [];
  for (const directory of tree.touched) {
    const absolute = join(tree.root, directory);
    if (!existsSync(absolute)) continue;
    const listing = opendirSync(absolute);
    try {
      for (let entry = listing.readSync(); entry !== null; entry = listing.readSync()) {
        await pause();
        const path = directory === "" ? entry.name : `${directory}/${entry.name}`;
        if (entry.isDirectory() || ours(path) !== undefined) continue;
        foreign.push(path);
        if (foreign.length === 100) return foreign;
      }
    } finally {
      listing.closeSync();
    }
  }
  return foreign;
}
