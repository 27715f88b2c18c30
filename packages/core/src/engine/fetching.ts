/** The transfer engine in the service of one sync: limits, retries and progress of the mount, ready for the stages. */
import type { Run } from "./run.ts";
import { nameSource } from "./run.ts";
import { PROGRESS_INTERVAL } from "./listing.ts";
import type { PlanTotals } from "../state/plan-totals.ts";
import { toEntry } from "../state/row.ts";
import { howManyLanes } from "../lane/how-many.ts";
import { fetchFile } from "../transfer/fetch-file.ts";
import { type Crew, openCrew } from "../transfer/limiter.ts";
import { openRangeHashes } from "../transfer/range-hash.ts";
import { FILES_AHEAD, openSmallFiles } from "../transfer/small-files.ts";
import type { Layer } from "../mount/layer.ts";
import type { Fetcher, FetchJob } from "../volume/journal.ts";
import { type Road, closeRoad, openRoads } from "./lane-queue.ts";

export function openFetcher(run: Run, totals: PlanTotals): Fetcher {
  const { mount } = run;
  const { settings, counters } = mount;
  const totalFiles = totals.fetchFiles + totals.rereadFiles;
  const totalBytes = totals.fetchBytes + totals.rereadBytes;
  const smallFiles = openSmallFiles(totalFiles);
  const rangeHashes = openRangeHashes();
  const roads = openRoads(run, howManyLanes({ files: totalFiles, bytes: totalBytes }));
  let files = 0;
  let bytes = 0;
  let untold = true;
  /** What a listener threw, in a timer, where nobody would catch it. */
  let failure: { readonly error: unknown } | undefined;

  function came(count: number): void {
    if (failure !== undefined) throw failure.error;
    counters.received += count;
    bytes += count;
    untold = true;
  }

  function tell(): void {
    for (const { lanes } of roads.values()) {
      const count = lanes.received();
      if (count > 0) came(count);
    }
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

  /** In this thread. */
  async function fetchHere({ row, done }: FetchJob, path: string, signal: AbortSignal) {
    const layer = mount.layers[row.layer] as Layer;
    try {
      const file = await fetchFile({
        source: layer.source,
        entry: toEntry(row, layer.into),
        destination: path,
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
        onBytes: came,
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
      done(file);
    } catch (error) {
      throw nameSource(layer, error);
    }
  }

  function startHere(crew: Crew, job: FetchJob): void {
    crew.start(async (signal) => {
      const place = job.at();
      try {
        await fetchHere(job, place.path, signal);
      } finally {
        place.release();
      }
    });
  }

  /** In a lane; what it leaves, in this thread. */
  function startBatch(crew: Crew, { lanes, batch, limiter }: Road): void {
    const taken = batch.splice(0);
    crew.start(async () => {
      const facts = await lanes.fetch(taken.map(({ file }) => file));
      const left: FetchJob[] = [];
      try {
        for (const [index, { job }] of taken.entries()) {
          const written = facts[index];
          if (written === undefined) {
            left.push(job);
            continue;
          }
          files++;
          untold = true;
          job.done(written);
        }
        came(lanes.received());
      } finally {
        for (const { place } of taken) place.release();
      }
      limiter.succeeded(taken.length - left.length);
      if (!crew.signal.aborted) for (const job of left) startHere(crew, job);
    });
  }

  async function hand(crew: Crew, road: Road): Promise<void> {
    road.bytes = 0;
    if (await road.lanes.ready(crew.signal)) return startBatch(crew, road);
    for (const { job, place } of road.batch.splice(0)) {
      place.release();
      startHere(crew, job);
    }
  }

  return {
    async fetchAll(jobs) {
      const reads = Math.max(...mount.layers.map(({ limiter }) => limiter.max));
      // Beside those being read there are those being written.
      const most = reads + FILES_AHEAD;
      // By the clock and not by what arrives: a source that stalls is told of too.
      const teller = setInterval(() => {
        try {
          tell();
        } catch (error) {
          failure ??= { error };
        }
      }, PROGRESS_INTERVAL);
      try {
        const crew = openCrew(run.signal);
        const stop = () => roads.forEach((road) => void closeRoad(road));
        crew.signal.addEventListener("abort", stop, { once: true });
        try {
          for await (const job of jobs) {
            if (crew.signal.aborted) break;
            const road = roads.get(job.row.layer);
            if (road === undefined || !road.takes(job)) startHere(crew, job);
            else if (road.add(job)) await hand(crew, road);
            if (crew.working >= most) await crew.fewerThan(most);
            if (crew.signal.aborted) break;
          }
          for (const road of roads.values()) {
            if (road.batch.length > 0 && !crew.signal.aborted) await hand(crew, road);
          }
        } catch (error) {
          crew.fail(error);
        }
        for (const { batch } of roads.values()) batch.forEach(({ place }) => place.release());
        await crew.end();
      } finally {
        clearInterval(teller);
        smallFiles.close();
        rangeHashes.close();
        await Promise.all([...roads.values()].map(closeRoad));
      }
      if (failure !== undefined) throw failure.error;
      tell();
    },
  };
}
