/** What a sync would do. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { SyncResult } from "../events.ts";
import { hasState } from "./history.ts";
import { openMount } from "../mount/mount.ts";
import type { SyncOptions } from "../mount/sync-options.ts";
import type { Change } from "../snapshot/change.ts";
import { layoutOf } from "../volume/layout.ts";
import { syncMount } from "./sync.ts";

/**
 * Finds out what a sync would do; writes nothing to the tree.
 *
 * @param onChange told of each path that would change, in order
 * @throws what {@link sync} throws before it fetches
 */
export async function plan(
  options: SyncOptions,
  onChange: (change: Change) => void = () => {},
): Promise<SyncResult> {
  // A target that was never synced is left as it is, even if it is not there.
  const fresh = !hasState(layoutOf(resolve(options.target)));
  const target = fresh ? mkdtempSync(join(tmpdir(), "pannier-plan-")) : options.target;
  try {
    const mount = await openMount({ ...options, target, dryRun: true });
    try {
      return await syncMount(mount, options.signal, { onChange });
    } finally {
      await mount.close();
    }
  } finally {
    if (fresh) rmSync(target, { recursive: true, force: true });
  }
}
