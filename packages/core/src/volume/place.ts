/**
 * The directories of a target, held open. Everything goes through them, not through their names: whoever may write to the target can
 * put something else under a name at any time, and would lead our writes and deletions elsewhere.
 */
import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  statSync,
} from "node:fs";
import { join } from "node:path";
import { TargetError } from "../errors.ts";
import { STATE_SUFFIXES } from "../state/state.ts";
import { HOME, type Layout, layoutOf } from "./layout.ts";
import { trySetMode } from "./modes.ts";
import { HOLD, PROC } from "./remove.ts";
import { makeDirectories } from "./files.ts";

export interface Place {
  /** Leads to the directories that are held, whatever becomes of their names. */
  readonly layout: Layout;
  /** Whether there was no directory of trees: where there is a state all the same, somebody has cleaned up. */
  readonly isNew: boolean;
  /** Whether the names still lead to the directories that are held. */
  isInPlace(): boolean;
  /** @throws TargetError where they do not */
  check(): void;
  /** Only when nobody uses a path of the layout any more: the number of a closed directory is given to the next one. */
  release(): void;
}

/**
 * Makes what is not there yet.
 *
 * @param owner of everything written, where there is a setting: what that user made is ours too
 * @throws TargetError when something in the target is not what Pannier put there; what the file system says
 */
export function holdPlace(target: string, owner: { readonly uid: number } | undefined): Place {
  const held: number[] = [];
  const hold = (path: string, flags: number) => {
    const fd = openSync(path, flags);
    held.push(fd);
    return PROC ? `/proc/self/fd/${fd}` : path;
  };
  const release = () => {
    for (const fd of held.splice(0)) closeSync(fd);
  };
  try {
    makeDirectories(target);
    refuseLinkOfOthers(target);
    const root = hold(target, HOLD);
    const homeName = join(root, HOME);
    const plain = layoutOf(target);
    make(homeName);
    refuseUnless(plain, plain.home, lstatSync(homeName), "directory");
    const home = hold(homeName, HOLD | constants.O_NOFOLLOW);
    refuseOthers(target, lstatSync(homeName).uid, owner);
    letPass(home);
    if (statSync(home).dev !== statSync(root).dev)
      throw new TargetError(
        `${plain.home} is on another device than ${target}, so nothing can be moved between them at once`,
        { hint: "unmount it, so that both are on one volume" },
      );
    const isNew = make(join(home, "generations"));
    checkContent(plain, home);
    const generations = hold(join(home, "generations"), HOLD | constants.O_NOFOLLOW);
    letPass(generations);
    const layout = {
      ...layoutOf(target),
      root: `${root}/.`,
      home,
      generations,
      // Adapters hand it to other processes, whose own descriptors are others.
      scratch: join(PROC ? home.replace("self", String(process.pid)) : home, "scratch"),
      state: join(home, "state.db"),
      lock: join(home, "lock"),
    };
    const facts = held.map((fd) => fstatSync(fd, { bigint: true }));
    const isInPlace = () => {
      const silent = { bigint: true, throwIfNoEntry: false } as const;
      try {
        const found = [
          statSync(target, silent),
          lstatSync(homeName, silent),
          lstatSync(join(home, "generations"), silent),
        ];
        const scratch = lstatSync(layout.scratch, { throwIfNoEntry: false });
        return (
          found.every((stats, i) => isSame(stats, facts[i])) && scratch?.isDirectory() !== false
        );
      } catch {
        return false;
      }
    };
    return {
      layout,
      isNew,
      isInPlace,
      check() {
        if (!isInPlace())
          throw new TargetError(
            `the target ${target}, or Pannier's own directory in it, was replaced or removed meanwhile`,
            { hint: "another process is changing it; sync again" },
          );
      },
      release,
    };
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * Does something in Pannier's own directory of a target, by a path that leads nowhere else.
 *
 * @param owner as for a sync
 * @throws TargetError where the directory is not Pannier's; what the file system says
 */
export function inHome<Result>(
  target: string,
  owner: { readonly uid: number } | undefined,
  work: (home: string) => Result,
): Result {
  const home = join(target, HOME);
  const fd = openSync(home, HOLD | constants.O_NOFOLLOW);
  try {
    refuseOthers(target, fstatSync(fd).uid, owner);
    return work(PROC ? `/proc/self/fd/${fd}` : home);
  } finally {
    closeSync(fd);
  }
}

function isSame(found: BigIntStats | undefined, held: BigIntStats | undefined): boolean {
  return found !== undefined && found.dev === held?.dev && found.ino === held.ino;
}

/** @returns false where it is there already */
function make(directory: string): boolean {
  try {
    mkdirSync(directory);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/**
 * Whatever the umask: readers pass through it. Also what was there before: a process that was killed, or somebody else, may have left it
 * otherwise.
 */
function letPass(held: string): void {
  const mode = statSync(held).mode & 0o7777;
  const open = (mode & 0o7000) | 0o755;
  if (mode !== open) trySetMode(() => chmodSync(held, open));
}

/** A target may be a link, but not one that somebody else has put there: the kernel's rule for links in shared directories. */
function refuseLinkOfOthers(target: string): void {
  const stats = lstatSync(target);
  if (!stats.isSymbolicLink() || [0, process.geteuid?.()].includes(stats.uid)) return;
  throw new TargetError(`the target ${target} is a link that user ${stats.uid} put there`, {
    hint: "name the directory that it leads to, or remove it",
  });
}

/** Whoever owns the state decides what is removed and published: also root does not take it from another user. */
function refuseOthers(target: string, uid: number, owner: { readonly uid: number } | undefined) {
  if (process.geteuid === undefined || uid === process.geteuid() || uid === owner?.uid) return;
  throw new TargetError(`the target ${target} belongs to the Pannier of user ${uid}`, {
    hint:
      process.geteuid() === 0
        ? `run as that user, or say with --owner ${uid} that what is there is to be believed`
        : "run as that user, or choose another target",
  });
}

/** What is ours must be what we take it for: through a planted link we would write, and clean up, elsewhere. */
function checkContent(plain: Layout, home: string): void {
  const directories = ["generations", "scratch"];
  const files = ["lock", ...STATE_SUFFIXES.map((suffix) => `state.db${suffix}`)];
  for (const name of [...directories, ...files]) {
    const path = `${home}/${name}`;
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined) continue;
    const kind = directories.includes(name) ? "directory" : "file";
    refuseUnless(plain, join(plain.home, name), stats, kind);
    // A volume given to a group (Kubernetes' fsGroup) is made writable for it, with all that was in it.
    if ((stats.mode & 0o022) !== 0) trySetMode(() => chmodSync(path, stats.mode & 0o7755));
  }
}

function refuseUnless(
  { target }: Layout,
  path: string,
  stats: ReturnType<typeof lstatSync>,
  kind: "directory" | "file",
): void {
  const isOurs =
    kind === "directory" ? stats?.isDirectory() : stats?.isFile() === true && stats.nlink === 1;
  if (isOurs !== true)
    throw new TargetError(`${path} is not what Pannier put into the target ${target}`, {
      hint: "somebody replaced it; move it away",
    });
}
