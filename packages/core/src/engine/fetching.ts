/** The transfer engine in the service of one sync: limits, retries and progress of the mount, ready for the stages. */
import type { Run } from "./run.ts";
import { nameSource } from "./run.ts";
import { createProgress } from "./progress.ts";
import type { PlanTotals } from "../state/plan-totals.ts";
import { toEntry } from "../state/row.ts";
import { howManyLanes } from "../lane/how-many.ts";
import { fetchFile } from "../transfer/fetch-file.ts";
import { type Crew, openCrew } from "../transfer/limiter.ts";
import { openRangeHashes } from "../transfer/range-hash.ts";
import { FILES_AHEAD, openSmallFiles } from "../transfer/small-files.ts";
import type { Layer } from "../mount/layer.ts";
import type { Mount } from "../mount/mount.ts";
import type { Fetcher, FetchJob, WrittenFile } from "../volume/journal.ts";
import { type LaneQueue, closeQueue, openLaneQueues } from "./lane-queue.ts";
import { openUnlistedRooms, type UnlistedRooms } from "./unlisted-rooms.ts";

/** What of a written file the state may keep. */
function kept(written: WrittenFile, layer: Layer | undefined): WrittenFile {
  return layer?.source.secret === true ? { ...written, sha256: null } : written;
}

/** What the reads of one sync have in common. */
interface Fetching {
  readonly mount: Mount;
  readonly progress: ReturnType<typeof createProgress>;
  readonly smallFiles: ReturnType<typeof openSmallFiles>;
  readonly rangeHashes: ReturnType<typeof openRangeHashes>;
  readonly rooms: UnlistedRooms;
  /** By the layer's position. */
  readonly queues: ReturnType<typeof openLaneQueues>;
}

/** Nothing is opened before there is something to fetch: what a stage does before that may fail. */
export function openFetcher(run: Run, totals: PlanTotals): Fetcher {
  return {
    async fetchAll(jobs) {
      const fetching = openFetching(run, totals);
      const { progress } = fetching;
      progress.start();
      try {
        await fetchJobs(run, fetching, jobs);
      } finally {
        progress.stop();
        fetching.smallFiles.close();
        fetching.rangeHashes.close();
        await Promise.all([...fetching.queues.values()].map(closeQueue));
      }
      progress.finish();
    },
  };
}

function openFetching(run: Run, totals: PlanTotals): Fetching {
  const { mount } = run;
  const toFetch = {
    files: totals.fetchFiles + totals.rereadFiles,
    bytes: totals.fetchBytes + totals.rereadBytes,
  };
  const rooms = openUnlistedRooms(mount.settings.limits.maxBytes, totals.bytes);
  const queues = openLaneQueues(run, howManyLanes(toFetch), rooms);
  const progress = createProgress(mount, toFetch, () =>
    [...queues.values()].reduce((sum, { lanes }) => sum + lanes.received(), 0),
  );
  return {
    mount,
    progress,
    smallFiles: openSmallFiles(toFetch.files),
    rangeHashes: openRangeHashes(),
    rooms,
    queues,
  };
}

async function fetchJobs(
  { mount, signal }: Run,
  fetching: Fetching,
  jobs: Parameters<Fetcher["fetchAll"]>[0],
): Promise<void> {
  const { queues } = fetching;
  const reads = Math.max(...mount.layers.map(({ limiter }) => limiter.max));
  // Beside those being read there are those being written.
  const most = reads + FILES_AHEAD;
  const crew = openCrew(signal);
  const stop = () => queues.forEach((queue) => void closeQueue(queue));
  crew.signal.addEventListener("abort", stop, { once: true });
  try {
    for await (const job of jobs) {
      if (crew.signal.aborted) break;
      const queue = queues.get(job.row.layer);
      if (queue === undefined || !queue.takes(job)) startHere(fetching, crew, job);
      else if (queue.add(job)) await dispatch(fetching, crew, queue);
      if (crew.working >= most) await crew.fewerThan(most);
      if (crew.signal.aborted) break;
    }
    for (const queue of queues.values()) {
      if (queue.batch.length > 0 && !crew.signal.aborted) await dispatch(fetching, crew, queue);
    }
  } catch (error) {
    crew.fail(error);
  }
  for (const { batch } of queues.values()) batch.forEach(({ place }) => place.release());
  await crew.end();
}

/** Hands a batch to a lane; where none takes it any more, reads it in this thread. */
async function dispatch(fetching: Fetching, crew: Crew, queue: LaneQueue): Promise<void> {
  queue.bytes = 0;
  if (await queue.lanes.ready(crew.signal)) return startBatch(fetching, crew, queue);
  for (const { job, place } of queue.batch.splice(0)) {
    place.release();
    queue.settle(job, 0);
    startHere(fetching, crew, job);
  }
}

/** In a lane; what it leaves, in this thread. */
function startBatch(fetching: Fetching, crew: Crew, queue: LaneQueue): void {
  const { mount, progress } = fetching;
  const { lanes, batch, limiter } = queue;
  const taken = batch.splice(0);
  crew.start(async () => {
    const facts = await lanes.fetch(taken.map(({ file }) => file));
    const left: FetchJob[] = [];
    try {
      for (const [index, { job }] of taken.entries()) {
        const written = facts[index];
        queue.settle(job, written?.size ?? 0);
        if (written === undefined) {
          left.push(job);
          continue;
        }
        progress.fetched();
        job.done(kept(written, mount.layers[job.row.layer]));
      }
      progress.received(lanes.received());
    } finally {
      for (const { place } of taken) place.release();
    }
    limiter.succeeded(taken.length - left.length);
    if (!crew.signal.aborted) for (const job of left) startHere(fetching, crew, job);
  });
}

/** In this thread. */
function startHere(fetching: Fetching, crew: Crew, job: FetchJob): void {
  crew.start(async (signal) => {
    const place = job.at();
    try {
      await fetchHere(fetching, job, place.path, signal);
    } finally {
      place.release();
    }
  });
}

async function fetchHere(
  { mount, progress, smallFiles, rangeHashes, rooms, queues }: Fetching,
  { row, done }: FetchJob,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  const { settings } = mount;
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
      unlisted: rooms.of(row),
      idleTimeout: settings.idleTimeout,
      attempts: settings.attempts,
      limiter: layer.limiter,
      smallFiles,
      rangeHashes,
      lanes: queues.get(layer.position)?.lanes,
      bandwidth: mount.bandwidth,
      onBytes: progress.received,
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
    progress.fetched();
    done(kept(file, layer));
    rooms.settle(row, file.size, file.size);
  } catch (error) {
    throw nameSource(layer, error);
  }
}
