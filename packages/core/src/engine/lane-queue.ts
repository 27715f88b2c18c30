/** What waits for the lanes of a layer, until it is enough for a batch. */
import type { Run } from "./run.ts";
import { quotePath } from "../source/path.ts";
import { SourceError } from "../source/errors.ts";
import { toEntry } from "../state/row.ts";
import { type Lanes, openLanes } from "../lane/lanes.ts";
import type { LaneFile } from "../lane/messages.ts";
import type { Limiter } from "../transfer/limiter.ts";
import { CLONE_FROM } from "../transfer/local-file.ts";
import type { FetchJob } from "../volume/journal.ts";
import type { UnlistedRooms } from "./unlisted-rooms.ts";

/** What a lane is handed at once at most: files, and bytes. What a batch did is known, and kept after a kill, once all of it is done. */
const BATCH_FILES = 128;

const BATCH_BYTES = 8 * 2 ** 20;

/** Larger files are left to reads in parts. */
const LANE_FILE = 64 * 2 ** 20;

/** The same where the size is not listed: as many as a batch has may be as large. */
const LANE_FILE_UNLISTED = 2 ** 20;

/** The lanes of a layer, and what is gathered for them. */
export interface LaneQueue {
  readonly lanes: Lanes;
  readonly limiter: Limiter;
  readonly batch: {
    readonly job: FetchJob;
    readonly file: LaneFile;
    readonly place: ReturnType<FetchJob["at"]>;
  }[];
  bytes: number;
  takes(job: FetchJob): boolean;
  /** True once that is enough for a batch. */
  add(job: FetchJob): boolean;
  /** To be called for each that was added once it is known what came of it; 0: it is not there. */
  settle(job: FetchJob, size: number): void;
}

export function closeQueue({ lanes, limiter }: LaneQueue): Promise<void> {
  limiter.onChange = undefined;
  return lanes.close();
}

/** By the layer's position; of those whose sources have lanes. */
export function openLaneQueues(
  run: Run,
  most: number,
  rooms: UnlistedRooms,
): ReadonlyMap<number, LaneQueue> {
  const { mount } = run;
  const { settings } = mount;
  const queues = new Map<number, LaneQueue>();
  // A ceiling on bandwidth is held in this thread, and what is slow need not be cheap.
  if (most === 0 || mount.bandwidth !== undefined) return queues;
  for (const layer of mount.layers) {
    const { source, limiter, position, into } = layer;
    const lane = source.lane?.bind(source);
    if (lane === undefined) continue;
    const mostUnlisted = Math.min(LANE_FILE_UNLISTED, settings.limits.maxFileBytes);
    const lanes = openLanes(
      {
        lane,
        most,
        idleTimeout: settings.idleTimeout,
        mostUnlisted,
        owner: settings.tree.owner,
        throttled: () => limiter.throttled(),
        failed({ entry }, code) {
          const message = `${quotePath(entry.path)} did not come as it should`;
          const error = new SourceError(code, message);
          const what = into === "" ? entry.path : `${into}/${entry.path}`;
          mount.emit({ type: "retry", source: position, what, attempt: 1, delay: 0, error });
        },
        request: layer.request,
        warn: (message) => mount.emit({ type: "warning", source: position, message }),
      },
      limiter.free,
    );
    // A file of this machine may share its blocks with ours.
    const largest = Math.min(
      source.localPath === undefined ? LANE_FILE : CLONE_FROM - 1,
      settings.limits.maxFileBytes,
    );
    const queue: LaneQueue = {
      lanes,
      limiter,
      batch: [],
      bytes: 0,
      takes({ row }) {
        if (!lanes.open) return false;
        return row.size === null ? rooms.of(row).has(mostUnlisted) : row.size <= largest;
      },
      add(job) {
        const { row } = job;
        if (row.size === null) rooms.of(row).take(mostUnlisted);
        const place = job.at();
        const file = { entry: toEntry(row, into), path: place.path, mode: row.mode ?? 0o644 };
        queue.batch.push({ job, file, place });
        queue.bytes += row.size ?? 0;
        return queue.batch.length >= BATCH_FILES || queue.bytes >= BATCH_BYTES;
      },
      settle: ({ row }, size) => rooms.settle(row, mostUnlisted, size),
    };
    // As many requests as the source bears beside those of this thread.
    limiter.onChange = () => lanes.allow(limiter.free);
    queues.set(position, queue);
  }
  return queues;
}
