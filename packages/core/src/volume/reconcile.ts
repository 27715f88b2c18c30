/** Comparing a tree that is to be recycled with what is known of it: by a sample, and as a whole where it was meddled with or left half done. */
import { deleteDirectories, directoriesOf } from "../state/directories.ts";
import { entryAt, type EntryView, writtenRows } from "../state/entries.ts";
import { getMeta, setMeta } from "../state/meta.ts";
import { beginReconciling, endReconciling, notedEntry, noteFound } from "../state/overlay.ts";
import { ROWS } from "../state/ranges.ts";
import { noteSeen } from "../state/seen.ts";
import { longTransaction, type State } from "../state/state.ts";
import type { Pause } from "../timing/slices.ts";
import { hasModes } from "./modes.ts";
import { isAsRecorded, isEntryRecorded, type RecordedRow } from "./recorded.ts";
import { directoryFacts } from "./directory-facts.ts";
import type { Tree } from "./tree.ts";

/** How many files of a recycled tree are looked at in each sync; the next sync goes on where this one ended, so smaller trees are checked whole each time. */
const SAMPLE = 2000;

/** True where directories are not as they were left, or a file or symlink among the next {@link SAMPLE} is not as it was written. */
export async function wasMeddledWith(
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

/**
 * Compares the candidate with its base generation and with what was fetched into it, removes what is neither, and notes
 * in the overlay how the two differ. Costs a walk of the tree, after a failure only.
 */
export async function reconcile(
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
    for await (const { path, stats, nonUtf8 } of tree.walk(pause)) {
      await pause();
      if (nonUtf8 !== undefined) {
        nonUtf8.remove();
        continue;
      }
      if (stats.isDirectory()) {
        if (tree.removeIfEmpty(path)) continue;
        if (modes) tree.restoreMode(path);
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
    await deleteDirectories(state, slot, pause);
  });
}

function safely<Result>(work: () => Result): Result | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
