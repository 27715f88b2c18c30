/** What the sources hold, without touching the target. */
import { probeLayers } from "./listing.ts";
import { openMount } from "../mount/mount.ts";
import { startRun } from "./run.ts";
import type { SyncOptions } from "../mount/sync-options.ts";
import { UsageError } from "../source/errors.ts";
import { type SourcesState, tellAll } from "../state/hold.ts";
import { latestGeneration } from "../state/generations.ts";
import { sourcesState } from "./rollback-hold.ts";
import { makePlan } from "./make-plan.ts";

/**
 * What the sources hold now, without touching the target.
 *
 * @throws what {@link plan} throws; UsageError where the settings differ from those of the published tree, whose digests could not be compared
 */
export async function lookAtSources(options: SyncOptions): Promise<SourcesState> {
  const mount = await openMount({ ...options, dryRun: true });
  const run = startRun(mount, options.signal);
  try {
    const published = latestGeneration(mount.volume.state);
    const probes = await probeLayers(run, published);
    if (tellAll(probes)) {
      const now = sourcesState(mount, probes, probes.unchanged ? published?.digest : undefined);
      // The command line does not know the filters of the next sync: most likely they are those of the last one.
      const settings = now.settings?.map((own, position) => {
        const before = published?.layers[position]?.settings;
        return before === undefined ? [] : [...own, before];
      });
      return { ...now, settings };
    }
    if (mount.layers.some(({ position, view }) => published?.layers[position]?.view !== view))
      throw new UsageError("the settings differ from those of the published tree");
    const { digest } = await makePlan(run, published, undefined, probes);
    return sourcesState(mount, probes, digest);
  } finally {
    run.end();
    await mount.close();
  }
}
