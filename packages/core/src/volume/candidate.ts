/**
 * The candidate: the tree that nobody sees yet. It is recycled from the oldest tree that is no longer kept, so that bringing it up to date
 * costs what changed; without one it is rebuilt, with hardlinks to the published tree.
 */
import { chmodSync, chownSync, lstatSync, mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { isPlainName } from "../source/path.ts";
import { DamagedState } from "../state/damaged.ts";
import { deleteDirectories, noteDirectory } from "../state/directories.ts";
import { isHistoryKnown, latestGeneration } from "../state/generations.ts";
import { type CandidateRecord, getMeta, newSlot, setMeta } from "../state/meta.ts";
import { clearOverlay } from "../state/overlay.ts";
import { longTransaction, shrinkLog, type State } from "../state/state.ts";
import { makePause, type Pause } from "../timing/slices.ts";
import { isRandomName, randomName } from "./layout.ts";
import { inheriting, trySetMode } from "./modes.ts";
import { reconcile, wasMeddledWith } from "./reconcile.ts";
import { isDirectory, moveTree, removeTree } from "./remove.ts";
import { directoryFacts } from "./directory-facts.ts";
import { openTree, type Tree } from "./tree.ts";
import type { TreeSettings } from "./tree-settings.ts";
import type { Volume } from "./volume.ts";

export interface Candidate extends CandidateRecord {
  readonly path: string;
  readonly tree: Tree;
}

export function readCandidate(state: State): CandidateRecord | undefined {
  const record = getMeta(state, "candidate");
  if (record === undefined) return undefined;
  // One that we did not name is none of ours, whoever wrote that down.
  const isOurs = isRandomName("candidate", record.name) && isPlainName(record.from ?? "tree");
  return isOurs ? record : undefined;
}

export function writeCandidate(state: State, record: CandidateRecord | undefined): void {
  setMeta(state, "candidate", record);
}

/**
 * Makes the candidate ready to be worked on and marks it as unfinished. A recycled tree that was meddled with, or that a
 * killed process left half done, is compared with what the state knows of it first.
 */
export async function prepareCandidate(
  volume: Volume,
  settings: TreeSettings,
  pause: Pause,
): Promise<Candidate> {
  const { state } = volume;
  const record = (await findCandidate(volume)) ?? makeCandidate(volume, settings);
  const path = join(volume.layout.home, record.name);
  const tree = openTree(path, settings);
  try {
    // What a plan noted of another candidate, which is gone, says nothing about this one.
    if (record.clean) await clearOverlay(state, pause);
    // A tree with nothing in it is to be known as such.
    if (record.base === null) tree.touch("");
    else await checkHistory(state, record.base, pause);
    if (!record.clean) await reconcile(state, tree, record.slot, record.base, pause);
    else if (
      record.base !== null &&
      (await wasMeddledWith(state, tree, record.slot, record.base, pause))
    ) {
      volume.emit({
        type: "healed",
        message:
          "the tree to be recycled was changed by another process; it is compared with what was recorded",
      });
      await reconcile(state, tree, record.slot, record.base, pause);
    }
    writeCandidate(state, { ...record, clean: false });
    return { ...record, path, tree };
  } catch (error) {
    tree.close();
    throw error;
  }
}

/**
 * What changed since a generation decides what is looked at in its tree. So where a part of that is lost, the tree is none to begin with.
 *
 * @throws DamagedState
 */
async function checkHistory(state: State, base: number, pause: Pause): Promise<void> {
  if (!(await isHistoryKnown(state, base, pause)))
    throw new DamagedState(`what changed since generation ${base} is not known`);
}

/** The candidate, if there is one and its tree is in place; a retirement that was cut short is finished. */
export async function findCandidate(volume: Volume): Promise<CandidateRecord | undefined> {
  const { state, layout } = volume;
  const record = readCandidate(state);
  if (record === undefined) return undefined;
  const { from, ...inPlace } = record;
  const path = join(layout.home, record.name);
  if (from !== undefined) {
    const old = join(layout.generations, from);
    if (!isDirectory(path) && isDirectory(old)) moveTree(old, path);
    writeCandidate(state, inPlace);
  }
  if (isDirectory(path)) return inPlace;
  await discardCandidate(volume);
  return undefined;
}

function makeCandidate(volume: Volume, settings: TreeSettings): CandidateRecord {
  const { state, layout } = volume;
  const name = randomName("candidate");
  const record = { name, slot: newSlot(state), base: null, clean: true };
  const path = join(layout.home, name);
  mkdirSync(path);
  try {
    // Whatever the umask: it is to be read by others.
    trySetMode(() => chmodSync(path, inheriting(settings.dirMode, lstatSync(path).mode)));
    if (settings.owner !== undefined) chownSync(path, settings.owner.uid, settings.owner.gid);
    // Last: one that is known is taken for whole. One that nobody knows is swept away.
    writeCandidate(state, record);
  } catch (error) {
    rmdirSync(path);
    throw error;
  }
  return record;
}

/** Gives up a candidate that cannot be used, unless it is about to be the published tree. */
export async function discardCandidate(volume: Volume): Promise<void> {
  const record = readCandidate(volume.state);
  if (record === undefined || record.slot === latestGeneration(volume.state)?.slot) return;
  // The files first: on a full volume that is what makes the state writable again.
  const pause = makePause();
  await removeTree(join(volume.layout.home, record.name), pause);
  await longTransaction(volume.state, async () => {
    await clearOverlay(volume.state, pause);
    await deleteDirectories(volume.state, record.slot, pause);
    writeCandidate(volume.state, undefined);
  });
}

/** The half of a tree that does not fit is in the way of everybody else. */
export async function giveBackRoom(volume: Volume): Promise<void> {
  try {
    await discardCandidate(volume);
    shrinkLog(volume.state);
  } catch {
    // Then it is done when the target is opened next; what failed first is what counts.
  }
}

/** The candidate turned out to be what is published: it stays, ready for the next sync. */
export async function keepCandidate(
  volume: Volume,
  candidate: Candidate,
  generation: number,
  pause: Pause,
): Promise<void> {
  await longTransaction(volume.state, async () => {
    await recordDirectories(volume.state, candidate, pause);
    writeCandidate(volume.state, {
      name: candidate.name,
      slot: candidate.slot,
      base: generation,
      clean: true,
    });
  });
}

/** Notes how the candidate's directories were left. Within a transaction. */
export async function recordDirectories(
  state: State,
  { tree, slot }: Candidate,
  pause: Pause,
): Promise<void> {
  await tree.seal(pause);
  for (const path of tree.touched) {
    noteDirectory(state, slot, path, directoryFacts(tree, path));
    await pause();
  }
  await clearOverlay(state, pause);
}

/** Notes which sources a plan is about, so that what it fetches can be taken over by a later one. */
export function noteOrigins(state: State, origins: readonly string[]): void {
  setMeta(state, "origins", origins);
}
