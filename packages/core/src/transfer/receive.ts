/** Reading a body from a source, watched: a source that falls silent is given up. */
import type { ByteRange, Digest, FileEntry } from "../source/contract.ts";
import { SourceError } from "../source/errors.ts";
import { quotePath } from "../source/path.ts";
import type { FetchOptions } from "./fetch-options.ts";
import { createPace } from "./pace.ts";
import { retry } from "./retry.ts";
import { LONGEST_TIMER, within } from "../timing/sleep.ts";

/** How long a stream that was given up may take to free what it holds, in milliseconds. */
const GRACE = 1000;

export type ReceiveOptions = Pick<FetchOptions, "source" | "entry" | "idleTimeout" | "signal">;

/**
 * Reads once, and passes on what comes; the next chunk is asked for when `onChunk` is done with this one. Time that
 * `onChunk` takes does not count as silence. What comes as a whole is the caller's to keep; an adapter may reuse the memory
 * of a stream's chunk.
 *
 * @throws SourceError `unavailable` when no byte came for `idleTimeout`, or hardly any over twice that; the signal's reason at once when aborted, even
 *   where the adapter does not listen to its signal
 * @param onDigest told, before the first chunk, what the answer vouches for
 */
export async function receive(
  options: ReceiveOptions,
  range: ByteRange | undefined,
  onChunk: (chunk: Uint8Array, isWhole: boolean) => Promise<void>,
  onDigest: (digest: Digest) => void,
): Promise<void> {
  options.signal.throwIfAborted();
  const watch = createWatchdog(options);
  let stream: AsyncIterator<Uint8Array> | undefined;
  try {
    const reading = options.source.read(options.entry, range, watch.signal);
    const body = await watch.wait(reading, (late) => {
      if (!(late instanceof Uint8Array)) void free(late[Symbol.asyncIterator]());
    });
    if (body.digest !== undefined) onDigest(body.digest);
    if (body instanceof Uint8Array) {
      if (body.length > 0) await onChunk(body, true);
      return;
    }
    stream = body[Symbol.asyncIterator]();
    const pace = createPace(`reading ${quotePath(options.entry.path)}`, options);
    for (;;) {
      watch.signal.throwIfAborted();
      const asked = performance.now();
      const { done, value } = await watch.wait(stream.next());
      if (done === true) {
        stream = undefined;
        return;
      }
      pace.came(performance.now() - asked, value.length);
      if (value.length > 0) await onChunk(value, false);
    }
  } finally {
    watch.close();
    // Whether or not it was in time.
    if (stream !== undefined) await within(GRACE, free(stream)).catch(() => {});
  }
}

/** A request with its turn and its tries. */
export function retryRead(options: FetchOptions, read: () => Promise<void>): Promise<void> {
  return retry(() => options.limiter.run(read, options.signal), options);
}

export function cutShort(entry: FileEntry, size: number): SourceError {
  return new SourceError(
    "unavailable",
    `reading ${quotePath(entry.path)} was cut short at ${size} of ${entry.size} bytes`,
  );
}

/** Lets a stream go; how it takes that is no longer of interest. */
async function free(stream: AsyncIterator<unknown>): Promise<void> {
  try {
    await stream.return?.();
  } catch {
    // It is gone either way.
  }
}

interface Watchdog {
  /** For the adapter: aborted when the caller's signal is, or on a stall. */
  readonly signal: AbortSignal;
  /** Waits for one sign of life. `onLate` gets what comes after waiting was given up. */
  wait<Result>(work: Promise<Result>, onLate?: (result: Result) => void): Promise<Result>;
  close(): void;
}

/** One timer and one listener for each read, not for each chunk. */
function createWatchdog({ signal, idleTimeout, entry }: ReceiveOptions): Watchdog {
  const inner = new AbortController();
  let giveUp: ((reason: unknown) => void) | undefined;
  const stop = (reason: unknown) => {
    // First: what the adapter makes of its aborted signal must not be taken for the reason.
    giveUp?.(reason);
    inner.abort(reason);
  };
  const onAbort = () => stop(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(
    () => {
      if (giveUp === undefined) return;
      stop(
        new SourceError(
          "unavailable",
          `reading ${quotePath(entry.path)} stalled: no byte for ${idleTimeout / 1000} s`,
        ),
      );
    },
    Math.min(idleTimeout, LONGEST_TIMER),
  );
  return {
    signal: inner.signal,
    wait(work, onLate) {
      return new Promise((resolve, reject) => {
        if (inner.signal.aborted) {
          reject(inner.signal.reason);
        } else {
          timer.refresh();
          giveUp = reject;
        }
        work.then(
          (result) => {
            giveUp = undefined;
            if (inner.signal.aborted) onLate?.(result);
            return resolve(result);
          },
          (error: unknown) => {
            giveUp = undefined;
            reject(error);
          },
        );
      });
    },
    close() {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    },
  };
}
