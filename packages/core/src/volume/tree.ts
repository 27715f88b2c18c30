/** The one writer: every file, link and directory that Pannier makes in a tree goes through here, see open-directories.ts. */
import {
  fstatSync,
  lchownSync,
  linkSync,
  lstatSync,
  renameSync,
  rmdirSync,
  type Stats,
  symlinkSync,
  unlinkSync,
} from "node:fs";
import { parentOf } from "../source/path.ts";
import type { Pause } from "../timing/slices.ts";
import { randomName } from "./layout.ts";
import {
  isMissing,
  nameOf,
  openDirectories,
  type OpenDirectories,
  type OpenDirectory,
} from "./open-directories.ts";
import { removeTreeAtOnce } from "./remove.ts";
import type { TreeSettings } from "./tree-settings.ts";
import { type WalkedEntry, walkTree } from "./tree-walk.ts";

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
  prune(pause: Pause): Promise<void>;
  /** Has directories opened anew by their names, under which others may have put something else since. Not the root. */
  lookAgain(): void;
  /** Whether the root's path still leads to the directory that was opened. */
  isInPlace(): boolean;
  /** Notes a directory as written to. */
  touch(directory: string): void;
  /** Removes a directory if nothing is in it. */
  removeIfEmpty(directory: string): boolean;
  /** Gives a directory that may be as a killed process left it, half made or made writable, the mode and owner of a new one. */
  restoreMode(directory: string): void;
  /**
   * Walks what is there, files in path order, a directory after what is in it. Does not follow symlinks. `nonUtf8`: a
   * name that is not Unicode, so none of ours; `path` then only looks like it.
   */
  walk(pause: Pause): AsyncGenerator<WalkedEntry>;
  /** Gives directories that had to be made writable their mode back. Not the root: who may not write to a directory may not move it. */
  seal(pause: Pause): Promise<void>;
  close(): void;
}

/** Made once: every file is looked at. */
const SILENT = { throwIfNoEntry: false } as const;

/**
 * @param aside where directories are made, to be moved into place with their mode and owner: in a tree that others see, a process that
 * is killed must not leave one half made, which nobody could tell from one that was there
 */
export function openTree(root: string, settings: TreeSettings, aside?: string): Tree {
  const directories = openDirectories(root, settings, aside);
  const { touched, use, forget, loosenAt } = directories;
  const emptied = new Set<string>();

  function at(path: string, create: boolean): ReturnType<Tree["at"]> {
    const name = nameOf(path);
    const parent = parentOf(path);
    const directory = use(parent, create);
    if (create) directories.writeTo(parent, directory);
    return {
      path: `${directory.path}/${name}`,
      release: () => directory.users--,
    };
  }

  function inside<Result>(path: string, create: boolean, work: (place: string) => Result): Result {
    const place = at(path, create);
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
    at,
    stat: (path) => statIn(directories, path),
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
          removeTreeAtOnce(place);
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
    async prune(pause) {
      for (const start of emptied) {
        await pause();
        for (let directory = start; directory !== ""; directory = parentOf(directory)) {
          if (!removeIfEmpty(directory)) break;
        }
      }
      emptied.clear();
    },
    lookAgain: directories.lookAgain,
    isInPlace: () => isInPlace(directories, root),
    touch: (directory) => touched.add(directory),
    removeIfEmpty,
    restoreMode: directories.restoreMode,
    walk: (pause) => walkTree(directories, pause),
    seal: directories.seal,
    close: directories.close,
  };

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

  return tree;
}

function statIn({ use }: OpenDirectories, path: string): Stats | undefined {
  const name = nameOf(path);
  let directory: OpenDirectory;
  try {
    directory = use(parentOf(path), false);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    return lstatSync(`${directory.path}/${name}`, SILENT);
  } finally {
    directory.users--;
  }
}

function isInPlace({ use }: OpenDirectories, root: string): boolean {
  const opened = use("", false);
  opened.users--;
  const { dev, ino } = fstatSync(opened.fd);
  const found = lstatSync(root, SILENT);
  return found?.dev === dev && found.ino === ino;
}
