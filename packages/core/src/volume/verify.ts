/** Comparing a published tree, byte by byte, with what was recorded. */
import { createHash } from "node:crypto";
import { closeSync, constants, openSync, readlinkSync, readSync, type Stats } from "node:fs";
import { comparePaths } from "../source/path.ts";
import { shownRows } from "../state/entries.ts";
import { FILE, type PublishedRow } from "../state/row.ts";
import { makePause, type Pause } from "../timing/slices.ts";
import { hasModes } from "./modes.ts";
import type { State } from "../state/state.ts";
import type { Tree } from "./tree.ts";

export interface TreeReport {
  /** Files and symlinks that were published and are there. */
  readonly checked: number;
  /** How many of them have not the content, type or permissions that were published. */
  readonly changed: number;
  readonly missing: number;
  /** How many were never published. With `mirror` these are other people's, and not looked for. */
  readonly extra: number;
}

export type Fault = "changed" | "missing" | "extra";

/**
 * Compares a tree with the rows of a generation; memory follows neither.
 *
 * @param whose `alone`: everything in the tree is ours, so that it is walked, and what is too much in it is a fault; `dirMode`: what its
 * directories should have then, where that is known
 */
export async function verifyTree(
  state: State,
  tree: Tree,
  generation: number,
  { alone, dirMode }: { readonly alone: boolean; readonly dirMode?: number | undefined },
  signal: AbortSignal,
  onFault: (fault: Fault, path: string) => void,
): Promise<TreeReport> {
  const rows = shownRows(state, generation);
  const modes = hasModes(state);
  const pause = makePause(signal);
  const found = alone
    ? allIn(tree, modes ? dirMode : undefined, pause)
    : presentFiles(tree, shownRows(state, generation), pause);
  try {
    return await compare(tree, rows, found, modes, pause, onFault);
  } finally {
    rows.return();
  }
}

/** What is found at a path. */
interface Found {
  readonly path: string;
  readonly stats: Stats;
  /** Known without looking further: a name that is none of ours, a directory of another mode. */
  readonly fault?: "extra" | "changed";
}

async function* allIn(
  tree: Tree,
  dirMode: number | undefined,
  pause: Pause,
): AsyncGenerator<Found> {
  for await (const { path, stats, nonUtf8 } of tree.walk(pause)) {
    if (nonUtf8 !== undefined) yield { path, stats, fault: "extra" };
    else if (!stats.isDirectory()) yield { path, stats };
    else if (dirMode !== undefined && (stats.mode & 0o777) !== (dirMode & 0o777))
      yield { path, stats, fault: "changed" };
  }
}

/** What is where we put something, among other people's files. */
async function* presentFiles(
  tree: Tree,
  rows: Iterable<PublishedRow>,
  pause: Pause,
): AsyncGenerator<Found> {
  for (const { path } of rows) {
    await pause();
    const stats = tree.stat(path);
    if (stats !== undefined) yield { path, stats };
  }
}

async function compare(
  tree: Tree,
  rows: Iterator<PublishedRow>,
  found: AsyncIterable<Found>,
  modes: boolean,
  pause: Pause,
  onFault: (fault: Fault, path: string) => void,
): Promise<TreeReport> {
  const report = { checked: 0, changed: 0, missing: 0, extra: 0 };
  const add = (fault: Fault, path: string) => {
    report[fault]++;
    onFault(fault, path);
  };
  let row = rows.next();
  for await (const { path, stats, fault } of found) {
    await pause();
    if (fault !== undefined) {
      add(fault, path);
      continue;
    }
    while (row.done !== true && comparePaths(row.value.path, path) < 0) {
      add("missing", row.value.path);
      row = rows.next();
      await pause();
    }
    if (row.done !== true && row.value.path === path) {
      report.checked++;
      if (!(await isIntact(tree, row.value, stats, modes, pause))) add("changed", path);
      row = rows.next();
    } else add("extra", path);
  }
  for (; row.done !== true; row = rows.next()) {
    add("missing", row.value.path);
    await pause();
  }
  return report;
}

async function isIntact(
  tree: Tree,
  row: PublishedRow,
  stats: {
    readonly mode: number;
    readonly size: number;
    isFile(): boolean;
    isSymbolicLink(): boolean;
  },
  modes: boolean,
  pause: Pause,
): Promise<boolean> {
  const place = tree.at(row.path, false);
  try {
    if (row.kind !== FILE)
      return stats.isSymbolicLink() && readlinkSync(place.path) === row.fingerprint;
    if (!stats.isFile() || stats.size !== row.size) return false;
    if (modes && (stats.mode & 0o777) !== row.mode) return false;
    return row.sha256 === null || (await hashFile(place.path, pause)) === row.sha256;
  } finally {
    place.release();
  }
}

/** Of all: what is read is hashed before others have their turn. */
const buffer = Buffer.allocUnsafe(1 << 20);

async function hashFile(path: string, pause: Pause): Promise<string> {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const hash = createHash("sha256");
    for (let read = readSync(fd, buffer); read > 0; read = readSync(fd, buffer)) {
      hash.update(buffer.subarray(0, read));
      await pause();
    }
    return hash.digest("hex");
  } finally {
    closeSync(fd);
  }
}
