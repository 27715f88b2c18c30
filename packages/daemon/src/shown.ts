/** What readers find at a target, by what is on the disk: what was published may have been taken away since. */
import { lstat, readlink, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import type { MountOptions } from "./config/config.ts";
import { endsWithin } from "./within.ts";

type TargetOptions = Pick<MountOptions, "target" | "publish" | "link">;

interface Found {
  /** Whether there is a whole tree. With `mirror`, whether there is the state of a Pannier: its tree has no name of its own. */
  readonly shown: boolean;
  /** Bytes that may still be written; `undefined` where there is no telling. */
  readonly free: number | undefined;
}

/** Milliseconds for one look: a volume whose server is gone does not answer, and shows nothing to readers either. */
const LOOK_TIMEOUT_MS = 1000;

/**
 * Looks at once. One at a volume that does not answer holds a thread of Node's for as long, of which there are four; all files and names of
 * hosts are read with the others.
 */
const AT_ONCE = 2;

interface Look {
  isUnderWay: boolean;
  readonly found: Promise<Found>;
}

export interface Looks {
  /** Never throws. Not beyond a second. `undefined`: nothing is found there, or the volume does not answer. */
  at(options: TargetOptions): Promise<Found | undefined>;
}

/** @param look replaced by tests */
export function createLooks(look: (options: TargetOptions) => Promise<Found> = lookAt): Looks {
  /** Begun, or waiting to begin: a volume is asked once, and not once more by each caller. */
  const looking = new Map<string, Look>();
  const waiting: (() => void)[] = [];
  /** What was found last, for those that nobody could look at in time because of others. */
  const last = new Map<string, Found>();
  let underWay = 0;

  async function begin(key: string, options: TargetOptions, started: () => void): Promise<Found> {
    // Also where nothing is to be waited for: the caller has not noted this look yet.
    await (underWay === AT_ONCE
      ? new Promise<void>((resolve) => waiting.push(resolve))
      : Promise.resolve(underWay++));
    started();
    try {
      const found = await look(options);
      last.set(key, found);
      return found;
    } finally {
      looking.delete(key);
      const next = waiting.shift();
      if (next === undefined) underWay--;
      else next();
    }
  }

  return {
    async at(options) {
      const key = JSON.stringify([options.target, options.publish, options.link]);
      let known = looking.get(key);
      if (known === undefined) {
        const begun: Look = {
          isUnderWay: false,
          found: begin(key, options, () => {
            begun.isUnderWay = true;
          }),
        };
        known = begun;
        looking.set(key, known);
      }
      if (await endsWithin(known.found, LOOK_TIMEOUT_MS)) return known.found;
      return known.isUnderWay ? undefined : last.get(key);
    },
  };
}

const looks = createLooks();

/** Whether readers find a whole tree. Never throws. */
export async function isShown(options: TargetOptions): Promise<boolean> {
  return (await looks.at(options))?.shown === true;
}

/** Bytes that may still be written to the volume of a target; `undefined` where there is no telling. */
export async function freeBytes(options: TargetOptions): Promise<number | undefined> {
  return (await looks.at(options))?.free;
}

async function lookAt(options: TargetOptions): Promise<Found> {
  const shown = await findShown(options).catch(() => false);
  const free = await statfs(options.target).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => undefined,
  );
  return { shown, free };
}

async function findShown({ target, publish, link = "current" }: TargetOptions): Promise<boolean> {
  if (publish === "mirror") return (await lstat(join(target, ".pannier/state.db"))).isFile();
  const path = join(target, link);
  if (!(await readlink(path)).startsWith(".pannier/generations/")) return false;
  return (await stat(path)).isDirectory();
}
