/**
 * The contract between the engine and what reads a source's files in a thread: a lane.
 *
 * A lane handles the plain good answer and nothing else. Whatever else happens to a file (an error, a redirect, a version
 * that is not the listed one, an odd answer) it leaves the file alone, and the engine reads it by `Source.read`, where retries and words are. So a lane
 * may be small, and must be strict: it never hands over bytes that `read` would have refused.
 */
import type { Digest, FileEntry } from "../source/contract.ts";

/** Files to read, and what the source's `lane()` said when they were handed over. */
export interface LaneBatch {
  readonly files: readonly FileEntry[];
  readonly data: unknown;
}

export type LaneFailure = "throttled" | "unavailable";

/** Where the content of a batch's files goes, each at most once, in any order. Synchronous: what it is given is the caller's again when it returns. */
export interface Sink {
  /** Nobody waits for the files any more: `read` should return. */
  readonly stopped: boolean;
  /**
   * The content of a file as a whole. What has not the listed size or digest, or not the digest given here, is not kept.
   *
   * @param file its position in the batch
   */
  put(file: number, content: Uint8Array, digest?: Digest): void;
  /** The same for content that comes in pieces. */
  begin(file: number, digest?: Digest): Writing;
  /**
   * Tells that a request for a file came to nothing, which the user then learns; `throttled`: the source asks for fewer at once. Not needed for a file
   * that was not asked for, nor for content that the sink did not keep.
   */
  failed(file: number, code: LaneFailure): void;
  /** Counts a request, as `SourceContext.request` does. */
  request(operation: string): void;
}

export interface Writing {
  /** False where there is no use in going on: the file is too long, or could not be written. */
  write(piece: Uint8Array): boolean;
  /** All came. */
  end(): void;
  /** It did not come to its end; nothing is left of it. */
  drop(): void;
}

/** In bytes. */
export interface PartRange {
  readonly offset: number;
  /** At least 1. */
  readonly length: number;
}

/** A part of a large file, and what the source's `lane()` said when it was handed over. */
export interface LanePart {
  readonly entry: FileEntry;
  readonly range: PartRange;
  readonly data: unknown;
}

/** Where the bytes of a part go, in order. Synchronous, as {@link Sink} is. */
export interface PartSink extends Pick<Sink, "stopped" | "request"> {
  /** False where there is no use in going on: it is more than was asked for, or could not be written. */
  write(piece: Uint8Array): boolean;
  /** As {@link Sink.failed}. */
  failed(code: LaneFailure): void;
}

export interface LaneContext {
  /** As in `SourceContext`. */
  readonly idleTimeout: number;
  /** Requests that may be under way at once in this lane. */
  readonly atOnce: number;
  /** Bytes of a file whose size is not listed; of a larger one the sink keeps nothing. */
  readonly mostUnlisted: number;
}

export interface Lane {
  /**
   * Reads the files of a batch, and resolves when nothing more is to come of it; files that the sink did not get are read by `Source.read`.
   * Called for the next batch while the one before is still under way. What it throws leaves the rest of the batch to `Source.read`.
   */
  read(batch: LaneBatch, sink: Sink, signal: AbortSignal): Promise<void> | void;
  /**
   * Reads a part of a file of a `LaneSpec` that has `parts`, and resolves when nothing more is to come of it; what has not come whole by then is read by
   * `Source.read`. The engine counts it among the requests that the source bears: it does not wait for {@link LaneContext.atOnce}.
   *
   * @param signal nobody waits for this part any more
   */
  readPart?(part: LanePart, sink: PartSink, signal: AbortSignal): Promise<void> | void;
  /** The source bears other than {@link LaneContext.atOnce} requests at once from now on; 0: none for a while. */
  allow?(atOnce: number): void;
  /** Ends what would outlive the thread: processes. Called before the thread ends, once no batch is under way any more. */
  close?(): Promise<void>;
}

/** What the module of a `LaneSpec` exports as `openLane`. Called once in each thread. */
export type OpenLane = (context: LaneContext) => Lane;
