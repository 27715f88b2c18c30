/**
 * Files of this machine in a lane, by plain calls. What does not answer from memory is left: the adapter's own reads wait for many at once, and
 * can be given up.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readlinkSync,
  readSync,
  type Stats,
} from "node:fs";
import type { FileEntry, OpenLane, Sink } from "@pannier/core/adapter";
import { matches } from "./fingerprint.ts";
import { FLAGS, fullPath } from "./local-path.ts";

export interface LaneData {
  /** As in `Reading`. */
  readonly root: string;
  readonly isFile: boolean;
}

/** Files of up to this size are written at once; others in pieces of it. */
const PIECE = 1024 * 1024;

/** Milliseconds a file, on average, above which they do not come from memory. */
const SLOW = 2;
/** What one file counts at most: a thread that has to wait for a processor is not slow for that. */
const MOST = 2 * SLOW;
/** How much a file counts for the average, and how many of each batch are tried in any case. */
const WEIGHT = 1 / 16;
const TRIED = 8;

/** Linux's O_PATH, which Node does not name: it takes no permission to read the directory. */
const HOLD = 0o10000000 | constants.O_DIRECTORY;

export const openLane: OpenLane = () => {
  const buffer = Buffer.allocUnsafeSlow(PIECE);
  let average = 0;
  return {
    read({ files, data }, sink) {
      const directories = heldDirectory();
      try {
        for (const [index, entry] of files.entries()) {
          if (sink.stopped || (index >= TRIED && average > SLOW)) return;
          const began = performance.now();
          sink.request("read");
          const path = fullPath(data as LaneData, entry.path);
          readFile(directories.at(path), entry, index, sink, buffer);
          // Large ones are not slow for that.
          const pieces = 1 + (entry.size ?? 0) / PIECE;
          const took = Math.min(MOST, (performance.now() - began) / pieces);
          average += (took - average) * WEIGHT;
        }
      } finally {
        directories.close();
      }
    },
  };
};

/**
 * The directory of the last file, held open for the next one. O_NOFOLLOW is about the last name only: a directory on the way may have become a link
 * that leads elsewhere. So it is the directory whose place is checked, once for all of its files in a row, which are opened through it.
 */
function heldDirectory() {
  let held: string | undefined;
  let fd: number | undefined;

  function close(): void {
    if (fd !== undefined) closeSync(fd);
    held = fd = undefined;
  }

  return {
    /** @returns a path that leads through the directory; `undefined` where that is not where it should be */
    at(path: string): string | undefined {
      const slash = path.lastIndexOf("/");
      const directory = path.slice(0, slash) || "/";
      if (directory !== held) {
        close();
        try {
          fd = openSync(directory, HOLD);
          if (readlinkSync(`/proc/self/fd/${fd}`) !== directory) return undefined;
        } catch {
          return undefined;
        }
        held = directory;
      }
      return `/proc/self/fd/${fd}${path.slice(slash)}`;
    },
    close,
  };
}

/** As `readEntry` reads it, or not at all. */
function readFile(
  path: string | undefined,
  entry: FileEntry,
  index: number,
  sink: Sink,
  buffer: Buffer,
): void {
  if (path === undefined) return;
  let fd: number | undefined;
  try {
    fd = openSync(path, FLAGS);
    const stats = fstatSync(fd);
    if (!isVersion(stats, entry)) return;
    if (stats.size <= PIECE) {
      if (fill(fd, buffer, stats.size, 0) && isVersion(fstatSync(fd), entry))
        sink.put(index, buffer.subarray(0, stats.size));
      return;
    }
    const writing = sink.begin(index);
    for (let at = 0; at < stats.size; at += PIECE) {
      const length = Math.min(PIECE, stats.size - at);
      if (!fill(fd, buffer, length, at) || !writing.write(buffer.subarray(0, length)))
        return writing.drop();
    }
    if (isVersion(fstatSync(fd), entry)) writing.end();
    else writing.drop();
  } catch {
    // The adapter can say what is wrong.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function isVersion(stats: Stats, { fingerprint }: FileEntry): boolean {
  return stats.isFile() && matches(fingerprint, stats);
}

/** False where the file ends before. */
function fill(fd: number, buffer: Buffer, length: number, position: number): boolean {
  for (let got = 0; got < length;) {
    const count = readSync(fd, buffer, got, length - got, position + got);
    if (count === 0) return false;
    got += count;
  }
  return true;
}
