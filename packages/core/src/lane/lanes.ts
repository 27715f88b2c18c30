/**
 * Lanes: threads that fetch files in batches. What a file costs in the main thread, with a promise for each of its steps, is several
 * times what the work itself costs: 10,000 objects of 1–17 KiB over HTTP took 3.4 CPU seconds, of which the work is 0.6.
 */
import { unlinkSync } from "node:fs";
import type { LaneFailure } from "./contract.ts";
import type { LaneSpec, Source } from "../source/contract.ts";
import type { Attributes } from "../transfer/output.ts";
import {
  type Batch,
  type Facts,
  type LaneThread,
  type PartOutcome,
  startLane,
} from "./lane-thread.ts";
import type { LaneDone, LaneFile, LaneFilePart, PartDone } from "./messages.ts";

/** Batches that a lane has before it: one in work, one to go on with. */
const QUEUED_BATCHES = 2;
/** Times the idle timeout after which a lane that shows no sign of life is given up: its own reads are given up sooner. */
const SILENCE = 3;
/** Milliseconds that a lane has to tell what it did once it is stopped. */
const GRACE = 1000;
/** Where writing a file takes longer than this on average, in milliseconds, others can wait beside: up to so many lanes. */
const SLOW_FILE_MS = 0.5;
const SLOW_LANES = 4;
/** Files of which most must have been fetched: a lane that always fails costs each file a second request. */
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
  const lanes = new Set<LaneThread>();
  /** Threads that still may write. */
  const ending: Promise<unknown>[] = [];
  let most = Math.min(init.most, atOnce);
  let spec: LaneSpec | undefined;
  let open = true;
  let closing = false;
  let closed: Promise<void> | undefined;
  let lastId = 0;
  let left = 0;
  let fetched = 0;
  /** Bytes of lanes that are gone, not yet reported. */
  let rest = 0n;
  let onReady: (() => void) | undefined;

  /** All requests that the source bears belong to those that have something to do. */
  const shareOut = () => {
    const busy = [...lanes].filter(({ batches }) => batches.size > 0);
    let more = busy.length === 0 ? 0 : atOnce % busy.length;
    for (const lane of busy) {
      const share = Math.floor(atOnce / busy.length) + (more-- > 0 ? 1 : 0);
      if (share === lane.atOnce) continue;
      lane.atOnce = share;
      lane.send({ atOnce: share });
    }
  };

  /** What a lane had in work is not done, whatever is there of it. */
  function lose(lane: LaneThread, why: string): void {
    if (!lanes.delete(lane)) return;
    lane.stop();
    rest += lane.takeReceived();
    const batches = [...lane.batches.values()];
    const parts = [...lane.parts.values()];
    lane.batches.clear();
    lane.parts.clear();
    if (!closing) {
      open = false;
      init.warn(`${why}; what it had in work is fetched without it`);
    }
    const gone = discardAfter(lane.terminate(), batches, parts).then(() => onReady?.());
    if (batches.length + parts.length > 0) ending.push(gone);
  }

  function countRequests(requests: LaneDone["requests"]): void {
    for (const [operation, count] of requests)
      for (let i = 0; i < count; i++) init.request(operation);
  }

  function partAnswered(lane: LaneThread, { part, requests, ...outcome }: PartDone): void {
    countRequests(requests);
    const resolve = lane.parts.get(part);
    lane.parts.delete(part);
    resolve?.(outcome);
  }

  function answered(lane: LaneThread, { id, facts, failed, requests, writing }: LaneDone): void {
    const batch = lane.batches.get(id);
    if (batch === undefined) return;
    lane.batches.delete(id);
    countRequests(requests);
    for (const [index, code] of failed) init.failed(batch.files[index] as LaneFile, code);
    const done = facts.filter((fact) => fact !== undefined).length;
    fetched += done;
    left += facts.length - done;
    if (left >= PROBATION && left > fetched) open = false;
    if (writing > done * SLOW_FILE_MS) most = Math.max(most, Math.min(SLOW_LANES, atOnce));
    batch.resolve(facts);
    if (lane.batches.size === 0) {
      lane.atOnce = 0;
      lane.send({ atOnce: 0 });
      shareOut();
    }
    onReady?.();
  }

  function start({ module }: LaneSpec): LaneThread {
    const { idleTimeout, mostUnlisted, owner } = init;
    const lane = startLane(
      { module: module.href, idleTimeout, mostUnlisted, owner },
      { answered, partAnswered, throttled: () => init.throttled(), lost: lose },
    );
    lanes.add(lane);
    return lane;
  }

  const watch = setInterval(
    () => {
      const now = performance.now();
      for (const lane of lanes) {
        const busy = lane.parts.size > 0 || (lane.batches.size > 0 && atOnce > 0);
        if (lane.silence(now, busy) > SILENCE * init.idleTimeout)
          lose(lane, "a thread that fetches files makes no progress");
      }
    },
    Math.min(init.idleTimeout, 1000),
  );
  watch.unref();

  /** The lane with the fewest batches, if it has room. */
  function free(): LaneThread | "start" | undefined {
    let best: LaneThread | undefined;
    for (const lane of lanes)
      if (best === undefined || lane.batches.size < best.batches.size) best = lane;
    if (best !== undefined && best.batches.size < (lanes.size < most ? 1 : QUEUED_BATCHES))
      return best;
    return lanes.size < most ? "start" : undefined;
  }

  /** The lane with the fewest parts; another one as long as there may be more and all have some. */
  function freeForPart(asked: LaneSpec): LaneThread {
    let best: LaneThread | undefined;
    for (const lane of lanes)
      if (best === undefined || lane.parts.size < best.parts.size) best = lane;
    if (best === undefined || (best.parts.size > 0 && lanes.size < most)) return start(asked);
    return best;
  }

  const isUsable = () => open && !closing;

  /** What the source now says of its lanes. False where there are none any more. */
  async function ask(signal: AbortSignal): Promise<boolean> {
    if (!isUsable()) return false;
    const asked = await init.lane(signal).catch(() => undefined);
    open &&= asked !== undefined && (spec ?? asked).module.href === asked.module.href;
    spec = asked;
    return isUsable();
  }

  async function end(): Promise<void> {
    closing = true;
    clearInterval(watch);
    onReady?.();
    for (const lane of lanes) {
      lane.stop();
      lane.send("stop");
    }
    await atMost(GRACE, Promise.all([...lanes].map((lane) => lane.closed)));
    for (const lane of lanes) lose(lane, "");
    await Promise.all(ending);
  }

  return {
    get open() {
      return open;
    },
    async ready(signal) {
      while (isUsable() && free() === undefined) {
        await new Promise<void>((resolve) => {
          onReady = resolve;
        });
      }
      return ask(signal);
    },
    fetch(files) {
      const found = free();
      const lane = found === "start" ? start(spec as LaneSpec) : found;
      if (lane === undefined) throw new Error("no lane is ready");
      const id = ++lastId;
      const { promise: over, resolve } = Promise.withResolvers<Facts>();
      lane.batches.set(id, { files, resolve });
      lane.send({ id, files, data: spec?.data });
      shareOut();
      return over;
    },
    async part(what, signal) {
      if (!(await ask(signal)) || spec?.parts !== true || signal.aborted)
        return { outcome: "left", received: 0 };
      const lane = freeForPart(spec);
      const part = ++lastId;
      const { promise: over, resolve } = Promise.withResolvers<PartOutcome>();
      lane.parts.set(part, resolve);
      lane.send({ part, what, data: spec.data });
      const onAbort = () => lane.send({ cancel: part });
      signal.addEventListener("abort", onAbort, { once: true });
      const outcome = await over;
      signal.removeEventListener("abort", onAbort);
      return outcome;
    },
    received() {
      let bytes = rest;
      rest = 0n;
      for (const lane of lanes) bytes += lane.takeReceived();
      return Number(bytes);
    },
    allow(count) {
      if (count === atOnce) return;
      atOnce = count;
      shareOut();
    },
    close: () => (closed ??= end()),
  };
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
