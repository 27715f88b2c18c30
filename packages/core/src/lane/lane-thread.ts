/** One lane: its thread, what it has before it, and its signs of life. */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import {
  CLOSED,
  type FromLane,
  type LaneDone,
  type LaneFacts,
  type LaneFile,
  type LaneInit,
  type PartDone,
  RECEIVED,
  STOPPED,
  THROTTLED,
  type ToLane,
} from "./messages.ts";

/**
 * MiB of a lane's young generation: what it holds is gone with its batch. A first sync of 20,000 files from git peaks at 154 MiB in place of 180,
 * for 3% more processor time.
 */
const YOUNG_MIB = 2;
/** For a thread that runs sources as they are. */
const SOURCES: readonly string[] = [
  "--conditions=pannier-source",
  "--experimental-strip-types",
  "--disable-warning=ExperimentalWarning",
];

export type Facts = readonly (LaneFacts | undefined)[];

export interface Batch {
  readonly files: readonly LaneFile[];
  resolve(facts: Facts): void;
}

export interface PartOutcome {
  /** `lost`: the thread is given up, and may write to the file later on. */
  readonly outcome: PartDone["outcome"] | "lost";
  /** As in {@link PartDone}. */
  readonly received: number;
}

export interface LaneThread {
  /** Batches that are not answered, by their number. */
  readonly batches: Map<number, Batch>;
  /** The same of parts: whom to tell. */
  readonly parts: Map<number, (outcome: PartOutcome) => void>;
  /** Requests that it may have under way. */
  atOnce: number;
  /** Files of answered batches that it fetched, and that it left. */
  fetched: number;
  left: number;
  /** Once it has reported what it did, and nothing is left of it but its thread. */
  readonly closed: Promise<void>;
  send(message: ToLane): void;
  /** Bytes that came since this was last called. */
  takeReceived(): bigint;
  /** Milliseconds without a sign of life. @param busy whether it has something to do */
  silence(now: number, busy: boolean): number;
  /** Has it do nothing more. */
  stop(): void;
  /** Ends the thread. In the kernel it may hang for as long as it likes. */
  terminate(): Promise<unknown>;
}

export interface LaneEvents {
  answered(lane: LaneThread, done: LaneDone): void;
  partAnswered(lane: LaneThread, done: PartDone): void;
  throttled(): void;
  /** The thread failed or ended. */
  lost(lane: LaneThread, why: string): void;
}

export function startLane(init: Omit<LaneInit, "atOnce" | "shared">, events: LaneEvents) {
  const shared = new BigInt64Array(new SharedArrayBuffer(16));
  // Beside this file, whether that is source, built, or bundled with the program.
  const extension = extname(import.meta.url);
  const script = new URL(`./lane-worker${extension}`, import.meta.url);
  const workerData: LaneInit = { ...init, atOnce: 0, shared };
  const worker = new Worker(script, {
    workerData,
    // None of the process's own, of which some are not for threads, except for what makes Node take sources.
    execArgv: extension === ".ts" ? [...SOURCES] : [],
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
  });
  const { promise: closed, resolve: onClosed } = Promise.withResolvers<void>();
  let taken = 0n;
  let seen = 0n;
  let seenAt = performance.now();
  const received = () => Atomics.load(shared, RECEIVED);
  const stop = () => void Atomics.store(shared, STOPPED, 1n);

  const lane: LaneThread = {
    batches: new Map(),
    parts: new Map(),
    atOnce: 0,
    fetched: 0,
    left: 0,
    closed,
    send: (message) => worker.postMessage(message, []),
    takeReceived() {
      const now = received();
      const bytes = now - taken;
      taken = now;
      return bytes;
    },
    silence(now, busy) {
      const bytes = received();
      if (bytes !== seen || !busy) {
        seen = bytes;
        seenAt = now;
      }
      return now - seenAt;
    },
    stop,
    terminate() {
      stop();
      onClosed();
      return worker.terminate();
    },
  };
  worker.on("message", (message: FromLane) => {
    if (message === THROTTLED) return events.throttled();
    if (message === CLOSED) return onClosed();
    seenAt = performance.now();
    return "part" in message ? events.partAnswered(lane, message) : events.answered(lane, message);
  });
  worker.on("error", (error: Error) =>
    events.lost(lane, `a thread that fetches files failed: ${error.message}`),
  );
  worker.on("exit", () => events.lost(lane, "a thread that fetches files ended"));
  return lane;
}
