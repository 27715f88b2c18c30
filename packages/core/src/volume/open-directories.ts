/**
 * The directories of a tree, held open while something is done in them. They are opened one segment at a time without following
 * symlinks, and what is written goes through the open directory (`/proc/self/fd/N/name`, the openat(2) that Node lacks). So nothing
 * planted in a tree, before or while we write, leads a write out of it.
 */
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";
import { RefusedError } from "../errors.ts";
import { parentOf, quotePath } from "../source/path.ts";
import type { Pause } from "../timing/slices.ts";
import { randomName } from "./layout.ts";
import { giveGroup, hasSetGroup, inheriting, trySetMode } from "./modes.ts";
import { DIRECTORY, isReadOnly, openOwn, PROC, WRITABLE } from "./remove.ts";
import type { TreeSettings } from "./tree-settings.ts";

export interface OpenDirectory {
  readonly fd: number;
  /** A path that means this very directory, whatever becomes of its name. */
  readonly path: string;
  users: number;
}

export interface OpenDirectories {
  /** Directories written to; the root is the empty string. */
  readonly touched: Set<string>;
  /** Opens a directory of the tree; the caller is counted as a user of it. */
  use(directory: string, create: boolean): OpenDirectory;
  /** Before something is made in it. */
  writeTo(directory: string, open: OpenDirectory): void;
  /** Before something is removed from it. */
  loosenAt(directory: string): void;
  /** A removed directory must not be found open again under its name. */
  forget(directory: string): void;
  /** See `Tree.lookAgain`. */
  lookAgain(): void;
  /** See `Tree.restoreMode`. */
  restoreMode(directory: string): void;
  /** See `Tree.seal`. */
  seal(pause: Pause): Promise<void>;
  close(): void;
}

/** Directories held open; enough for the depth of a tree and the breadth of what is in flight. */
const HELD = 64;

/** @param aside see `openTree` */
export function openDirectories(
  root: string,
  settings: TreeSettings,
  aside?: string,
): OpenDirectories {
  const held = heldDirectories();
  const touched = new Set<string>();
  const modes = writableModes(settings.dirMode);

  function use(directory: string, create: boolean): OpenDirectory {
    const known = held.find(directory);
    if (known !== undefined) return known;
    const fd = directory === "" ? openExisting(root, settings) : openBelow(directory, create);
    return held.add(directory, fd, PROC ? `/proc/self/fd/${fd}` : join(root, directory));
  }

  function openBelow(directory: string, create: boolean): number {
    const name = nameOf(directory);
    const parent = use(parentOf(directory), create);
    const path = `${parent.path}/${name}`;
    try {
      return openExisting(path, settings);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (!create) throw error;
      if (code === "ENOTDIR" || code === "ELOOP") {
        if (settings.obstacles === "refuse") {
          throw new RefusedError(
            `${quotePath(directory)} in the target is a file or a link that Pannier did not put there, where a directory is needed`,
            { hint: "move it away" },
          );
        }
        unlinkSync(path);
      } else if (code !== "ENOENT") throw error;
      loosen(parentOf(directory), parent.fd);
      touched.add(parentOf(directory));
      touched.add(directory);
      return makeDirectory(path, parent, settings, aside, {
        onMade: (fd) => loosen(directory, fd),
        onFailed: () => modes.forget(directory),
      });
    } finally {
      parent.users--;
    }
  }

  function loosen(directory: string, fd: number): void {
    if (modes.loosen(directory, fd)) touched.add(directory);
  }

  function loosenAt(directory: string): void {
    if (!modes.isLocked) return;
    const opened = use(directory, false);
    loosen(directory, opened.fd);
    opened.users--;
  }

  return {
    touched,
    use,
    writeTo(directory, open) {
      loosen(directory, open.fd);
      touched.add(directory);
    },
    loosenAt,
    forget: held.forget,
    lookAgain: () => held.shrink(0),
    restoreMode(directory) {
      const opened = use(directory, false);
      const { mode: found, uid, gid } = fstatSync(opened.fd);
      const mode = found & 0o7777;
      const { owner } = settings;
      if (owner !== undefined && (uid !== owner.uid || gid !== owner.gid))
        fchownSync(opened.fd, owner.uid, owner.gid);
      // Bits beyond those may be inherited from the volume.
      const wanted = modes.whileWriting(directory, (mode & 0o7000) | settings.dirMode);
      if (mode !== wanted) trySetMode(() => fchmodSync(opened.fd, wanted));
      opened.users--;
    },
    async seal(pause) {
      for (const [directory, mode] of modes.before) {
        await pause();
        if (directory === "") continue;
        try {
          const opened = use(directory, false);
          fchmodSync(opened.fd, mode);
          opened.users--;
        } catch (error) {
          if (!isMissing(error)) throw error;
        }
      }
      modes.before.clear();
    },
    close: held.close,
  };
}

/** In a tree that is ours alone, our permissions are too, whoever took them away. */
function openExisting(path: string, { obstacles }: TreeSettings): number {
  return obstacles === "replace" ? openOwn(path) : openSync(path, DIRECTORY);
}

/** @param aside see `openTree` */
function makeDirectory(
  path: string,
  parent: OpenDirectory,
  { dirMode, owner }: TreeSettings,
  aside: string | undefined,
  on: {
    /** Called before it is in its place. */
    onMade(fd: number): void;
    onFailed(): void;
  },
): number {
  const place = aside === undefined ? path : `${aside}/${randomName("directory")}`;
  mkdirSync(place, dirMode);
  let fd: number | undefined;
  try {
    fd = openSync(place, DIRECTORY);
    const opened = fd;
    const { mode, gid } = fstatSync(aside === undefined ? fd : parent.fd);
    if (aside !== undefined && hasSetGroup(mode)) giveGroup(fd, gid);
    trySetMode(() => fchmodSync(opened, inheriting(dirMode, mode)));
    on.onMade(fd);
    if (owner !== undefined) fchownSync(fd, owner.uid, owner.gid);
    if (place !== path) renameSync(place, path);
    return fd;
  } catch (failure) {
    // Half made, it would be taken for one that was there.
    if (fd !== undefined) closeSync(fd);
    rmdirSync(place);
    on.onFailed();
    const { code } = failure as NodeJS.ErrnoException;
    // Somebody else has just made one, and is at work in it.
    if (place !== path && (code === "ENOTEMPTY" || code === "EEXIST"))
      return openSync(path, DIRECTORY);
    throw failure;
  }
}

/** Descriptors of directories, of which those unused for longest are closed. */
function heldDirectories() {
  const held = new Map<string, OpenDirectory>();
  /** The one at the end of those held, unless it is closed. */
  let latest: string | undefined;

  /** Closes those that nobody uses until so many are left. */
  function shrink(most: number): void {
    for (const [name, directory] of held) {
      if (held.size <= most) return;
      // The root stays: under its name somebody may have put another directory.
      if (name === "" || directory.users > 0) continue;
      closeSync(directory.fd);
      held.delete(name);
    }
  }

  return {
    shrink,
    /** The caller is counted as a user of it. */
    find(directory: string): OpenDirectory | undefined {
      const known = held.get(directory);
      if (known === undefined) return undefined;
      // Mostly one file after the other of the same directory.
      if (directory !== latest) {
        held.delete(directory);
        held.set(directory, known);
        latest = directory;
      }
      known.users++;
      return known;
    },
    /** The caller is counted as a user of it. */
    add(directory: string, fd: number, path: string): OpenDirectory {
      const opened: OpenDirectory = { fd, path, users: 1 };
      held.set(directory, opened);
      latest = directory;
      shrink(HELD);
      return opened;
    },
    forget(directory: string): void {
      for (const [name, open] of held) {
        if (name !== directory && !name.startsWith(`${directory}/`)) continue;
        closeSync(open.fd);
        held.delete(name);
      }
    },
    close(): void {
      for (const directory of held.values()) closeSync(directory.fd);
      held.clear();
    },
  };
}

/** Directories that even their owner may not write to are writable while we are at work. */
function writableModes(dirMode: number) {
  const isLocked = isReadOnly(dirMode);
  /** The modes that they get back. */
  const before = new Map<string, number>();
  return {
    isLocked,
    before,
    /** Makes one writable. @returns whether it was not */
    loosen(directory: string, fd: number): boolean {
      if (!isLocked || before.has(directory)) return false;
      const mode = fstatSync(fd).mode & 0o7777;
      if (!isReadOnly(mode)) return false;
      fchmodSync(fd, mode | WRITABLE);
      before.set(directory, mode);
      return true;
    },
    /** The mode that a directory gets now: one that is written to gets the wanted one when it is sealed. */
    whileWriting(directory: string, wanted: number): number {
      if (!before.has(directory)) return wanted;
      before.set(directory, wanted);
      return wanted | WRITABLE;
    },
    forget: (directory: string) => before.delete(directory),
  };
}

/** @throws Error for what leads upwards: no such path is made, but a state that somebody else wrote to may have one */
export function nameOf(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (name === ".." || name === ".") throw new Error(`${quotePath(path)} is not a path in a tree`);
  return name;
}

/** Whether an error says that nothing is at a path, or no directory where its parents should be. */
export function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP";
}
