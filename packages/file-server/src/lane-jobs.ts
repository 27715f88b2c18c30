/** Files of batches that wait in a lane, in the order in which they came. */
import type { FileEntry, LaneBatch, Sink } from "@pannier/core/adapter";

interface Batch<Data> {
  readonly data: Data;
  readonly sink: Sink;
  left: number;
  over(): void;
}

export interface LaneJob<Data> {
  readonly index: number;
  readonly entry: FileEntry;
  readonly batch: Batch<Data>;
}

export interface LaneJobs<Data> {
  readonly size: number;
  /** The next one, which stays. */
  next(): LaneJob<Data> | undefined;
  /** The next one. */
  take(): LaneJob<Data> | undefined;
  /**
   * Puts the files of a batch behind those that wait; what is not wanted is left to `Source.read`.
   *
   * @returns what resolves once each of them is finished
   */
  add(
    batch: LaneBatch,
    sink: Sink,
    isWanted: (entry: FileEntry, data: Data) => boolean,
  ): Promise<void>;
  /** Leaves what waits to `Source.read`. */
  giveUp(): void;
}

export function createLaneJobs<Data>(): LaneJobs<Data> {
  /** The last first. */
  let waiting: LaneJob<Data>[] = [];
  return {
    get size() {
      return waiting.length;
    },
    next: () => waiting.at(-1),
    take: () => waiting.pop(),
    add({ files, data }, sink, isWanted) {
      return new Promise((resolve) => {
        const batch: Batch<Data> = { data: data as Data, sink, left: 0, over: resolve };
        const jobs: LaneJob<Data>[] = [];
        files.forEach((entry, index) => {
          if (isWanted(entry, batch.data)) jobs.push({ index, entry, batch });
        });
        if (jobs.length === 0) return resolve();
        batch.left = jobs.length;
        waiting = [...jobs.toReversed(), ...waiting];
      });
    },
    giveUp() {
      const left = waiting;
      waiting = [];
      left.forEach(finished);
    },
  };
}

/** Whatever came of it. */
export function finished({ batch }: LaneJob<unknown>): void {
  if (--batch.left === 0) batch.over();
}
