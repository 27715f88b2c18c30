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

/** Facts of a batch's files, in their order. As columns: an object for each file costs either thread more to hand over than all else in a message. */
export interface FactColumns {
  /** Of each file its size, inode and time; its size is not a number where nothing is there. */
  readonly numbers: Float64Array<ArrayBuffer>;
  /** The SHA-256 of each that is there, one behind the other. */
  readonly sha256: string;
}

const NUMBERS = 3;
const DIGITS = 64;

export function toColumns(facts: readonly (LaneFacts | undefined)[]): FactColumns {
  const numbers = new Float64Array(facts.length * NUMBERS);
  let sha256 = "";
  facts.forEach((found, index) => {
    const at = index * NUMBERS;
    numbers[at] = found?.size ?? Number.NaN;
    if (found === undefined) return;
    numbers[at + 1] = found.ino;
    numbers[at + 2] = found.mtime;
    sha256 += found.sha256;
  });
  return { numbers, sha256 };
}

/** @returns `undefined` for a file where nothing is there */
export function fromColumns({ numbers, sha256 }: FactColumns): readonly (LaneFacts | undefined)[] {
  const facts = Array.from<LaneFacts | undefined>({ length: numbers.length / NUMBERS });
  let digits = 0;
  for (let index = 0; index < facts.length; index++) {
    const at = index * NUMBERS;
    const size = numbers[at] as number;
    if (Number.isNaN(size)) continue;
    facts[index] = {
      size,
      sha256: sha256.slice(digits, (digits += DIGITS)),
      ino: numbers[at + 1] as number,
      mtime: numbers[at + 2] as number,
    };
  }
  return facts;
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
  readonly facts: FactColumns;
  /** Files that were asked for in vain. */
  readonly failed: ReadonlyMap<number, LaneFailure>;
  /** Requests by their operation. */
  readonly requests: ReadonlyMap<string, number>;
  /** Milliseconds spent writing files that came as a whole. */
  readonly writing: number;
}
