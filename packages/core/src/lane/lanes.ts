/**
 * Lanes: threads that fetch files in batches. What a file costs in the main thread, with a promise for each of its steps, is several
 * times what the work itself costs: 10,000 objects of 1–17 KiB over HTTP took 3.4 CPU seconds, of which the work is 0.6.
 */
import type { LaneFailure } from "./contract.ts";
import type { LaneSpec, Source } from "../source/contract.ts";
import { untilAborted } from "../timing/sleep.ts";
import type { Attributes } from "../transfer/output.ts";
import type { Facts, LaneThread, PartOutcome } from "./lane-thread.ts";
import { createThreads } from "./lane-threads.ts";
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
      if (found === undefined) throw new Error("no lane is ready");
      const lane = found === "start" ? threads.start(spec as LaneSpec) : found;
      if (lane === undefined) return Promise.resolve(files.map(() => undefined));
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
      if (lane === undefined) return { outcome: "left", received: 0 };
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
