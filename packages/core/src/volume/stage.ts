/** Turning the candidate into the planned tree: removing, linking what the published tree has, fetching the rest. */
import { setImmediate } from "node:timers/promises";
import { FILE, mayEqual, type PublishedRow, SYMLINK } from "../state/row.ts";
import { type Candidate, isAsRecorded } from "./candidate.ts";
import { copyPublished } from "./copy.ts";
import {
  FETCH_ANEW,
  entryAt,
  type PlannedRow,
  plannedEntry,
  publishedEntry,
} from "../state/entries.ts";
import { type Fetcher, openJournal } from "./journal.ts";
import { hasModes } from "./modes.ts";
import type { Volume } from "./volume.ts";
import type { State } from "../state/state.ts";
import type { Tree, TreeSettings } from "./tree.ts";

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

/** Synchronous file work done before other work gets its turn, in milliseconds. */
const SLICE = 10;

/** What an interrupted attempt left at a path of the candidate. */
type OverlayRow = Pick<
  PublishedRow,
  "path" | "kind" | "size" | "mode" | "fingerprint" | "sha256" | "ino" | "disk_mtime"
> & { readonly present: number; readonly origin: string | null };

export async function stage(job: StageJob): Promise<void> {
  const { state } = job.volume;
  const views = openViews(job);
  const journal = openJournal(state);
  try {
    if (!views.fresh) {
      await inSlices(worklist(state, views), job.signal, (path) => {
        if (views.wanted(path) === undefined) job.candidate.tree.remove(path);
      });
      job.candidate.tree.prune();
    }
    await job.fetcher.each(toFetch(job, views, journal), async (row, signal) => {
      const place = job.candidate.tree.at(row.path, true);
      try {
        const written = await job.fetcher.fetch(row, place.path, signal);
        const change = views.change(row);
        const before = views.published(row.path);
        if (change === undefined) noteRefetched(state, row, written);
        // Fetched, and found to be what was published all along: it keeps its inode and time.
        else if (
          before !== undefined &&
          isSameContent(before, row as PlannedRow, written.sha256) &&
          linkPublished(job, views, before, true)
        )
          journal.note(row, { ...before, change: "T" });
        else
          journal.note(row, {
            size: written.size,
            sha256: written.sha256,
            ino: written.ino,
            disk_mtime: written.mtime,
            change: change === "T" ? "M" : change,
          });
      } finally {
        place.release();
      }
    });
    job.candidate.tree.prune();
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

interface Views {
  /** True when nothing is in the candidate and nothing was published: every path of the plan is new. */
  readonly fresh: boolean;
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
  const exists = (table: string) => state.sql(`SELECT 1 FROM ${table} LIMIT 1`).get() !== undefined;
  const hasEntries = exists("entries");
  const hasOverlay = exists("overlay");
  const planned = plannedEntry(state);
  const published = publishedEntry(state);
  const overlay = state.sql("SELECT * FROM overlay WHERE path = ?");
  const base = job.candidate.base;
  return {
    fresh: base === null && !hasOverlay,
    base,
    modes: hasModes(state),
    wanted(path) {
      const row = planned(path);
      if (row === undefined) return hasEntries ? published(path) : undefined;
      return row.put === 1 && row.kind <= SYMLINK ? row : undefined;
    },
    published: hasEntries ? published : () => undefined,
    change: (row) => ("change" in row ? (row as PlannedRow).change : undefined),
    overlay: (path) =>
      hasOverlay ? (overlay.get(path) as unknown as OverlayRow | undefined) : undefined,
    atBase: base === null ? () => undefined : entryAt(state, base),
  };
}

/**
 * The paths at which the candidate may differ from the wanted tree, in order. For a recycled tree: what changed since its
 * generation, and what an interrupted attempt did; for a new one: everything.
 */
function* worklist(state: State, views: Views): Generator<string> {
  const rows =
    views.base === null
      ? state
          .prepare(
            `SELECT path FROM entries WHERE until IS NULL UNION SELECT path FROM plan WHERE wins = 1 AND change IS NOT NULL
             UNION SELECT path FROM overlay ORDER BY path`,
          )
          .iterate()
      : state
          .prepare(
            `SELECT path FROM deltas WHERE generation > ? UNION SELECT path FROM plan WHERE wins = 1 AND change IS NOT NULL
             UNION SELECT path FROM overlay ORDER BY path`,
          )
          .iterate(views.base);
  for (const row of rows) yield row["path"] as string;
}

/** Does what needs no source, and hands on the rows that do. */
async function* toFetch(
  job: StageJob,
  views: Views,
  journal: ReturnType<typeof openJournal>,
): AsyncGenerator<PublishedRow> {
  const { tree } = job.candidate;
  let started = performance.now();
  for (const path of worklist(job.volume.state, views)) {
    const row = views.wanted(path);
    if (row !== undefined && !isThere(job, views, journal, row)) {
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
          : !copySame(job, views, journal, row as PlannedRow)
      ) {
        yield row;
      }
    }
    if (performance.now() - started > SLICE) {
      job.signal.throwIfAborted();
      await setImmediate();
      started = performance.now();
    }
  }
}

/** Whether the candidate has the wanted file already: from its own generation, or from an attempt that was cut short. */
function isThere(
  job: StageJob,
  views: Views,
  journal: ReturnType<typeof openJournal>,
  row: PublishedRow,
): boolean {
  if (views.fresh) return false;
  const change = views.change(row);
  const left = views.overlay(row.path);
  if (left !== undefined) {
    if (left.present !== 1) return false;
    // Only what was found to be what is published is known to be read.
    if (change === "T" && left.ino !== views.published(row.path)?.ino) return false;
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
function copySame(
  job: StageJob,
  views: Views,
  journal: ReturnType<typeof openJournal>,
  row: PlannedRow,
): boolean {
  const before = views.published(row.path);
  if (row.same !== 1 || before === undefined || job.published === undefined) return false;
  const to = job.candidate.tree.at(row.path, true);
  try {
    const copied = copyPublished(job.published, before, to.path, row.mode, job.owner);
    if (copied === undefined) return false;
    journal.note(row, { ...copied, change: row.change });
    return true;
  } finally {
    to.release();
  }
}

function isSameContent(before: PublishedRow, row: PlannedRow, sha256: string): boolean {
  return (
    row.same !== FETCH_ANEW &&
    before.kind === FILE &&
    before.sha256 === sha256 &&
    before.mode === row.mode
  );
}

/** A published file that had to be fetched again has a new inode from now on. */
function noteRefetched(
  state: State,
  row: PublishedRow,
  written: {
    readonly size: number;
    readonly sha256: string;
    readonly ino: number;
    readonly mtime: number;
  },
): void {
  state
    .sql(
      `INSERT OR REPLACE INTO plan (path, layer, put, wins, change, same, kind, size, mode, mtime, fingerprint, ref, sha256, ino, disk_mtime)
       SELECT path, layer, 1, 1, 'M', 0, kind, ?, mode, mtime, fingerprint, ref, ?, ?, ? FROM entries WHERE path = ? AND layer = ? AND until IS NULL`,
    )
    .run(written.size, written.sha256, written.ino, written.mtime, row.path, row.layer);
}

async function inSlices(
  paths: Iterable<string>,
  signal: AbortSignal,
  work: (path: string) => void,
): Promise<void> {
  let started = performance.now();
  for (const path of paths) {
    work(path);
    if (performance.now() - started > SLICE) {
      signal.throwIfAborted();
      await setImmediate();
      started = performance.now();
    }
  }
}
