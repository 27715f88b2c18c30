/**
 * Lanes: threads that fetch files in batches. What a file costs in the main thread, with a promise for each of its steps, is several
 * times what the work itself costs: 10,000 objects of 1–17 KiB over HTTP took 3.4 CPU seconds, of which the work is 0.6.
 */
import { unlinkSync } from "node:fs";
import type { LaneFailure } from "./contract.ts";
import type { LaneSpec, Source } from "../source/contract.ts";
import { untilAborted } from "../timing/sleep.ts";
import type { Attributes } from "../transfer/output.ts";
import {
  type Batch,
  type Facts,
  type LaneEvents,
  type LaneThread,
  type PartOutcome,
  startLane,
} from "./lane-thread.ts";
import {
  fromColumns,
  type LaneDone,
  type LaneFile,
  type LaneFilePart,
  type PartDone,
  type ToLane,
} from "./messages.ts";

/** Batches that a lane has before it: one in work, one to go on with. */
const QUEUED_BATCHES = 2;
/** Times the idle timeout after which a lane that shows no sign of life is given up: its own reads are given up sooner. */
const SILENCE = 3;
/** Milliseconds that a lane has to tell what it did once it is stopped. */
const GRACE = 1000;
/** Where writing a file takes longer than this on average, in milliseconds, others can wait beside: up to so many lanes. */
const SLOW_FILE_MS = 0.5;
const SLOW_LANES = 4;
/** Files of which a lane must have fetched most: one that always fails costs each file a second request. */
const PROBATION = 64;

export interface LanesInit {
  readonly lane: NonNullable<Source["lane"]>;
  readonly most: number;
  readonly idleTimeout: number;
  readonly mostUnlisted: number;
  readonly owner: Attributes["owner"];
  /** Told that the source asks for fewer requests at once. */
  throttled(): void;
  /** Told of a file that was asked for in vain, before its batch is answered. */
  failed(file: LaneFile, code: LaneFailure): void;
  /** Told of requests. */
  request(operation: string): void;
  warn(message: string): void;
}

/** The lanes of one source. */
export interface Lanes {
  /** Whether there is use in another batch. */
  readonly open: boolean;
  /** Waits until a batch can be handed over. False where none can be any more. */
  ready(signal: AbortSignal): Promise<boolean>;
  /** Fetches files; to be called at once when it is ready. `undefined` for one that was left alone: nothing is at its path. Never throws. */
  fetch(files: readonly LaneFile[]): Promise<Facts>;
  /**
   * Fetches a part of a file into its place; the caller has a turn for it. Its file has to stay open until this has settled. `left`: it was not asked
   * for. Never throws.
   */
  part(part: LaneFilePart, signal: AbortSignal): Promise<PartOutcome>;
  /** Bytes that came since this was last asked. */
  received(): number;
  /** The source now bears so many requests at once in all lanes. */
  allow(atOnce: number): void;
  /** Lets lanes tell what they have done, and ends them. */
  close(): Promise<void>;
}

export function openLanes(init: LanesInit, atOnce: number): Lanes {
  let most = Math.min(init.most, atOnce);
  let spec: LaneSpec | undefined;
  let open = true;
  let closing: Promise<void> | undefined;
  let lastId = 0;
  let left = 0;
  let onReady: (() => void) | undefined;
  const threads = createThreads(init, atOnce, {
    answered,
    partAnswered,
    lost(why) {
      open = false;
      init.warn(`${why}; what it had in work is fetched without it`);
    },
    changed: () => onReady?.(),
  });

  function partAnswered(lane: LaneThread, { part, requests, ...outcome }: PartDone): void {
    countRequests(init, requests);
    const resolve = lane.parts.get(part);
    lane.parts.delete(part);
    resolve?.(outcome);
  }

  function answered(lane: LaneThread, { id, failed, requests, writing, ...done }: LaneDone): void {
    const batch = lane.batches.get(id);
    if (batch === undefined) return;
    lane.batches.delete(id);
    countRequests(init, requests);
    for (const [index, code] of failed) init.failed(batch.files[index] as LaneFile, code);
    const facts = fromColumns(done.facts);
    const there = facts.filter((fact) => fact !== undefined).length;
    lane.fetched += there;
    lane.left += facts.length - there;
    left += facts.length - there;
    if (left >= PROBATION && [...threads.all].every(leavesMost)) open = false;
    if (writing > there * SLOW_FILE_MS) most = Math.max(most, Math.min(SLOW_LANES, threads.atOnce));
    batch.resolve(facts);
    threads.shareOut();
    onReady?.();
  }

  const isUsable = () => open && closing === undefined;

  /** What the source now says of its lanes. False where there are none any more. */
  async function ask(signal: AbortSignal): Promise<boolean> {
    if (!isUsable()) return false;
    // Not every source heeds the signal.
    const asked = await untilAborted(init.lane(signal), signal).catch(() => undefined);
    // What became of the question says nothing about lanes.
    if (signal.aborted) return false;
    open &&= asked !== undefined && (spec ?? asked).module.href === asked.module.href;
    // Others may be about to hand over a batch by what was said to them.
    if (open) spec = asked;
    return isUsable();
  }

  return {
    get open() {
      return open;
    },
    async ready(signal) {
      for (;;) {
        while (isUsable() && laneForBatch(threads.all, most) === undefined) {
          await new Promise<void>((resolve) => {
            onReady = resolve;
          });
        }
        if (!(await ask(signal))) return false;
        // While the source was asked, the one that had room may have turned out to be of no use.
        if (laneForBatch(threads.all, most) !== undefined) return true;
      }
    },
    fetch(files) {
      const found = laneForBatch(threads.all, most);
      const lane = found === "start" ? threads.start(spec as LaneSpec) : found;
      if (lane === undefined) throw new Error("no lane is ready");
      const id = ++lastId;
      const { promise: over, resolve } = Promise.withResolvers<Facts>();
      lane.batches.set(id, { files, resolve });
      lane.send({ id, files, data: spec?.data });
      threads.shareOut();
      return over;
    },
    async part(what, signal) {
      if (!(await ask(signal)) || spec?.parts !== true || signal.aborted)
        return { outcome: "left", received: 0 };
      const found = laneForPart(threads.all, most);
      const lane = found === "start" ? threads.start(spec) : found;
      return readPart(lane, { part: ++lastId, what, data: spec.data }, signal);
    },
    received: () => threads.received(),
    allow(count) {
      if (count === threads.atOnce) return;
      threads.atOnce = count;
      threads.shareOut();
    },
    close() {
      closing ??= threads.close();
      onReady?.();
      return closing;
    },
  };
}

function countRequests(init: LanesInit, requests: LaneDone["requests"]): void {
  for (const [operation, count] of requests)
    for (let i = 0; i < count; i++) init.request(operation);
}

async function readPart(
  lane: LaneThread,
  message: Extract<ToLane, { readonly what: LaneFilePart }>,
  signal: AbortSignal,
): Promise<PartOutcome> {
  const { part } = message;
  const { promise: over, resolve } = Promise.withResolvers<PartOutcome>();
  lane.parts.set(part, resolve);
  lane.send(message);
  const onAbort = () => lane.send({ cancel: part });
  signal.addEventListener("abort", onAbort, { once: true });
  const outcome = await over;
  signal.removeEventListener("abort", onAbort);
  return outcome;
}

interface Threads {
  readonly all: ReadonlySet<LaneThread>;
  /** Requests that the source bears at once in all of them. */
  atOnce: number;
  start(spec: LaneSpec): LaneThread;
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
function createThreads(init: LanesInit, atOnce: number, events: ThreadsEvents): Threads {
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
      const lane = startLane(
        { module: module.href, idleTimeout, mostUnlisted, owner },
        { ...events, throttled: () => init.throttled(), lost: lose },
      );
      all.add(lane);
      return lane;
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

/** The lane with the fewest parts; another one as long as there may be more and all have some. */
function laneForPart(lanes: ReadonlySet<LaneThread>, most: number): LaneThread | "start" {
  const best = leastBusy(lanes, ({ parts }) => parts.size);
  return best === undefined || (best.parts.size > 0 && lanes.size < most) ? "start" : best;
}

function leavesMost({ fetched, left }: LaneThread): boolean {
  return left > fetched;
}

/**
 * The lane with the fewest batches, if it has room. One that leaves most gets no more. It would always have the fewest, and others may work: a server may
 * take fewer connections than there are lanes.
 */
function laneForBatch(
  lanes: ReadonlySet<LaneThread>,
  most: number,
): LaneThread | "start" | undefined {
  const useful = [...lanes].filter((lane) => lane.left < PROBATION || !leavesMost(lane));
  const best = leastBusy(useful, ({ batches }) => batches.size);
  if (best !== undefined && best.batches.size < (lanes.size < most ? 1 : QUEUED_BATCHES))
    return best;
  return lanes.size < most ? "start" : undefined;
}

function leastBusy(
  lanes: Iterable<LaneThread>,
  work: (lane: LaneThread) => number,
): LaneThread | undefined {
  let best: LaneThread | undefined;
  for (const lane of lanes) if (best === undefined || work(lane) < work(best)) best = lane;
  return best;
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
