/** Opening a target: checks, lock, state, and the end of whatever a killed process had begun. */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { TargetError } from "../errors.ts";
import type { SyncEvent } from "../events.ts";
import { distrustPublished } from "./damage.ts";
import { discardCandidate, findCandidate, readCandidate } from "./candidate.ts";
import { sweep, sweepTrees } from "./collect.ts";
import { HOME, type Layout, layoutOf, randomName } from "./layout.ts";
import { takeLock } from "./lock.ts";
import { mirrorStaging } from "./mirror.ts";
import { holdPlace, type Place } from "./place.ts";
import { finishPublish } from "./publish.ts";
import { DIRECTORY, PROC } from "./remove.ts";
import { asNoRoom } from "./room.ts";
import type { Volume } from "./volume.ts";
import { DamagedState, isBroken, isOfDamage } from "../state/damaged.ts";
import { latestGeneration } from "../state/generations.ts";
import { getMeta, setMeta } from "../state/meta.ts";
import { openState, type State, STATE_SUFFIXES } from "../state/state.ts";

export interface VolumeSettings {
  readonly target: string;
  readonly publish: "swap" | "mirror";
  readonly link: string;
  /** Nothing that can be seen is to change: what was left half done stays so. Default false. */
  readonly dryRun?: boolean;
  /** Of everything written: what is there may be this user's too. */
  readonly owner?: { readonly uid: number } | undefined;
  readonly emit: (event: SyncEvent) => void;
}

/**
 * Opens a target for writing.
 *
 * @throws TargetError when it cannot be a target, or another process is at work on it
 */
export function openVolume(settings: VolumeSettings): Volume {
  const place = hold(resolve(settings.target), settings.owner);
  const { layout } = place;
  let free: (() => void) | undefined;
  let state: State | undefined;
  const close = () => {
    if (state !== undefined) closeState(state, layout, place);
    free?.();
  };
  try {
    // SQLite follows every link in a path itself, and opens what the names lead to: so these must be what they were just before and after.
    free = takeLock(layout.lock, layout.target);
    place.check();
    state = openOrReplaceState(layout, settings.emit);
    place.check();
    const volume: Volume = {
      layout,
      publish: settings.publish,
      link: settings.link,
      state,
      emit: settings.emit,
      isInPlace: place.isInPlace,
      check: place.check,
      close,
      release: place.release,
    };
    bringInLine(volume, settings.dryRun === true);
    if (place.isNew && latestGeneration(state) !== undefined) distrustPublished(state);
    return volume;
  } catch (error) {
    close();
    place.release();
    throw asNoRoom(error) ?? toTargetError(error, layout.target);
  }
}

/** Finishes what was begun, and ends what cannot be finished. A state that turns out to be damaged is made anew. */
function bringInLine(volume: Volume, dryRun: boolean): void {
  const work = () => {
    checkPublishMode(volume);
    const restarted = noticeRestart(volume.state);
    if (!dryRun) recover(volume, restarted);
  };
  try {
    work();
  } catch (error) {
    if (!isOfDamage(error, volume.state)) throw error;
    renew(volume);
    work();
  }
}

function renew(volume: Volume): void {
  // SQLite removes and makes files by their names.
  volume.check();
  volume.state.renew();
  tellRenewed(volume.layout, volume.emit);
}

/** After a failure: makes the state anew if that is what it comes of. @returns whether it was */
export function renewIfDamaged(volume: Volume, error: unknown, dryRun: boolean): boolean {
  if (!isOfDamage(error, volume.state)) return false;
  renew(volume);
  bringInLine(volume, dryRun);
  return true;
}

function hold(target: string, owner: VolumeSettings["owner"]): Place {
  try {
    return holdPlace(target, owner);
  } catch (error) {
    throw openingError(error, target);
  }
}

/** States that are never closed, see below. A state that nobody holds would be closed by the garbage collector. */
const abandoned: State[] = [];

/**
 * SQLite takes the journal away as it closes, by its name: where that leads to somebody else's journal by now, the state stays open for
 * as long as the process lives.
 */
function closeState(state: State, { target }: Layout, place: Place): void {
  if (!place.isInPlace() && existsSync(join(target, HOME, "state.db-wal"))) abandoned.push(state);
  else state.close();
}

/** A state that cannot be read is given up: the visible tree stays, and the next sync publishes beside it. */
function openOrReplaceState(layout: Layout, emit: Volume["emit"]): State {
  try {
    return openState(layout.state);
  } catch (error) {
    if (!isBroken(error)) throw error;
    for (const suffix of STATE_SUFFIXES) rmSync(layout.state + suffix, { force: true });
    tellRenewed(layout, emit);
    return openState(layout.state);
  }
}

function tellRenewed({ target }: Layout, emit: Volume["emit"]): void {
  const { state } = layoutOf(target);
  emit({ type: "healed", message: `the state ${state} could not be read; it is built anew` });
}

/** Not those of sockets, which have system calls as well. */
const FILE_SYSTEM_CODES = new Set(
  "EACCES EPERM EROFS EIO ESTALE ENOENT ENOTDIR EISDIR ELOOP ENOTEMPTY EEXIST EXDEV EMLINK EBUSY EMFILE ENFILE ENOMEM ENXIO ENODEV".split(
    " ",
  ),
);

function isNotAllowed(error: unknown): boolean {
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  return ["EACCES", "EPERM", "EROFS"].includes(code ?? "");
}

/** What the file system said while we were at work on the target, in words. Everything else is passed on. */
export function toTargetError(error: unknown, target: string): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === "ERR_SQLITE_ERROR") return sqliteToTargetError(error as Error, target);
  if (code === undefined || syscall === undefined || !FILE_SYSTEM_CODES.has(code)) return error;
  const permission = isNotAllowed(error);
  return new TargetError(`the target ${target} cannot be worked on: ${syscall} failed (${code})`, {
    cause: error,
    permission,
    hint: permission
      ? "let Pannier's user write to it and to all that is in it"
      : "another process may be changing it; what was published before stays, and the next sync tries again",
  });
}

/** SQLite tells that the file system said no, and not what: the state is asked about. A fault in what SQLite was asked is passed on. */
function sqliteToTargetError(error: Error, target: string): Error {
  const { errcode = 0 } = error as { errcode?: number };
  // SQLITE_PERM, _BUSY, _LOCKED, _NOMEM, _READONLY, _IOERR, _CANTOPEN.
  if (![3, 5, 6, 7, 8, 10, 14].includes(errcode & 0xff)) return error;
  const why = whyNot(layoutOf(target).home);
  const full = why === undefined ? undefined : asNoRoom(why);
  if (full !== undefined) return full;
  const permission = (errcode & 0xff) === 8 || (errcode & 0xff) === 3 || isNotAllowed(why);
  return new TargetError(
    `the state in the target ${target} cannot be read or written: ${error.message}${why === undefined ? "" : ` (${why.code ?? why.message})`}`,
    {
      cause: error,
      permission,
      hint: permission
        ? "let Pannier's user write to the target and to all that is in it"
        : "look after the volume; what was published before stays, and the next sync tries again",
    },
  );
}

/**
 * What keeps us from writing where SQLite does. Tried with a file of our own: to open and close one of SQLite's would end the locks that it
 * holds on it (https://www.sqlite.org/howtocorrupt.html).
 */
function whyNot(home: string): NodeJS.ErrnoException | undefined {
  try {
    const held = openSync(home, DIRECTORY);
    try {
      tryToWrite(PROC ? `/proc/self/fd/${held}` : home);
    } finally {
      closeSync(held);
    }
    return undefined;
  } catch (error) {
    return error as NodeJS.ErrnoException;
  }
}

function tryToWrite(home: string): void {
  const files = ["lock", ...STATE_SUFFIXES.map((suffix) => `state.db${suffix}`)];
  for (const path of [home, ...files.map((name) => join(home, name))])
    if (existsSync(path)) accessSync(path, constants.R_OK | constants.W_OK);
  const probe = join(home, randomName("probe"));
  const fd = openSync(probe, "wx", 0o600);
  try {
    writeSync(fd, Buffer.alloc(4096));
    ftruncateSync(fd, 0);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
    rmSync(probe, { force: true });
  }
}

/** File system errors on the target, in words. */
function openingError(error: unknown, target: string): Error {
  const { code } = error as NodeJS.ErrnoException;
  if (error instanceof TargetError) return error;
  if (code === "EEXIST" || code === "ENOTDIR")
    return new TargetError(`the target ${target} is a file, or runs through one`, {
      cause: error,
      hint: "choose a directory, or move the file away",
    });
  if (code === "EROFS")
    return new TargetError(`the target ${target} is on a read-only file system`, {
      cause: error,
      permission: true,
      hint: "mount it writable, or choose another target",
    });
  if (code === "EACCES" || code === "EPERM")
    return new TargetError(`no permission to write to the target ${target}`, {
      cause: error,
      permission: true,
      hint: "change its owner or mode (in Kubernetes: fsGroup), or choose another target",
    });
  return asNoRoom(error) ?? (error as Error);
}

function checkPublishMode(volume: Volume): void {
  const before = getMeta(volume.state, "publish");
  if (before !== undefined && before !== "swap" && before !== "mirror")
    throw new DamagedState(`it was filled with --publish ${before}`);
  if (
    before !== undefined &&
    before !== volume.publish &&
    latestGeneration(volume.state) !== undefined
  ) {
    throw new TargetError(
      `the target ${volume.layout.target} was filled with --publish ${before}`,
      { hint: `go on with --publish ${before}, or choose an empty target` },
    );
  }
  setMeta(volume.state, "publish", volume.publish);
  if (volume.publish === "mirror") return;
  const link = join(volume.layout.root, volume.link);
  const stats = lstatSync(link, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSymbolicLink() || !readlinkSync(link).startsWith(`${HOME}/generations/`)) {
    const name = join(volume.layout.target, volume.link);
    throw new TargetError(`${name} is there already and is not a link of Pannier's`, {
      hint: "move it away, or name another link with --link",
    });
  }
}

/** Of this run of the machine; `undefined` where the system does not tell. */
function bootId(): string | undefined {
  const file = "/proc/sys/kernel/random/boot_id";
  return existsSync(file) ? readFileSync(file, "utf8").trim() : undefined;
}

/**
 * After a restart of the machine, what is on the volume may not be what was written. Kept until the published tree has been looked
 * at, see damage.ts; what is not published yet is given up.
 */
function noticeRestart(state: State): boolean {
  const before = getMeta(state, "boot");
  const restarted = before !== undefined && before !== bootId();
  if (restarted) distrustPublished(state, "since a restart");
  return restarted;
}

/** Finishes or discards what was half done, and removes what nobody knows. */
function recover(volume: Volume, restarted: boolean): void {
  const { state, layout } = volume;
  finishPublish(volume);
  if (restarted) discardCandidate(volume);
  findCandidate(volume);
  sweep(
    layout.home,
    new Set([
      "generations",
      "scratch",
      "lock",
      // What the sidecar remembers of its hooks.
      "hooks.json",
      ...STATE_SUFFIXES.map((suffix) => `state.db${suffix}`),
      readCandidate(state)?.name ?? "",
      mirrorStaging(state) ?? "",
    ]),
  );
  sweepTrees(volume);
  setMeta(state, "boot", bootId());
}
