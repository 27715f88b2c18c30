/** A large file in parts, side by side. */
import { InternalError } from "../errors.ts";
import { quotePath } from "../source/path.ts";
import type { PartRange } from "../lane/contract.ts";
import type { Digest } from "../source/contract.ts";
import { SourceError } from "../source/errors.ts";
import { untilAborted } from "../timing/sleep.ts";
import type { ContentDigest } from "./content-hash.ts";
import type { FetchOptions } from "./fetch-options.ts";
import { forEachConcurrent } from "./limiter.ts";
import { truncateFile } from "./output.ts";
import { cutShort, receive, retryRead } from "./receive.ts";
import { writeBehind } from "./write-behind.ts";

/** Parts of one file under way at once, so that one large file does not starve the small ones. */
const PARTS_AT_ONCE = 8;

/** Bytes of the first part, which is read here for what its answer tells, where lanes read the others. */
const FIRST_PART = 64 * 1024;

/** Bytes of one part after which it is hashed, though more of it is to come. */
const WRITTEN_STEP = 16 * 1024 * 1024;

/** Parts that lanes may fail with before the rest is read here. */
const LANE_FAILURES = 3;

/** A thread that was given up may still write to the file. */
export class PartLost extends InternalError {}

/**
 * Fetches ranges of `partSize` into an open file that gets its final size first, each tried again on its own. The file is
 * hashed in order by reading back what is complete, while later parts still come.
 */
export async function fetchParts(
  options: FetchOptions,
  fd: number,
  size: number,
  partSize: number,
): Promise<ContentDigest> {
  await truncateFile(fd, size);
  const inLanes = createPartLanes(options, fd);
  const hash = options.rangeHashes.open(options.entry.digest);
  /** By the part's offset: up to where it is on the volume. */
  const written = new Map<number, number>();
  /** The part that is hashed next, and up to where. */
  let part = 0;
  let hashed = 0;
  const firstSize = inLanes === undefined ? partSize : Math.min(FIRST_PART, partSize);
  const endOf = (offset: number) =>
    Math.min(size, offset === 0 ? firstSize : (Math.floor(offset / partSize) + 1) * partSize);
  const hashAfter = (offset: number, upTo: number) => {
    written.set(offset, upTo);
    for (;;) {
      const end = written.get(part) ?? 0;
      if (end <= hashed) return;
      hash.update(fd, hashed, end);
      hashed = end;
      if (hashed < endOf(part)) return;
      written.delete(part);
      part = hashed;
    }
  };
  const worker = async (offset: number, signal: AbortSignal) => {
    const length = endOf(offset) - offset;
    // The answer to the first part tells what the source vouches for.
    const inLane = offset === 0 ? undefined : inLanes;
    await fetchPart({ ...options, signal }, fd, { offset, length }, inLane, {
      digest(digest) {
        // The first part is hashed first, and every answer vouches for the same.
        if (offset === 0) hash.expect(digest);
      },
      written: (upTo) => hashAfter(offset, upTo),
    });
  };
  const atOnce = Math.min(PARTS_AT_ONCE, options.limiter.max);
  try {
    await forEachConcurrent(partOffsets(size, endOf), atOnce, worker, options.signal);
    // What came last of a large file may be hashed for a while.
    return await untilAborted(hash.finish(), options.signal);
  } catch (error) {
    // The file is closed next, and its number may become another's.
    await hash.drop();
    throw error;
  }
}

function* partOffsets(size: number, endOf: (offset: number) => number): Generator<number> {
  for (let offset = 0; offset < size; offset = endOf(offset)) yield offset;
}

/** Fetches a part in a lane, and tells how much of it came. The rest is to be read here. @throws PartLost, and SourceError `throttled` */
type InLane = (range: PartRange, signal: AbortSignal) => Promise<number>;

function createPartLanes(options: FetchOptions, fd: number): InLane | undefined {
  const { lanes, entry } = options;
  if (lanes === undefined) return undefined;
  let failures = 0;
  return async (range, signal) => {
    if (failures >= LANE_FAILURES) return 0;
    const { outcome, received } = await lanes.part({ entry, range, fd }, signal);
    if (outcome === "done") return received;
    if (outcome === "lost")
      throw new PartLost(`a thread that read a part of ${quotePath(entry.path)} was given up`);
    signal.throwIfAborted();
    if (outcome === "left") {
      failures = LANE_FAILURES;
      return 0;
    }
    failures++;
    const error = new SourceError(
      outcome,
      `a part of ${quotePath(entry.path)} did not come as it should`,
    );
    if (outcome === "throttled") throw error;
    options.onRetry?.(error, 1, 0);
    return received;
  };
}

/** What is told of a part. */
interface PartEvents {
  digest(digest: Digest): void;
  /** Up to where it is on the volume, now and then and at its end. */
  written(upTo: number): void;
}

async function fetchPart(
  options: FetchOptions,
  fd: number,
  { offset, length }: PartRange,
  inLane: InLane | undefined,
  on: PartEvents,
): Promise<void> {
  const { entry } = options;
  let output = writeBehind(fd, offset, length);
  let done = 0;
  let isFirst = true;
  let told = 0;
  /** Tries of the same bytes are counted: of a file that takes hours, some may be cut. */
  const tryAll = async (read: () => Promise<void>) => {
    for (let before = 0; ; before = done) {
      try {
        return await retryRead(options, read);
      } catch (error) {
        const isTransient = error instanceof SourceError && error.transient;
        if (!isTransient || done - before < WRITTEN_STEP) throw error;
        options.onRetry?.(error, options.attempts, 0);
      }
    }
  };
  try {
    await tryAll(async () => {
      if (done === length) return;
      const mayBeInLane = isFirst;
      isFirst = false;
      if (mayBeInLane && inLane !== undefined) {
        done = await inLane({ offset, length }, options.signal);
        if (done === length) return;
        output = writeBehind(fd, offset + done, length - done);
      }
      const range = { offset: offset + done, length: length - done };
      const onChunk = async (chunk: Uint8Array) => {
        options.onBytes?.(chunk.length);
        if (done + chunk.length > length) {
          throw new SourceError(
            "invalid",
            `reading ${quotePath(entry.path)} gave more than the ${range.length} bytes asked for at ${range.offset}`,
          );
        }
        await output.write(chunk);
        done += chunk.length;
        if (done - told >= WRITTEN_STEP) {
          await output.flush();
          on.written(offset + (told = done));
        }
        await options.bandwidth?.take(chunk.length, options.signal);
      };
      await receive(options, range, onChunk, on.digest);
      if (done < length) throw cutShort(entry, offset + done);
    });
    await output.flush();
    on.written(offset + length);
  } catch (error) {
    // The file is closed next, and its number may become another's.
    await output.restart().catch(() => {});
    throw error;
  }
}
