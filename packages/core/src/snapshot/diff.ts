/** What a layer's listing changes against what is published, written to the state's plan. Memory does not follow the number of entries. */
import { type Change as SourceChange, type Entry, IGNORE_FILE } from "../source/contract.ts";
import { SourceError } from "../source/errors.ts";
import { type KnownRow, knownRow, knownRows, noteRef, publishedDigest } from "../state/entries.ts";
import { planDeletion } from "../state/plan-published.ts";
import { planRow } from "../state/plan.ts";
import { makePause } from "../timing/slices.ts";
import type { State } from "../state/state.ts";
import { DamagedState } from "../state/damaged.ts";
import { comparePaths, quotePath, unsafePath } from "../source/path.ts";
import type { SourceScope } from "./scope.ts";
import { type EntryRow, FILE, type Placement, SKIPPED, SYMLINK, toRow } from "../state/row.ts";

export interface LayerDiff {
  readonly state: State;
  readonly place: Placement;
  readonly scope: SourceScope;
  /** False when fingerprints of the published rows came from another source: then every entry counts as changed. */
  readonly comparable: boolean;
  /** True when a file is to be read even where its fingerprint is that of the published row. */
  readonly readAgain: boolean;
  readonly maxFileBytes: number;
  /** Entries allowed in this layer. */
  readonly maxFiles: number;
  readonly signal: AbortSignal;
  readonly onEntries: (count: number) => void;
}

/**
 * Joins a complete listing of what is wanted, in path order, with the layer's published rows.
 *
 * @param onIgnoreFile told of the source's `.pannierignore` when it passes by
 */
export async function diffListing(
  diff: LayerDiff,
  batches: AsyncIterable<readonly Entry[]>,
  onIgnoreFile: (entry: Entry) => void,
): Promise<void> {
  const published = knownRows(diff.state, diff.place.layer);
  try {
    await mergeListing(diff, batches, published, onIgnoreFile);
  } finally {
    published.return?.();
  }
}

async function mergeListing(
  diff: LayerDiff,
  batches: AsyncIterable<readonly Entry[]>,
  published: Iterator<KnownRow>,
  onIgnoreFile: (entry: Entry) => void,
): Promise<void> {
  const pause = makePause(diff.signal);
  let row = published.next();
  let count = 0;
  /** What is wrong with an entry that comes before the `.pannierignore`, which may yet exclude it. */
  let early: unknown;
  for await (const batch of batches) {
    diff.signal.throwIfAborted();
    // Sources give as many at a time as they like.
    for (const entry of batch) {
      const others = pause();
      if (others !== undefined) await others;
      if (entry.path === IGNORE_FILE) {
        onIgnoreFile(entry);
        continue;
      }
      if (early !== undefined) {
        if (comparePaths(entry.path, IGNORE_FILE) > 0) throw early;
        continue;
      }
      try {
        const wanted = toWanted(diff, entry);
        count++;
        let order = -1;
        while (
          row.done !== true &&
          (order = row.value.path === wanted.path ? 0 : comparePaths(row.value.path, wanted.path)) <
            0
        ) {
          insertDelete(diff, row.value.path, "IGNORE");
          row = published.next();
          await pause();
        }
        const before = row.done !== true && order === 0 ? row.value : undefined;
        if (before !== undefined) row = published.next();
        insertPut(diff, before, wanted);
      } catch (error) {
        if (comparePaths(entry.path, IGNORE_FILE) > 0) throw error;
        early = error;
      }
    }
    if (count > diff.maxFiles) throw tooManyFiles(diff.maxFiles);
    diff.onEntries(batch.length);
  }
  if (early !== undefined) throw early;
  // Others may use the state by now.
  diff.signal.throwIfAborted();
  for (; row.done !== true; row = published.next()) {
    insertDelete(diff, row.value.path, "IGNORE");
    await pause();
  }
}

/**
 * The same from a source's own delta.
 *
 * @returns false when the delta touches `.pannierignore`: then only a listing tells
 */
export async function diffChanges(
  diff: LayerDiff,
  batches: AsyncIterable<readonly SourceChange[]> | Iterable<readonly SourceChange[]>,
): Promise<boolean> {
  const known = knownRow(diff.state, diff.place.layer);
  const pause = makePause(diff.signal);
  for await (const batch of batches) {
    diff.signal.throwIfAborted();
    for (const change of batch) {
      await pause();
      const sourcePath = change.kind === "put" ? change.entry.path : change.path;
      if (sourcePath === IGNORE_FILE) return false;
      const path = diff.place.into === "" ? sourcePath : `${diff.place.into}/${sourcePath}`;
      const before = known(path);
      if (change.kind === "put" && diff.scope.wants(sourcePath))
        insertPut(diff, before, toWanted(diff, change.entry));
      else if (before !== undefined) insertDelete(diff, path, "REPLACE");
    }
    diff.onEntries(batch.length);
  }
  return true;
}

/** The entry as the tree would have it. @throws SourceError for a file beyond the limit */
function toWanted(diff: LayerDiff, entry: Entry): EntryRow {
  const wanted = toRow(entry, diff.place);
  if (wanted.fingerprint === "" && wanted.kind === FILE) {
    // All later changes of it would go unnoticed.
    throw new SourceError("invalid", `${quotePath(entry.path)} came without a fingerprint`, {
      hint: "this is a fault of the adapter; please report it",
    });
  }
  if (wanted.size !== null && wanted.size > diff.maxFileBytes) {
    throw new SourceError(
      "invalid",
      `${quotePath(entry.path)} has ${wanted.size} bytes, more than the ${diff.maxFileBytes} allowed for one file`,
      { hint: "raise --max-file-bytes, or exclude it" },
    );
  }
  return wanted;
}

function insertPut(diff: LayerDiff, before: KnownRow | undefined, wanted: EntryRow): void {
  const sameContent = before !== undefined && diff.comparable && sameVersion(before, wanted);
  const readAgain = sameContent && diff.readAgain && before.kind === FILE;
  const sameMode = before?.mode === wanted.mode;
  if (sameContent && sameMode && !readAgain) {
    if (before.ref !== wanted.ref) noteRef(diff.state, wanted);
    return;
  }
  // A path that is published already was judged when it came.
  if (before === undefined) refuseUnsafe(wanted.path);
  const same = sameContent && before.kind === FILE && !readAgain;
  const unchanged = readAgain && sameMode;
  planRow(
    diff.state,
    { ...wanted, sha256: same ? publishedDigest(diff.state, wanted) : wanted.sha256 },
    {
      action: "put",
      effective: true,
      change:
        before === undefined || before.kind === SKIPPED
          ? "added"
          : unchanged
            ? "touched"
            : "changed",
      content: same ? "samePublished" : unchanged ? "reread" : "fetch",
    },
  );
}

function sameVersion(before: KnownRow, wanted: EntryRow): boolean {
  return (
    before.fingerprint === wanted.fingerprint &&
    (before.kind === wanted.kind || (before.kind === SKIPPED && wanted.kind === SYMLINK))
  );
}

/** @param conflict what to do where the path has a plan already: a listing that has the path is right, and the row is out of order */
function insertDelete(
  { state, place }: LayerDiff,
  path: string,
  conflict: "IGNORE" | "REPLACE",
): void {
  // Read a moment ago, and not found, or planned already: its bytes are no text, or rows are out of order.
  if (!planDeletion(state, { path, layer: place.layer }, conflict))
    throw new DamagedState(`there is no ${quotePath(path)}`);
}

function refuseUnsafe(path: string): void {
  const problem = unsafePath(path);
  if (problem !== undefined) {
    throw new SourceError("invalid", `the path ${quotePath(path)} ${problem}`, {
      hint: "nothing was published; rename it at the source",
    });
  }
}

function tooManyFiles(maxFiles: number): SourceError {
  return new SourceError("invalid", `the source has more than the ${maxFiles} files allowed`, {
    hint: "raise --max-files, or exclude some",
  });
}
