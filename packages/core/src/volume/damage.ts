/** What is wrong with the published tree, and planning to put it right. */
import { join } from "node:path";
import { hasModes } from "./modes.ts";
import { publishedDirMode } from "./ownership.ts";
import { finishPublish, openPublishedTree } from "./publish.ts";
import { changeMode, isDirectory } from "./remove.ts";
import type { Generation } from "../state/generations.ts";
import { getMeta, setMeta } from "../state/meta.ts";
import { writtenRows } from "../state/entries.ts";
import { FILE } from "../state/row.ts";
import { clearSeen, noteSeen } from "../state/seen.ts";
import { makePause } from "../timing/slices.ts";
import type { State } from "../state/state.ts";
import type { Tree } from "./tree.ts";
import type { TreeSettings } from "./tree-settings.ts";
import { verifyTree } from "./verify.ts";
import type { Volume } from "./volume.ts";

/** Present when a new generation is needed though the sources may not have changed. The paths to fetch again are in the table `seen`. */
export interface Damage {
  readonly message: string;
}

/**
 * Looks whether the published tree is in place, and after a restart of the machine, or when asked to, at every byte of it.
 */
export async function findDamage(
  volume: Volume,
  published: Generation | undefined,
  init: {
    readonly everyByte: boolean;
    readonly dryRun: boolean;
    readonly tree: TreeSettings;
    readonly signal: AbortSignal;
  },
): Promise<Damage | undefined> {
  const { state, layout } = volume;
  if (published === undefined) return undefined;
  await clearSeen(state, makePause(init.signal));
  const dirMode = hasModes(state) ? publishedDirMode(state) : undefined;
  if (volume.publish === "swap") {
    const root = join(layout.generations, published.tree ?? "");
    if (published.tree === null || !isDirectory(root))
      return healed(volume, "the published tree was gone");
    if (!init.dryRun && giveMode(root, dirMode))
      volume.emit({
        type: "healed",
        message: "the permissions of the published tree were not as published",
      });
    if (!init.dryRun && (await finishPublish(volume)))
      volume.emit({ type: "healed", message: `the link ${volume.link} was not as published` });
  }
  const tree = openPublishedTree(volume, published, init.tree);
  if (tree === undefined) return healed(volume, "the published tree cannot be opened");
  try {
    const verify =
      init.everyByte ||
      getMeta(state, "unverified") !== undefined ||
      (volume.publish === "mirror" && lacksSome(state, tree, published.id));
    if (!verify) return undefined;
    const alone = volume.publish === "swap";
    const report = await verifyTree(
      state,
      tree,
      published.id,
      { alone, dirMode },
      init.signal,
      (fault, path) => {
        if (fault !== "extra") noteSeen(state, path);
      },
    );
    const { changed, missing, extra } = report;
    const sound = changed + missing + extra === 0;
    // What is found is put right by this sync or, if it fails, by a later one.
    if (sound) {
      trustPublished(state);
      return undefined;
    }
    distrustPublished(state);
    return healed(
      volume,
      `the published tree was not as published: ${changed} changed, ${missing} missing, ${extra} added by others`,
    );
  } finally {
    tree.close();
  }
}

/** @returns whether it had another: then nobody may have been able to read it */
function giveMode(directory: string, mode: number | undefined): boolean {
  return mode !== undefined && changeMode(directory, (found) => (found & 0o7000) | mode);
}

/** Files of a mirror that are looked for at each sync: a few milliseconds. */
const SAMPLE = 200;

/** Where the next look goes on; in memory, since an idle sync writes nothing. */
const cursors = new WeakMap<State, string>();

/** A mirror has no tree of its own that could be missed as a whole. Whether the next few of its files are not there, or others are. */
function lacksSome(state: State, tree: Tree, generation: number): boolean {
  const rows = writtenRows(state, generation, cursors.get(state) ?? "", SAMPLE);
  cursors.set(state, rows.length < SAMPLE ? "" : (rows.at(-1)?.path ?? ""));
  return rows.some(({ path, kind, size }) => {
    const stats = tree.stat(path);
    const isThere =
      kind === FILE ? stats?.isFile() && stats.size === size : stats?.isSymbolicLink();
    return isThere !== true;
  });
}

function healed(volume: Volume, message: string): Damage {
  volume.emit({ type: "healed", message });
  return { message };
}

/** The next sync looks at every byte of what is published, and at each later one until all is right. */
export function distrustPublished(
  state: State,
  why: "damaged" | "since a restart" = "damaged",
): void {
  setMeta(state, "unverified", why);
}

/** What was damaged has been put right. */
export function trustPublished(state: State): void {
  setMeta(state, "unverified", undefined);
}
