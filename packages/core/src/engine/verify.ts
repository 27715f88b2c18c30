/** Whether what is published is what was recorded, and putting it right. */
import { join, resolve } from "node:path";
import { RefusedError } from "../errors.ts";
import type { SyncResult } from "../events.ts";
import { hasState, nothingPublished, openForReading, publishMode, unreadable } from "./history.ts";
import { openMount } from "../mount/mount.ts";
import type { SyncOptions } from "../mount/sync-options.ts";
import { syncMount } from "./sync.ts";
import { layoutOf } from "../volume/layout.ts";
import { toTargetError } from "../volume/target-error.ts";
import { publishedDirMode } from "../volume/ownership.ts";
import { isDirectory } from "../volume/remove.ts";
import { isOfDamage } from "../state/damaged.ts";
import { generations } from "../state/generations.ts";
import { hasTables } from "../state/state.ts";
import { openTree } from "../volume/tree.ts";
import { READING } from "../volume/tree-settings.ts";
import { type Fault, type TreeReport, verifyTree } from "../volume/verify.ts";

/**
 * Compares what is published with what was recorded, byte by byte.
 *
 * @param onFault told of each path at fault
 * @throws UsageError when nothing was published at the target
 */
export async function verify(
  target: string,
  onFault: (fault: Fault, path: string) => void = () => {},
  signal: AbortSignal = new AbortController().signal,
): Promise<TreeReport> {
  const layout = layoutOf(resolve(target));
  if (!hasState(layout)) throw nothingPublished(target);
  const state = openForReading(layout);
  try {
    const [latest] = hasTables(state) ? generations(state) : [];
    if (latest === undefined) throw nothingPublished(target);
    const root =
      publishMode(state) === "mirror" ? layout.target : join(layout.generations, latest.tree ?? "");
    if (!isDirectory(root))
      throw new RefusedError(`the published tree ${root} is gone`, {
        hint: "sync again, which recreates it",
      });
    const tree = openTree(root, READING);
    try {
      const alone = publishMode(state) === "swap";
      const dirMode = publishedDirMode(state);
      return await verifyTree(state, tree, latest.id, { alone, dirMode }, signal, onFault);
    } finally {
      tree.close();
    }
  } catch (error) {
    throw isOfDamage(error, state)
      ? unreadable(layout, error)
      : toTargetError(error, layout.target);
  } finally {
    state.close();
  }
}

/**
 * Compares as {@link verify} does, then publishes a tree that is right, fetching what is damaged. The sources may meanwhile
 * have moved on: then the newer revision is published.
 *
 * @throws what `sync` throws
 */
export async function repair(options: SyncOptions): Promise<SyncResult> {
  const mount = await openMount(options);
  try {
    return await syncMount(mount, options.signal, { verify: true });
  } finally {
    await mount.close();
  }
}
