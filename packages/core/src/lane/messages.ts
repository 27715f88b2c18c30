/** What the engine and its lanes tell each other. */
import type { Attributes, DiskFacts } from "../transfer/output.ts";
import type { LaneFailure, PartRange } from "./contract.ts";
import type { FileEntry } from "../source/contract.ts";

export interface LaneInit {
  /** URL of the source's module. */
  readonly module: string;
  readonly idleTimeout: number;
  readonly atOnce: number;
  readonly mostUnlisted: number;
  readonly owner: Attributes["owner"];
  /** See {@link STOPPED} and {@link RECEIVED}. */
  readonly shared: BigInt64Array<SharedArrayBuffer>;
}

/** Places in the memory that a lane shares with the engine: not 0 once nothing more is wanted; bytes that came. */
export const STOPPED = 0;
export const RECEIVED = 1;

/** A file to fetch. */
export interface LaneFile {
  readonly entry: FileEntry;
  /** Where to create it. Leads through a descriptor of the engine, which holds it until the batch is answered. */
  readonly path: string;
  readonly mode: number;
}

/** A part of a file. */
export interface LaneFilePart {
  readonly entry: FileEntry;
  readonly range: PartRange;
  /** Open for writing, and of the size of the whole. The engine holds it until the part is answered. */
  readonly fd: number;
}

export type ToLane =
  | { readonly part: number; readonly what: LaneFilePart; readonly data: unknown }
  | { readonly cancel: number }
  | { readonly id: number; readonly files: readonly LaneFile[]; readonly data: unknown }
  | { readonly atOnce: number }
  | "stop";

/** A file that is on the volume. */
export interface LaneFacts extends DiskFacts {
  readonly size: number;
  readonly sha256: string;
}

/** A word in between: the source asks for fewer requests at once. */
export const THROTTLED = "throttled";

/** The last word: nothing is left that would outlive the thread. */
export const CLOSED = "closed";

export type FromLane = LaneDone | PartDone | typeof THROTTLED | typeof CLOSED;

/** The answer to a part. */
export interface PartDone {
  readonly part: number;
  /** `left`: it was not asked for. */
  readonly outcome: "done" | "left" | LaneFailure;
  /** Bytes at the part's start that are in their place. */
  readonly received: number;
  readonly requests: ReadonlyMap<string, number>;
}

/** The answer to a batch. */
export interface LaneDone {
  readonly id: number;
  /** In the order of the batch's files; `undefined`: nothing is there. */
  readonly facts: readonly (LaneFacts | undefined)[];
  /** Files that were asked for in vain. */
  readonly failed: ReadonlyMap<number, LaneFailure>;
  /** Requests by their operation. */
  readonly requests: ReadonlyMap<string, number>;
  /** Milliseconds spent writing files that came as a whole. */
  readonly writing: number;
}
