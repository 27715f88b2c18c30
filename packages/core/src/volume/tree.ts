/**
 * The one writer: every file, link and directory that Pannier makes in a tree goes through here.
 *
 * Directories are opened one segment at a time without following symlinks, and what is written goes through the open
 * directory (`/proc/self/fd/N/name`, the openat(2) that Node lacks). So nothing planted in a tree, before or while we
 * write, leads a write out of it.
 */
import {
  closeSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  linkSync,
  lstatSync,
  lchownSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  type Stats,
  symlinkSync,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";
import { RefusedError } from "../errors.ts";
import { comparePaths, parentOf, quotePath } from "../snapshot/path.ts";
import { randomName } from "./layout.ts";
import { giveGroup, hasSetGroup, inheriting, trySetMode } from "./modes.ts";
import { DIRECTORY, isReadOnly, openOwn, PROC, removeTree, WRITABLE } from "./remove.ts";

export interface TreeSettings {
  readonly dirMode: number;
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  /** What to do with a file or symlink where a directory is needed: a candidate is ours to clear, a mirrored target is not. */
  readonly obstacles: "replace" | "refuse";
}

/** Of a tree in which nothing is written. */
export const READING: TreeSettings = { dirMode: 0o755, owner: undefined, obstacles: "refuse" };

export interface Tree {
  readonly root: string;
  readonly dirMode: number;
  readonly owner: TreeSettings["owner"];
  /** Directories written to since the tree was opened; the root is the empty string. */
  readonly touched: ReadonlySet<string>;
  /**
   * A path for `path` that cannot be led astray, good until `release`. Its parents are made when `create`; without
   * `create` a parent that is missing or no directory throws ENOENT or ENOTDIR.
   */
  at(path: string, create: boolean): { readonly path: string; release(): void };
  /** lstat, or `undefined` when there is nothing (or a parent is missing). */
  stat(path: string): Stats | undefined;
  /** Removes a file or link; in a candidate, a directory in its place is removed whole. Nothing there: nothing done. */
  remove(path: string): void;
  link(existing: string, path: string): void;
  /** The same where there is a file already, which stays if that fails. */
  replaceByLink(existing: string, path: string): void;
  symlink(text: string, path: string): void;
  /** Removes directories that became empty, from those that {@link Tree.remove} emptied upwards. */
  prune(): void;
  /** Whether the root's path still leads to the directory that was opened. */
  isInPlace(): boolean;
  /** Notes a directory as written to. */
  touch(directory: string): void;
  /** Removes a directory if nothing is in it. */
  removeIfEmpty(directory: string): boolean;
  /** Gives a directory that may be as a killed process left it, half made or made writable, the mode and owner of a new one. */
  settle(directory: string): void;
  /**
   * Walks what is there, files in path order, a directory after what is in it. Does not follow symlinks. `nonUtf8`: a
   * name that is not Unicode, so none of ours; `path` then only looks like it.
   */
  walk(): Generator<{
    readonly path: string;
    readonly stats: Stats;
    readonly nonUtf8?: NonUtf8Entry;
  }>;
  /** Gives directories that had to be made writable their mode back. Not the root: who may not write to a directory may not move it. */
  seal(): void;
  close(): void;
}

/** What only its bytes name. */
interface NonUtf8Entry {
  /** Removes it, whole. */
  remove(): void;
}

interface OpenDirectory {
  readonly fd: number;
  /** A path that means this very directory, whatever becomes of its name. */
  readonly path: string;
  users: number;
}

/** Directories held open; enough for the depth of a tree and the breadth of what is in flight. */
const HELD = 64;

/**
 * @param aside where directories are made, to be moved into place with their mode and owner: in a tree that others see, a process that
 * is killed must not leave one half made, which nobody could tell from one that was there
 */
export function openTree(root: string, settings: TreeSettings, aside?: string): Tree {
  const held = new Map<string, OpenDirectory>();
  const touched = new Set<string>();
  const emptied = new Set<string>();
  /** Directories that even their owner may not write to are writable while we are at work; their modes before. */
  const loosened = new Map<string, number>();
  const isLocked = isReadOnly(settings.dirMode);

  /** Opens a directory of the tree; the caller is counted as a user of it. */
  function use(directory: string, create: boolean): OpenDirectory {
    const known = held.get(directory);
    if (known !== undefined) {
      held.delete(directory);
      held.set(directory, known);
      known.users++;
      return known;
    }
    const fd = directory === "" ? openExisting(root) : openBelow(directory, create);
    const opened: OpenDirectory = {
      fd,
      path: PROC ? `/proc/self/fd/${fd}` : join(root, directory),
      users: 1,
    };
    held.set(directory, opened);
    evict();
    return opened;
  }

  function openBelow(directory: string, create: boolean): number {
    const name = nameOf(directory);
    const parent = use(parentOf(directory), create);
    const path = `${parent.path}/${name}`;
    try {
      return openExisting(path);
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
      return makeDirectory(directory, path, parent);
    } finally {
      parent.users--;
    }
  }

  /** In a tree that is ours alone, our permissions are too, whoever took them away. */
  function openExisting(path: string): number {
    return settings.obstacles === "replace" ? openOwn(path) : openSync(path, DIRECTORY);
  }

  function makeDirectory(directory: string, path: string, parent: OpenDirectory): number {
    const place = aside === undefined ? path : `${aside}/${randomName("directory")}`;
    mkdirSync(place, settings.dirMode);
    let fd: number | undefined;
    try {
      fd = openSync(place, DIRECTORY);
      const opened = fd;
      const { mode, gid } = fstatSync(aside === undefined ? fd : parent.fd);
      if (aside !== undefined && hasSetGroup(mode)) giveGroup(fd, gid);
      trySetMode(() => fchmodSync(opened, inheriting(settings.dirMode, mode)));
      loosen(directory, fd);
      if (settings.owner !== undefined) fchownSync(fd, settings.owner.uid, settings.owner.gid);
      if (place !== path) renameSync(place, path);
      return fd;
    } catch (failure) {
      // Half made, it would be taken for one that was there.
      if (fd !== undefined) closeSync(fd);
      rmdirSync(place);
      loosened.delete(directory);
      const { code } = failure as NodeJS.ErrnoException;
      // Somebody else has just made one, and is at work in it.
      if (place !== path && (code === "ENOTEMPTY" || code === "EEXIST"))
        return openSync(path, DIRECTORY);
      throw failure;
    }
  }

  function evict(): void {
    if (held.size <= HELD) return;
    for (const [name, directory] of held) {
      // The root stays: under its name somebody may have put another directory.
      if (directory.users > 0) continue;
      closeSync(directory.fd);
      held.delete(name);
      if (held.size <= HELD) return;
    }
  }

  function loosen(directory: string, fd: number): void {
    if (!isLocked || loosened.has(directory)) return;
    const mode = fstatSync(fd).mode & 0o7777;
    if (!isReadOnly(mode)) return;
    fchmodSync(fd, mode | WRITABLE);
    loosened.set(directory, mode);
    touched.add(directory);
  }

  function loosenAt(directory: string): void {
    if (!isLocked) return;
    const opened = use(directory, false);
    loosen(directory, opened.fd);
    opened.users--;
  }

  function inside<Result>(path: string, create: boolean, work: (place: string) => Result): Result {
    const place = tree.at(path, create);
    try {
      return work(place.path);
    } finally {
      place.release();
    }
  }

  const tree: Tree = {
    root,
    dirMode: settings.dirMode,
    owner: settings.owner,
    touched,
    at(path, create) {
      const name = nameOf(path);
      const parent = parentOf(path);
      const directory = use(parent, create);
      if (create) {
        loosen(parent, directory.fd);
        touched.add(parent);
      }
      return {
        path: `${directory.path}/${name}`,
        release: () => directory.users--,
      };
    },
    stat(path) {
      try {
        return inside(path, false, (place) => lstatSync(place, { throwIfNoEntry: false }));
      } catch (error) {
        if (isMissing(error)) return undefined;
        throw error;
      }
    },
    remove(path) {
      // Even where nothing is: a process that was killed may have come no further than this.
      emptied.add(parentOf(path));
      try {
        inside(path, false, (place) => {
          const stats = lstatSync(place, { throwIfNoEntry: false });
          if (stats === undefined) return;
          touched.add(parentOf(path));
          loosenAt(parentOf(path));
          if (!stats.isDirectory()) return unlinkSync(place);
          // In a target that others write to, a directory is never ours alone.
          if (settings.obstacles === "refuse") return;
          forget(path);
          removeTree(place);
        });
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    },
    link: (existing, path) => inside(path, true, (place) => linkSync(existing, place)),
    replaceByLink: (existing, path) =>
      inside(path, true, (place) => {
        const link = `${parentOf(place)}/${randomName("link")}`;
        linkSync(existing, link);
        renameSync(link, place);
      }),
    symlink: (text, path) =>
      inside(path, true, (place) => {
        symlinkSync(text, place);
        if (settings.owner !== undefined) lchownSync(place, settings.owner.uid, settings.owner.gid);
      }),
    prune() {
      for (const start of emptied) {
        for (let directory = start; directory !== ""; directory = parentOf(directory)) {
          if (!removeIfEmpty(directory)) break;
        }
      }
      emptied.clear();
    },
    isInPlace() {
      const opened = use("", false);
      opened.users--;
      const { dev, ino } = fstatSync(opened.fd);
      const found = lstatSync(root, { throwIfNoEntry: false });
      return found?.dev === dev && found.ino === ino;
    },
    touch: (directory) => touched.add(directory),
    removeIfEmpty,
    settle(directory) {
      const opened = use(directory, false);
      const { mode: found, uid, gid } = fstatSync(opened.fd);
      const mode = found & 0o7777;
      const { owner } = settings;
      if (owner !== undefined && (uid !== owner.uid || gid !== owner.gid))
        fchownSync(opened.fd, owner.uid, owner.gid);
      // Bits beyond those may be inherited from the volume.
      const wanted = (mode & 0o7000) | settings.dirMode;
      // One that is written to gets its mode when it is sealed.
      const atWork = loosened.has(directory);
      if (atWork) loosened.set(directory, wanted);
      const now = atWork ? wanted | WRITABLE : wanted;
      if (mode !== now) trySetMode(() => fchmodSync(opened.fd, now));
      opened.users--;
    },
    *walk() {
      yield* walkDirectory("");
    },
    seal() {
      for (const [directory, mode] of loosened) {
        if (directory === "") continue;
        try {
          const opened = use(directory, false);
          fchmodSync(opened.fd, mode);
          opened.users--;
        } catch (error) {
          if (!isMissing(error)) throw error;
        }
      }
      loosened.clear();
    },
    close() {
      for (const directory of held.values()) closeSync(directory.fd);
      held.clear();
    },
  };

  /** A removed directory must not be found open again under its name. */
  function forget(directory: string): void {
    for (const [name, open] of held) {
      if (name !== directory && !name.startsWith(`${directory}/`)) continue;
      closeSync(open.fd);
      held.delete(name);
    }
  }

  function removeIfEmpty(directory: string): boolean {
    forget(directory);
    try {
      inside(directory, false, (place) => {
        loosenAt(parentOf(directory));
        rmdirSync(place);
      });
    } catch (error) {
      if (!isMissing(error)) return false;
    }
    touched.delete(directory);
    touched.add(parentOf(directory));
    return true;
  }

  function* walkDirectory(directory: string): ReturnType<Tree["walk"]> {
    let open: OpenDirectory;
    try {
      open = use(directory, false);
    } catch (error) {
      // Somebody else has just replaced it.
      if (directory !== "" && isMissing(error)) return;
      throw error;
    }
    try {
      const names = readdirSync(open.path, { withFileTypes: true });
      // A directory sorts as if its name ended in a slash: then whole paths are in order.
      const sorted = names
        .map((entry) => ({
          name: entry.name,
          key: entry.isDirectory() ? `${entry.name}/` : entry.name,
        }))
        .toSorted((a, b) => comparePaths(a.key, b.key));
      for (const { name, key } of sorted) {
        if (name.includes("\uFFFD") && !isPresent(`${open.path}/${name}`)) continue;
        const path = directory === "" ? name : `${directory}/${name}`;
        if (key !== name) {
          yield* walkDirectory(path);
          const stats = lstatSync(`${open.path}/${name}`, { throwIfNoEntry: false });
          if (stats !== undefined) yield { path, stats };
        } else {
          const stats = lstatSync(`${open.path}/${name}`, { throwIfNoEntry: false });
          if (stats !== undefined) yield { path, stats };
        }
      }
      if (names.some(({ name }) => name.includes("\uFFFD"))) yield* strangers(directory, open.path);
    } finally {
      open.users--;
    }
  }

  /** Entries whose names are not Unicode: Node shows them with U+FFFD in place of what it cannot read. */
  function* strangers(directory: string, place: string): ReturnType<Tree["walk"]> {
    for (const bytes of readdirSync(place, { encoding: "buffer" })) {
      const name = bytes.toString();
      if (Buffer.from(name).equals(bytes)) continue;
      const raw = Buffer.concat([Buffer.from(`${place}/`), bytes]);
      const stats = lstatSync(raw, { throwIfNoEntry: false });
      if (stats === undefined) continue;
      const remove = () => {
        touched.add(directory);
        loosenAt(directory);
        removeTree(raw);
      };
      yield { path: directory === "" ? name : `${directory}/${name}`, stats, nonUtf8: { remove } };
    }
  }

  return tree;
}

/** @throws Error for what leads upwards: no such path is made, but a state that somebody else wrote to may have one */
function nameOf(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (name === ".." || name === ".") throw new Error(`${quotePath(path)} is not a path in a tree`);
  return name;
}

function isPresent(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/**
 * Inode and time of a directory of a tree, by which meddling is noticed. By its plain path, which is quick: where a link was put
 * into that path, the directory it was put into has changed, and is looked at too.
 */
export function directoryFacts(
  tree: Tree,
  directory: string,
): { readonly ino: number; readonly ctime: number } | undefined {
  const stats = lookAt(join(tree.root, directory));
  if (stats?.isDirectory() !== true) return undefined;
  // Renaming a tree changes the root's own ctime, so for the root it is the time of its content.
  return { ino: stats.ino, ctime: directory === "" ? stats.mtimeMs : stats.ctimeMs };
}

function lookAt(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "ENOENT" || code === "ENOTDIR" || code === "ELOOP";
}
