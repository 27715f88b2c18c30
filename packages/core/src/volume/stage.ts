/** Turning the candidate into the planned tree: removing, linking what the published tree has, fetching the rest. */
import { TargetError } from "../errors.ts";
import { quotePath } from "../source/path.ts";
import { makePause } from "../timing/slices.ts";
import { directoriesOf } from "../state/directories.ts";
import { FILE, mayEqual, type PublishedRow, SYMLINK } from "../state/row.ts";
import type { Candidate } from "./candidate.ts";
import { isAsRecorded, isRecorded } from "./recorded.ts";
import { copyPublished } from "./copy.ts";
import { entryAt, hasEntries, publishedBelow, publishedEntry } from "../state/entries.ts";
import {
  hasOverlay,
  overlayEntry,
  type OverlayRow,
  pathsToStage,
  PRESENT,
} from "../state/overlay.ts";
import { putRows, rowsToPut } from "../state/plan-paths.ts";
import { type PlannedRow, plannedEntry } from "../state/plan.ts";
import type { State } from "../state/state.ts";
import { planRefetched } from "../state/plan-published.ts";
import {
  type Fetcher,
  type FetchJob,
  type Journal,
  openJournal,
  type WrittenFile,
} from "./journal.ts";
import { hasModes } from "./modes.ts";
import type { Volume } from "./volume.ts";
import { directoryFacts } from "./directory-facts.ts";
import type { Tree } from "./tree.ts";
import type { TreeSettings } from "./tree-settings.ts";

export interface StageJob {
  readonly volume: Volume;
  readonly candidate: Candidate;
  /** The published tree; `undefined` when there is none, or it is not to be trusted. */
  readonly published: Tree | undefined;
  /** Identity of each layer's source. */
  readonly origins: readonly string[];
  readonly fetcher: Fetcher;
  readonly owner: TreeSettings["owner"];
  readonly signal: AbortSignal;
}

export async function stage(job: StageJob): Promise<void> {
  const { state } = job.volume;
  const views = openViews(job);
  const pause = makePause(job.signal);
  const journal = openJournal(state);
  try {
    if (!views.fresh) {
      for (const { path } of pathsToStage(state, views.base)) {
        if (views.wanted(path) === undefined) job.candidate.tree.remove(path);
        await pause();
      }
      await job.candidate.tree.prune(pause);
    }
    await job.fetcher.fetchAll(toFetch(job, views, journal));
    await job.candidate.tree.prune(pause);
  } catch (error) {
    try {
      journal.flush();
    } catch {
      // What was fetched will be fetched again; what failed first is what counts.
    }
    throw error;
  }
  journal.flush();
}

/**
 * Looks whether what was staged is there. Whoever cleans up beside us must not make us publish what is left.
 *
 * @throws TargetError
 */
export async function checkStaged(job: StageJob): Promise<void> {
  const { volume, candidate } = job;
  const views = openViews(job);
  const { tree } = candidate;
  tree.lookAgain();
  const pause = makePause(job.signal);
  for (const row of views.first ? putRows(volume.state) : wantedRows(volume.state, views)) {
    const others = pause();
    if (others !== undefined) await others;
    if (row === undefined) continue;
    const { path } = row;
    const stats = tree.stat(path);
    const isSame = row.kind === FILE ? stats && isRecorded(stats, row) : stats?.isSymbolicLink();
    if (isSame !== true) throw takenFromCandidate(volume, path);
  }
}

/** `undefined`: what was there is to be gone. */
function* wantedRows(
  state: State,
  { base, wanted }: Views,
): Generator<PublishedRow | undefined, void, undefined> {
  for (const { path } of pathsToStage(state, base)) yield wanted(path);
}

/**
 * The same for all that was in the recycled tree before: by the directories that we did not write to.
 *
 * @throws TargetError
 */
export async function checkRecycled(job: StageJob): Promise<void> {
  const { volume, candidate, signal } = job;
  const { tree, slot } = candidate;
  const views = openViews(job);
  const below = publishedBelow(volume.state);
  const pause = makePause(signal);
  for (const { path, ino, ctime } of directoriesOf(volume.state, slot)) {
    await pause();
    if (tree.touched.has(path)) continue;
    const facts = directoryFacts(tree, path);
    if (facts?.ino === ino && facts.ctime === ctime) continue;
    if (facts !== undefined) throw takenFromCandidate(volume, path);
    // Where nothing is wanted in it, we removed it ourselves.
    for (const inside of below(path)) {
      if (views.wanted(inside.path) !== undefined) throw takenFromCandidate(volume, path);
      await pause();
    }
  }
}

function takenFromCandidate({ layout }: Volume, path: string): TargetError {
  return new TargetError(
    `${quotePath(path)} in the next tree was changed or removed in the target ${layout.target}`,
    { hint: "another process is changing it; sync again" },
  );
}

interface Views {
  /** True when nothing is in the candidate and nothing was published: every path of the plan is new. */
  readonly fresh: boolean;
  /** True when that is because there is no published tree: the plan alone has what is wanted. */
  readonly first: boolean;
  readonly base: number | null;
  /** Whether the file system keeps permissions. */
  readonly modes: boolean;
  wanted(path: string): PublishedRow | undefined;
  published(path: string): PublishedRow | undefined;
  /** How the plan changes a row's path; `undefined` for a row that the plan leaves alone. */
  change(row: PublishedRow): PlannedRow["change"] | undefined;
  overlay(path: string): OverlayRow | undefined;
  atBase(path: string): PublishedRow | undefined;
}

function openViews(job: StageJob): Views {
  const { state } = job.volume;
  const known = hasEntries(state);
  const wasCut = hasOverlay(state);
  const planned = plannedEntry(state);
  const published = publishedEntry(state);
  const overlay = overlayEntry(state);
  const base = job.candidate.base;
  return {
    fresh: base === null && !wasCut,
    first: base === null && !wasCut && !known,
    base,
    modes: hasModes(state),
    wanted(path) {
      const row = planned(path);
      if (row === undefined) return known ? published(path) : undefined;
      return row.action === "put" && row.kind <= SYMLINK ? row : undefined;
    },
    published: known ? published : () => undefined,
    change: (row) => ("change" in row ? (row as PlannedRow).change : undefined),
    overlay: (path) => (wasCut ? overlay(path) : undefined),
    atBase: base === null ? () => undefined : entryAt(state, base),
  };
}

/** Does what needs no source, and hands on the rows that do. */
async function* toFetch(job: StageJob, views: Views, journal: Journal): AsyncGenerator<FetchJob> {
  const { tree } = job.candidate;
  const { state } = job.volume;
  const pause = makePause(job.signal);
  for (const row of views.first ? rowsToPut(state) : wantedRows(state, views)) {
    const others = pause();
    if (others !== undefined) await others;
    if (row !== undefined && !isThere(job, views, journal, row)) {
      const { path } = row;
      if (!views.fresh) tree.remove(path);
      const change = views.change(row);
      if (row.kind === SYMLINK) {
        tree.symlink(row.fingerprint, path);
        if (change !== undefined)
          journal.note(row, {
            size: null,
            sha256: null,
            ino: tree.stat(path)?.ino ?? null,
            disk_mtime: null,
            change,
          });
      } else if (
        change === undefined
          ? !linkPublished(job, views, row)
          : (row as PlannedRow).content !== "samePublished" ||
            !(await copySame(job, views, journal, row as PlannedRow))
      ) {
        yield {
          row,
          at: () => tree.at(path, true),
          done: (written) => noteFetched(job, views, journal, row, written),
        };
      }
    }
  }
}

function noteFetched(
  job: StageJob,
  views: Views,
  journal: Journal,
  row: PublishedRow,
  written: WrittenFile,
): void {
  const change = views.change(row);
  if (change === undefined) return planRefetched(job.volume.state, row, written);
  const before = views.published(row.path);
  // Fetched, and found to be what was published all along: it keeps its inode and time.
  if (
    before !== undefined &&
    isSameContent(before, row as PlannedRow, written.sha256) &&
    linkPublished(job, views, before, true)
  )
    return journal.note(row, { ...before, change: "touched" });
  journal.note(row, {
    size: written.size,
    sha256: written.sha256,
    ino: written.ino,
    disk_mtime: written.mtime,
    change: change === "touched" ? "changed" : change,
  });
}

/** Whether the candidate has the wanted file already: from its own generation, or from an attempt that was cut short. */
function isThere(job: StageJob, views: Views, journal: Journal, row: PublishedRow): boolean {
  if (views.fresh) return false;
  const change = views.change(row);
  const left = views.overlay(row.path);
  if (left !== undefined) {
    if (left.present !== PRESENT) return false;
    // Only what was found to be what is published is known to be read.
    if (change === "touched" && left.ino !== views.published(row.path)?.ino) return false;
    const same =
      left.origin === job.origins[row.layer] &&
      left.kind === row.kind &&
      left.fingerprint === row.fingerprint &&
      left.mode === row.mode;
    if (!same || !mayEqual(row.sha256, left.sha256)) return false;
    if (!isAsRecorded(job.candidate.tree, left, views.modes)) return false;
    if (change !== undefined)
      journal.note(row, {
        size: left.size,
        sha256: left.sha256,
        ino: left.ino,
        disk_mtime: left.disk_mtime,
        change,
      });
    return change !== undefined || row.kind !== FILE || left.ino === row.ino;
  }
  const old = views.atBase(row.path);
  return (
    change === undefined &&
    old !== undefined &&
    old.ino !== null &&
    old.ino === row.ino &&
    isAsRecorded(job.candidate.tree, row, views.modes)
  );
}

/** Hardlinks the published file into the candidate; false when it is not what was published any more. */
function linkPublished(job: StageJob, views: Views, row: PublishedRow, replace = false): boolean {
  const { published } = job;
  if (published === undefined || row.ino === null) return false;
  if (!isAsRecorded(published, row, views.modes)) {
    job.volume.emit({
      type: "healed",
      message: `${row.path} was changed or deleted in the published tree; it is fetched again`,
    });
    return false;
  }
  const from = published.at(row.path, false);
  try {
    if (replace) job.candidate.tree.replaceByLink(from.path, row.path);
    else job.candidate.tree.link(from.path, row.path);
    return true;
  } catch (error) {
    // A file system without hard links, too many of them, or a file of another owner's (protected_hardlinks, proc(5)).
    const { code } = error as NodeJS.ErrnoException;
    if (["EPERM", "EMLINK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS"].includes(code ?? "")) return false;
    throw error;
  } finally {
    from.release();
  }
}

/** Copies the published file where only its permissions differ. */
async function copySame(
  job: StageJob,
  views: Views,
  journal: Journal,
  row: PlannedRow,
): Promise<boolean> {
  const before = views.published(row.path);
  if (before === undefined || job.published === undefined) return false;
  const to = job.candidate.tree.at(row.path, true);
  try {
    const copied = await copyPublished(job.published, before, to.path, row.mode, job.owner);
    if (copied === undefined) return false;
    journal.note(row, { ...copied, change: row.change });
    return true;
  } finally {
    to.release();
  }
}

function isSameContent(before: PublishedRow, row: PlannedRow, sha256: string | null): boolean {
  return (
    row.content !== "mustFetch" &&
    before.kind === FILE &&
    sha256 !== null &&
    before.sha256 === sha256 &&
    before.mode === row.mode
  );
}
