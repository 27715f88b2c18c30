/** Opening a target: checks, lock, state, and the end of whatever a killed process had begun. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { TargetError } from "../errors.ts";
import type { SyncEvent } from "../events.ts";
import { discardCandidate, readCandidate, writeCandidate } from "./candidate.ts";
import { HOME, type Layout, layoutOf } from "./layout.ts";
import { takeLock } from "./lock.ts";
import { finishMirror } from "./mirror.ts";
import { finishPublish } from "./publish.ts";
import { asNoRoom } from "./room.ts";
import { generations, getMeta, latestGeneration, openState, setMeta, type State } from "./state.ts";

export interface Volume {
  readonly layout: Layout;
  readonly publish: "swap" | "mirror";
  /** Name of the link in the target. */
  readonly link: string;
  readonly state: State;
  emit(event: SyncEvent): void;
  close(): void;
}

export interface VolumeSettings {
  readonly target: string;
  readonly publish: "swap" | "mirror";
  readonly link: string;
  readonly emit: (event: SyncEvent) => void;
}

/**
 * Opens a target for writing.
 *
 * @throws TargetError when it cannot be a target, or another process is at work on it
 */
export function openVolume(settings: VolumeSettings): Volume {
  const layout = layoutOf(resolve(settings.target));
  makeHome(layout);
  const free = takeLock(layout.lock, layout.target);
  let state: State | undefined;
  try {
    state = openState(layout.state);
    const volume: Volume = {
      layout,
      publish: settings.publish,
      link: settings.link,
      state,
      emit: settings.emit,
      close() {
        state?.close();
        free();
      },
    };
    checkPublishMode(volume);
    recover(volume, noteBoot(state));
    return volume;
  } catch (error) {
    state?.close();
    free();
    throw error;
  }
}

function makeHome(layout: Layout): void {
  const { target, home } = layout;
  try {
    mkdirSync(target, { recursive: true });
    if (!statSync(target).isDirectory())
      throw new TargetError(`the target ${target} is not a directory`, {
        hint: "choose a directory, or move the file away",
      });
    const existing = lstatSync(home, { throwIfNoEntry: false });
    if (existing === undefined) mkdirSync(home, { mode: 0o755 });
    else if (!existing.isDirectory())
      throw new TargetError(`${home} is not a directory of Pannier's`, { hint: "move it away" });
    else if (existing.uid !== process.geteuid?.() && process.geteuid?.() !== 0) {
      throw new TargetError(`the target ${target} belongs to the Pannier of user ${existing.uid}`, {
        hint: "run as that user, or choose another target",
      });
    }
    if (statSync(home).dev !== statSync(target).dev) {
      throw new TargetError(
        `${home} is on another device than ${target}, so nothing can be moved between them at once`,
        { hint: "unmount it, so that both are on one volume" },
      );
    }
    mkdirSync(layout.generations, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw asTargetError(error, target);
  }
}

/** File system errors on the target, in words. */
function asTargetError(error: unknown, target: string): Error {
  const { code } = error as NodeJS.ErrnoException;
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
  const link = join(volume.layout.target, volume.link);
  const stats = lstatSync(link, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isSymbolicLink() || !readlinkSync(link).startsWith(`${HOME}/generations/`)) {
    throw new TargetError(`${link} is there already and is not a link of Pannier's`, {
      hint: "move it away, or name another link with --link",
    });
  }
}

/** @returns whether the machine was restarted since this was last asked: what is on the volume may then not be what was written */
function noteBoot(state: State): boolean {
  const file = "/proc/sys/kernel/random/boot_id";
  const boot = existsSync(file) ? readFileSync(file, "utf8").trim() : undefined;
  const before = getMeta(state, "boot");
  if (before === boot) return false;
  setMeta(state, "boot", boot);
  if (before === undefined) return false;
  // Kept until the published tree has been looked at, see damage.ts.
  setMeta(state, "unverified", "since a restart");
  return true;
}

/** Finishes or discards what was half done, and removes what nobody knows. */
function recover(volume: Volume, rebooted: boolean): void {
  const { state, layout } = volume;
  finishPublish(volume);
  finishMirror(volume);
  const candidate = readCandidate(state);
  if (candidate !== undefined) {
    const path = join(layout.home, candidate.name);
    const from =
      candidate.from === undefined ? undefined : join(layout.generations, candidate.from);
    if (!existsSync(path) && from !== undefined && existsSync(from)) renameSync(from, path);
    if (!existsSync(path) || rebooted) discardCandidate(volume);
    else if (candidate.from !== undefined) writeCandidate(state, { ...candidate, from: undefined });
  }
  sweep(
    layout.home,
    new Set([
      "generations",
      "scratch",
      "state.db",
      "state.db-wal",
      "state.db-shm",
      "state.db-journal",
      "lock",
      readCandidate(state)?.name ?? "",
    ]),
  );
  sweep(layout.generations, new Set(generations(state).flatMap(({ tree }) => tree ?? [])));
}

function sweep(directory: string, known: ReadonlySet<string>): void {
  for (const name of readdirSync(directory)) {
    if (!known.has(name)) rmSync(join(directory, name), { recursive: true, force: true });
  }
}
