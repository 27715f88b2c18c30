/**
 * The candidate: the tree that nobody sees yet. It is recycled from the oldest tree that is no longer kept, so that bringing it up to date
 * costs what changed; without one it is built anew, with hardlinks to the published tree.
 */
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readlinkSync,
  rmdirSync,
  type Stats,
} from "node:fs";
import { join } from "node:path";
import { isPlainName } from "../snapshot/path.ts";
import { FILE, type PublishedRow, SYMLINK } from "../state/row.ts";
import type { Volume } from "./volume.ts";
import { isRandomName, randomName } from "./layout.ts";
import { hasModes, inheriting, trySetMode } from "./modes.ts";
import { entryAt, type EntryView, writtenRows } from "../state/entries.ts";
import {
  beginReconciling,
  clearOverlay,
  endReconciling,
  notedEntry,
  noteFound,
} from "../state/overlay.ts";
import { noteSeen } from "../state/seen.ts";
import { isDirectory, moveTree, removeTree } from "./remove.ts";
import { deleteDirectories, directoriesOf, noteDirectory } from "../state/directories.ts";
import { isHistoryKnown, latestGeneration } from "../state/generations.ts";
import { type CandidateRecord, getMeta, newSlot, setMeta } from "../state/meta.ts";
import { clearTable, ROWS } from "../state/ranges.ts";
import type { Pause } from "../timing/slices.ts";
import { longTransaction, shrinkLog, type State, transaction } from "../state/state.ts";
import { DamagedState } from "../state/damaged.ts";
import { directoryFacts, openTree, type Tree, type TreeSettings } from "./tree.ts";

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

/** How many files of a recycled tree are looked at in each sync; the next sync goes on where this one ended, so smaller trees are checked whole each time. */
const SAMPLE = 2000;

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
  const record = findCandidate(volume) ?? makeCandidate(volume, settings);
  const path = join(volume.layout.home, record.name);
  const tree = openTree(path, settings);
  try {
    // What a plan noted of another candidate, which is gone, says nothing about this one.
    if (record.clean) await clearTable(state, "overlay", pause);
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
export function findCandidate(volume: Volume): CandidateRecord | undefined {
  const { state, layout } = volume;
  const record = readCandidate(state);
  if (record === undefined) return undefined;
  const { from, ...settled } = record;
  const path = join(layout.home, record.name);
  if (from !== undefined) {
    const old = join(layout.generations, from);
    if (!isDirectory(path) && isDirectory(old)) moveTree(old, path);
    writeCandidate(state, settled);
  }
  if (isDirectory(path)) return settled;
  discardCandidate(volume);
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
export function discardCandidate(volume: Volume): void {
  const record = readCandidate(volume.state);
  if (record === undefined || record.slot === latestGeneration(volume.state)?.slot) return;
  // The files first: on a full volume that is what makes the state writable again.
  removeTree(join(volume.layout.home, record.name));
  transaction(volume.state, () => {
    clearOverlay(volume.state);
    deleteDirectories(volume.state, record.slot);
    writeCandidate(volume.state, undefined);
  });
}

/** The half of a tree that does not fit is in the way of everybody else. */
export function giveBackRoom(volume: Volume): void {
  try {
    discardCandidate(volume);
    shrinkLog(volume.state);
  } catch {
    // Then it is done when the target is opened next; what failed first is what counts.
  }
}

/** The candidate turned out to be what is published: it stays, ready for the next sync. */
export async function settleCandidate(
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
  tree.seal();
  for (const path of tree.touched) {
    noteDirectory(state, slot, path, directoryFacts(tree, path));
    await pause();
  }
  await clearTable(state, "overlay", pause);
}

/** Notes which sources a plan is about, so that what it fetches can be taken over by a later one. */
export function noteOrigins(state: State, origins: readonly string[]): void {
  setMeta(state, "origins", origins);
}

/** True where directories are not as they were left, or a file or symlink among the next {@link SAMPLE} is not as it was written. */
async function wasMeddledWith(
  state: State,
  tree: Tree,
  slot: number,
  base: number,
  pause: Pause,
): Promise<boolean> {
  for (const { path, ino, ctime } of directoriesOf(state, slot)) {
    const facts = safely(() => directoryFacts(tree, path));
    if (facts === undefined || facts.ino !== ino || facts.ctime !== ctime) return true;
    await pause();
  }
  const modes = hasModes(state);
  let last = getMeta(state, "sample") ?? "";
  for (let looked = 0; looked < SAMPLE; looked += ROWS) {
    const rows = writtenRows(state, base, last, ROWS);
    for (const row of rows) {
      if (!isAsRecorded(tree, row, modes)) return true;
      last = row.path;
      await pause();
    }
    if (rows.length < ROWS) {
      setMeta(state, "sample", undefined);
      return false;
    }
  }
  setMeta(state, "sample", last);
  return false;
}

type RecordedFile = Pick<PublishedRow, "size" | "ino" | "disk_mtime">;
type RecordedRow = RecordedFile & Pick<PublishedRow, "path" | "kind" | "mode" | "fingerprint">;

/**
 * Whether the file on the volume is the very one that was written, or the symlink one like it: links are made anew from tree to tree.
 *
 * @param modes whether the file system keeps them
 */
export function isAsRecorded(tree: Tree, row: RecordedRow, modes: boolean): boolean {
  const stats = tree.stat(row.path);
  return stats !== undefined && isEntryRecorded(tree, stats, row, modes);
}

function isEntryRecorded(tree: Tree, stats: Stats, row: RecordedRow, modes: boolean): boolean {
  if (row.kind === FILE)
    return isRecorded(stats, row) && (!modes || (stats.mode & 0o7777) === row.mode);
  return (
    row.kind === SYMLINK && stats.isSymbolicLink() && linkText(tree, row.path) === row.fingerprint
  );
}

function linkText(tree: Tree, path: string): string {
  const place = tree.at(path, false);
  try {
    return readlinkSync(place.path);
  } finally {
    place.release();
  }
}

/** Whether this is the very file that was written, whatever its permissions are. */
export function isRecorded(stats: Stats, row: RecordedFile): boolean {
  return (
    stats.isFile() &&
    stats.ino === row.ino &&
    stats.size === row.size &&
    stats.mtimeMs === row.disk_mtime
  );
}

/**
 * Compares the candidate with its base generation and with what was fetched into it, removes what is neither, and notes
 * in the overlay how the two differ. Costs a walk of the tree, after a failure only.
 */
async function reconcile(
  state: State,
  tree: Tree,
  slot: number,
  base: number | null,
  pause: Pause,
): Promise<void> {
  const atBase: EntryView = base === null ? () => undefined : entryAt(state, base);
  const modes = hasModes(state);
  await longTransaction(state, async () => {
    await beginReconciling(state, pause);
    const noted = notedEntry(state);
    for (const { path, stats, nonUtf8 } of tree.walk()) {
      await pause();
      if (nonUtf8 !== undefined) {
        nonUtf8.remove();
        continue;
      }
      if (stats.isDirectory()) {
        if (tree.removeIfEmpty(path)) continue;
        if (modes) tree.settle(path);
        tree.touch(path);
        continue;
      }
      const isRow = (row: RecordedRow | undefined) =>
        row !== undefined && isEntryRecorded(tree, stats, row, modes);
      if (isRow(noted(path))) noteFound(state, path);
      else if (!isRow(atBase(path))) {
        tree.remove(path);
        continue;
      }
      noteSeen(state, path);
    }
    tree.touch("");
    await endReconciling(state, base, pause);
    deleteDirectories(state, slot);
  });
}

function safely<Result>(work: () => Result): Result | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
