/** File systems that keep no permission bits, as vfat and many shares: what was set there is not what is found. */
import { closeSync, fchmodSync, fchownSync, fstatSync, openSync } from "node:fs";
import { join } from "node:path";
import { isWithoutModes } from "../transfer/output.ts";
import { randomName } from "./layout.ts";
import { getMeta, setMeta } from "../state/meta.ts";
import type { State } from "../state/state.ts";
import type { Volume } from "./volume.ts";
import { removeFile } from "./files.ts";

/** Set on a directory, it gives what is made in it the directory's group, and directories this bit too. */
const SET_GROUP = 0o2000;

/** A mode for a directory that keeps what its parent handed on to it: the group of a volume (Kubernetes' fsGroup). */
export function inheriting(mode: number, found: number): number {
  return mode | (found & SET_GROUP);
}

export function hasSetGroup(mode: number): boolean {
  return (mode & SET_GROUP) !== 0;
}

/** As far as we may: only who is of a group gives it something. */
export function giveGroup(fd: number, gid: number): void {
  try {
    if (fstatSync(fd).gid !== gid) fchownSync(fd, -1, gid);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") throw error;
  }
}

/** Sets the mode of what is ours, as far as the file system has modes. */
export function trySetMode(set: () => void): void {
  try {
    set();
  } catch (error) {
    if (!isWithoutModes(error)) throw error;
  }
}

/** Whether files can be told by their modes. */
export function hasModes(state: State): boolean {
  return getMeta(state, "modes") !== "no";
}

/** Finds that out, once, with a file. */
export function noteModes({ state, layout }: Volume): void {
  if (getMeta(state, "modes") !== undefined) return;
  const path = join(layout.home, randomName("probe"));
  const fd = openSync(path, "wx", 0o600);
  const keeps = [0o640, 0o711].every((mode) => {
    trySetMode(() => fchmodSync(fd, mode));
    return (fstatSync(fd).mode & 0o777) === mode;
  });
  closeSync(fd);
  removeFile(path);
  setMeta(state, "modes", keeps ? "yes" : "no");
}
