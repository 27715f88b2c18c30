/** The threads of one source: how they share its requests, when one is given up, and what becomes of its files then. */
import { unlinkSync } from "node:fs";
import type { LaneSpec } from "../source/contract.ts";
import {
  type Batch,
  type LaneEvents,
  type LaneThread,
  type PartOutcome,
  startLane,
} from "./lane-thread.ts";
import type { LaneInit } from "./messages.ts";

/** Times the idle timeout after which a lane that shows no sign of life is given up: its own reads are given up sooner. */
const SILENCE = 3;
/** Milliseconds that a lane has to tell what it did once it is stopped. */
const GRACE = 1000;
interface ThreadsInit extends Pick<LaneInit, "idleTimeout" | "mostUnlisted" | "owner"> {
  /** Told that the source asks for fewer requests at once. */
  throttled(): void;
}

interface Threads {
  readonly all: ReadonlySet<LaneThread>;
  /** Requests that the source bears at once in all of them. */
  atOnce: number;
  /** `undefined` where the system has no room for another thread, which is told as a loss. */
  start(spec: LaneSpec): LaneThread | undefined;
  /** To be called when one has begun or answered a batch. */
  shareOut(): void;
  /** Bytes that came since this was last asked. */
  received(): number;
  /** Lets them tell what they have done, and ends them. */
  close(): Promise<void>;
}

interface ThreadsEvents extends Pick<LaneEvents, "answered" | "partAnswered"> {
  /** One failed, ended, or is given up. */
  lost(why: string): void;
  /** What one that was lost had in work is answered. */
  changed(): void;
}

/** The threads of one source, which share the requests that it bears. */
export function createThreads(init: ThreadsInit, atOnce: number, events: ThreadsEvents): Threads {
  const { idleTimeout, mostUnlisted, owner } = init;
  const all = new Set<LaneThread>();
  /** Threads that still may write. */
  const ending: Promise<unknown>[] = [];
  let closing = false;
  /** Bytes of lanes that are gone, not yet reported. */
  let rest = 0n;

  /** What a lane had in work is not done, whatever is there of it. */
  function lose(lane: LaneThread, why: string): void {
    if (!all.delete(lane)) return;
    lane.stop();
    rest += lane.takeReceived();
    const batches = [...lane.batches.values()];
    const parts = [...lane.parts.values()];
    lane.batches.clear();
    lane.parts.clear();
    if (!closing) {
      events.lost(why);
      // What it could ask for is the others' now.
      threads.shareOut();
    }
    const gone = discardAfter(lane.terminate(), batches, parts).then(events.changed);
    if (batches.length + parts.length > 0) ending.push(gone);
  }

  function look(): void {
    const now = performance.now();
    for (const lane of all) {
      const busy = lane.parts.size > 0 || (lane.batches.size > 0 && lane.atOnce > 0);
      if (lane.silence(now, busy) > SILENCE * idleTimeout)
        lose(lane, "a thread that fetches files makes no progress");
    }
  }
  const watch = setInterval(look, Math.min(idleTimeout, 1000));
  watch.unref();

  const threads: Threads = {
    all,
    atOnce,
    start({ module }) {
      try {
        const lane = startLane(
          { module: module.href, idleTimeout, mostUnlisted, owner },
          { ...events, throttled: () => init.throttled(), lost: lose },
        );
        all.add(lane);
        return lane;
      } catch (error) {
        events.lost(`no thread that fetches files can be started: ${(error as Error).message}`);
        return undefined;
      }
    },
    /** All requests belong to those that have something to do. Between two batches the last one keeps them, and so its connections. */
    shareOut() {
      // Where there is not enough for all, those that have waited longest come first.
      const busy = [...all]
        .filter(({ batches }) => batches.size > 0)
        .toSorted((a, b) => (threads.atOnce < all.size ? oldestBatch(a) - oldestBatch(b) : 0));
      const last = [...all].filter(({ atOnce: share }) => share > 0);
      const sharing = busy.length > 0 ? busy : last;
      const each = Math.floor(threads.atOnce / sharing.length);
      const more = threads.atOnce % sharing.length;
      for (const lane of all) {
        const place = sharing.indexOf(lane);
        const share = place < 0 ? 0 : each + (place < more ? 1 : 0);
        if (share === lane.atOnce) continue;
        lane.atOnce = share;
        lane.send({ atOnce: share });
      }
    },
    received() {
      let bytes = rest;
      rest = 0n;
      for (const lane of all) bytes += lane.takeReceived();
      return Number(bytes);
    },
    async close() {
      closing = true;
      clearInterval(watch);
      for (const lane of all) {
        lane.stop();
        lane.send("stop");
      }
      await atMost(GRACE, Promise.all([...all].map((lane) => lane.closed)));
      for (const lane of all) lose(lane, "");
      await Promise.all(ending);
    },
  };
  return threads;
}

/** Numbers of batches grow. */
function oldestBatch({ batches }: LaneThread): number {
  return Math.min(...batches.keys());
}

/** Removes what unfinished batches left, once their thread has ended. */
async function discardAfter(
  death: Promise<unknown>,
  batches: readonly Batch[],
  parts: readonly ((outcome: PartOutcome) => void)[],
): Promise<void> {
  // In the kernel it may hang for as long as it likes; what it does after that is nothing.
  await atMost(GRACE, death);
  for (const { files, resolve } of batches) {
    files.forEach(({ path }) => discard(path));
    resolve(files.map(() => undefined));
  }
  for (const resolve of parts) resolve({ outcome: "lost", received: 0 });
}

function discard(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // That it is not there is as good.
  }
}

async function atMost(milliseconds: number, work: Promise<unknown>): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, milliseconds);
  await Promise.race([work, late.promise]);
  clearTimeout(timer);
}
