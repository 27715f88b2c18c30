/** The transfer engine in the service of one sync: limits, retries and progress of the mount, ready for the stages. */
import type { Run } from "./run.ts";
import { nameSource } from "./run.ts";
import { PROGRESS_INTERVAL } from "./listing.ts";
import type { PlanTotals } from "../state/plan-totals.ts";
import { toEntry } from "../state/row.ts";
import { fetchFile } from "../transfer/fetch-file.ts";
import { forEachConcurrent } from "../transfer/limiter.ts";
import { openRangeHashes } from "../transfer/range-hash.ts";
import { FILES_AHEAD, openSmallFiles } from "../transfer/small-files.ts";
import type { Layer } from "../mount/layer.ts";
import type { Fetcher } from "../volume/journal.ts";

export function openFetcher(run: Run, totals: PlanTotals): Fetcher {
  const { mount } = run;
  const { settings, counters } = mount;
  const totalFiles = totals.fetchFiles + totals.rereadFiles;
  const totalBytes = totals.fetchBytes + totals.rereadBytes;
  const smallFiles = openSmallFiles(totalFiles);
  const rangeHashes = openRangeHashes();
  let files = 0;
  let bytes = 0;
  let untold = true;
  /** What a listener threw, in a timer, where nobody would catch it. */
  let failure: { readonly error: unknown } | undefined;
  function tell(): void {
    if (!untold) return;
    untold = false;
    mount.emit({
      type: "progress",
      files,
      bytes,
      totalFiles: Math.max(totalFiles, files),
      totalBytes: Math.max(totalBytes, bytes),
    });
  }
  return {
    async fetch(row, destination, signal) {
      const layer = mount.layers[row.layer] as Layer;
      try {
        const file = await fetchFile({
          source: layer.source,
          entry: toEntry(row, layer.into),
          destination,
          mode: row.mode ?? 0o644,
          mtime: row.mtime ?? undefined,
          owner: settings.tree.owner,
          limits: settings.limits,
          idleTimeout: settings.idleTimeout,
          attempts: settings.attempts,
          limiter: layer.limiter,
          smallFiles,
          rangeHashes,
          bandwidth: mount.bandwidth,
          onBytes(count) {
            if (failure !== undefined) throw failure.error;
            counters.received += count;
            bytes += count;
            untold = true;
          },
          onRetry: (error, attempt, delay) =>
            mount.emit({
              type: "retry",
              source: layer.position,
              what: row.path,
              attempt,
              delay,
              error,
            }),
          signal,
        });
        files++;
        untold = true;
        return file;
      } catch (error) {
        throw nameSource(layer, error);
      }
    },
    async each(items, work) {
      const reads = Math.max(...mount.layers.map(({ limiter }) => limiter.max));
      // By the clock and not by what arrives: a source that stalls is told of too.
      const teller = setInterval(() => {
        try {
          tell();
        } catch (error) {
          failure ??= { error };
        }
      }, PROGRESS_INTERVAL);
      // Beside those being read there are those being written.
      try {
        await forEachConcurrent(items, reads + FILES_AHEAD, work, run.signal);
      } finally {
        clearInterval(teller);
        smallFiles.close();
        rangeHashes.close();
      }
      if (failure !== undefined) throw failure.error;
      tell();
    },
  };
}
