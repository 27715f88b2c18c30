/**
 * `--publish mirror`: files straight into the target. Everything is fetched beside the target first; then the plan is carried out by renames, and
 * written down beforehand, so that a process killed half way is finished by the next one.
 */
import {
  existsSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from "node:fs";
import { join } from "node:path";
import { RefusedError, TargetError } from "../errors.ts";
import { parentOf, quotePath } from "../snapshot/path.ts";
import { FILE, SKIPPED, SYMLINK } from "../state/row.ts";
import { isAsRecorded } from "./candidate.ts";
import { copyPublished } from "./copy.ts";
import { publishedEntry } from "../state/entries.ts";
import {
  hasPlannedBelow,
  plannedEntry,
  plannedPaths,
  plannedPuts,
  stagedRows,
} from "../state/plan.ts";
import { distrustPublished } from "./damage.ts";
import { type Fetcher, type FetchJob, openJournal } from "./journal.ts";
import { HOME, isRandomName, type Layout, randomName } from "./layout.ts";
import { hasModes } from "./modes.ts";
import { ownershipChanged, publishedDirMode } from "./ownership.ts";
import type { Volume } from "./volume.ts";
import { recordGeneration } from "./publish.ts";
import { isDirectory, isReadOnly, removeTree, WRITABLE } from "./remove.ts";
import { type Generation, latestGeneration, type NewGeneration } from "../state/generations.ts";
import { getMeta, type MirrorRecord, setMeta } from "../state/meta.ts";
import { makePause, type Pause } from "../timing/slices.ts";
import { longTransaction, type State } from "../state/state.ts";
import { openTree, READING, type Tree, type TreeSettings } from "./tree.ts";

/** Fetches what the plan needs to a staging directory, whose name is returned. Nothing in the target changes. */
export async function stageMirror(
  volume: Volume,
  tree: Tree,
  fetcher: Fetcher,
  owner: TreeSettings["owner"],
  signal: AbortSignal,
): Promise<string> {
  const { state, layout } = volume;
  const pause = makePause(signal);
  await refuseObstacles(state, tree, pause);
  const staging = randomName("staging");
  mkdirSync(join(layout.home, staging));
  const stage = openTree(join(layout.home, staging), READING);
  const journal = openJournal(state);
  const published = publishedEntry(state);
  const modes = hasModes(state);
  let number = 0;
  const paths = plannedPaths(state, "put");
  const planned = plannedEntry(state);
  async function* toFetch(): AsyncGenerator<FetchJob> {
    for (const path of paths) {
      await pause();
      const row = planned(path);
      if (row === undefined || row.kind === SKIPPED) continue;
      const staged = String(++number);
      const { path: place, release } = stage.at(staged, false);
      const before = published(path);
      const copied =
        row.kind === FILE && row.content === "samePublished" && before !== undefined
          ? copyPublished(tree, before, place, row.mode, owner)
          : undefined;
      if (row.kind === SYMLINK) {
        symlinkSync(row.fingerprint, place);
        if (owner !== undefined) lchownSync(place, owner.uid, owner.gid);
        journal.note(row, {
          size: null,
          sha256: null,
          ino: lstatSync(place).ino,
          disk_mtime: null,
          change: row.change,
          staged,
        });
      } else if (copied !== undefined) {
        journal.note(row, { ...copied, change: row.change, staged });
      } else {
        yield {
          row,
          at: () => ({ path: place, release }),
          done(written) {
            const touched =
              row.content !== "mustFetch" &&
              before?.kind === FILE &&
              before.sha256 === written.sha256 &&
              before.mode === row.mode &&
              isAsRecorded(tree, before, modes);
            if (touched) {
              rmSync(place);
              journal.note(row, { ...before, change: "touched" });
            } else
              journal.note(row, {
                size: written.size,
                sha256: written.sha256,
                ino: written.ino,
                disk_mtime: written.mtime,
                change: row.change === "touched" ? "changed" : row.change,
                staged,
              });
          },
        };
        continue;
      }
      release();
    }
  }
  try {
    await fetcher.fetchAll(toFetch());
    journal.flush();
    return staging;
  } catch (error) {
    removeTree(join(layout.home, staging));
    throw error;
  } finally {
    stage.close();
  }
}

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
    removeTree(join(volume.layout.home, staging));
    throw error;
  }
  const { foreign, isWhole } = await carryOutRecord(volume, record, false);
  if (!isWhole) throw takenAway(volume);
  return { generation: latestGeneration(volume.state) as Generation, foreign };
}

function takenAway({ layout }: Volume): TargetError {
  return new TargetError(`what was to be published was taken away in the target ${layout.target}`, {
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
    await settleDirectories(state, tree, resumed, pause);
    tree.seal();
    await longTransaction(state, async () => {
      // The next look at the published tree tells what is missing, and brings it back.
      if (!isWhole) distrustPublished(state);
      await recordGeneration(state, generation, { tree: null, slot: null }, pause);
      setMeta(state, "mirroring", undefined);
    });
    if (isRandomName("staging", staging)) removeTree(join(layout.home, staging));
    return { foreign: foreignFiles(state, tree), isWhole };
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
    tree.prune();
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
    tree.prune();
    return isWhole;
  } finally {
    staging?.close();
  }
}

/**
 * Directories that have another mode than they should: read-only ones that a killed process had made writable, and all of ours where they
 * are to have another mode or owner from now on. Which are ours is not written down: they are known by the mode that we gave them.
 */
async function settleDirectories(
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
      if (stats?.isDirectory() === true && found.has(stats.mode & 0o777)) tree.settle(directory);
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

/** Found before anything is fetched: what somebody else put where the plan needs room. */
async function refuseObstacles(state: State, tree: Tree, pause: Pause): Promise<void> {
  const planned = plannedEntry(state);
  const device = statSync(tree.root).dev;
  for (const { path, change } of plannedPuts(state)) {
    await pause();
    if (change !== "added" && change !== "changed") continue;
    if (path === HOME || path.startsWith(`${HOME}/`))
      throw new RefusedError(`${quotePath(path)} would lie in Pannier's own directory`, {
        hint: "exclude it, or use --publish swap",
      });
    if (tree.stat(path)?.isDirectory() === true && !hasPlannedBelow(state, path, "gone"))
      throw blocked(path, "a directory");
    for (let directory = parentOf(path); directory !== ""; directory = parentOf(directory)) {
      const stats = tree.stat(directory);
      if (stats?.isDirectory() === true) {
        // What was decided must be possible: a rename that fails half way would fail in every later run.
        if (stats.dev !== device) throw otherDevice(directory);
        break;
      }
      if (stats !== undefined && planned(directory)?.change !== "deleted")
        throw blocked(directory, stats.isSymbolicLink() ? "a symlink" : "a file");
    }
  }
}

function blocked(path: string, what: string): RefusedError {
  return new RefusedError(
    `${what} that Pannier did not put there is in the way at ${quotePath(path)} in the target`,
    { hint: "move it away" },
  );
}

function otherDevice(directory: string): TargetError {
  return new TargetError(
    `${quotePath(directory)} in the target is on another device, so nothing can be moved into it at once`,
    { hint: "unmount it, or exclude what lies in it" },
  );
}

/** Files of others in the directories that were written to. */
function foreignFiles(state: State, tree: Tree): string[] {
  const ours = publishedEntry(state);
  const foreign: string[] = [];
  for (const directory of tree.touched) {
    const absolute = join(tree.root, directory);
    if (!existsSync(absolute)) continue;
    for (const entry of readdirSync(absolute, { withFileTypes: true })) {
      const path = directory === "" ? entry.name : `${directory}/${entry.name}`;
      if (entry.isDirectory() || ours(path) !== undefined) continue;
      foreign.push(path);
      if (foreign.length === 100) return foreign;
    }
  }
  return foreign;
}
