/** Whether readers find a whole tree at a target, by what is on the disk: what was published may have been taken away since. */
import { lstat, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import type { MountOptions } from "./config/config.ts";
import { endsWithin } from "./within.ts";

type Place = Pick<MountOptions, "target" | "publish" | "link">;

/** Milliseconds for one look: a volume whose server is gone does not answer, and shows nothing to readers either. */
const PATIENCE = 1000;

/** Looks under way: a volume that does not answer is asked once, and not once more by each caller. */
const looking = new Map<string, Promise<boolean>>();

/** Never throws. With `mirror`, whether there is the state of a Pannier: its tree has no name of its own. */
export async function isShown(place: Place): Promise<boolean> {
  const key = JSON.stringify([place.target, place.publish, place.link]);
  const look = looking.get(key) ?? lookAt(place).finally(() => looking.delete(key));
  looking.set(key, look);
  return (await endsWithin(look, PATIENCE)) && look;
}

async function lookAt({ target, publish, link = "current" }: Place): Promise<boolean> {
  try {
    if (publish === "mirror") return (await lstat(join(target, ".pannier/state.db"))).isFile();
    const path = join(target, link);
    if (!(await readlink(path)).startsWith(".pannier/generations/")) return false;
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}
