/** The engine's writer in a lane, for a part of a large file: at its place in a file that the engine made. */
import { writeNow } from "../transfer/output-sync.ts";
import type { LaneFailure, PartSink } from "./contract.ts";
import { type LaneFilePart, type LaneInit, type PartDone, RECEIVED, STOPPED } from "./messages.ts";

interface Opened extends PartSink {
  /** What became of it. From now on nothing is written any more. */
  finish(): Omit<PartDone, "part">;
}

export function openPartSink(
  { fd, range: { offset, length } }: LaneFilePart,
  { shared }: Pick<LaneInit, "shared">,
  signal: AbortSignal,
  onThrottled: () => void,
): Opened {
  const requests = new Map<string, number>();
  let failed: LaneFailure | undefined;
  let at = 0;
  let over = false;
  let isTooLong = false;

  const isStopped = () => over || signal.aborted || Atomics.load(shared, STOPPED) !== 0n;

  return {
    get stopped() {
      return isStopped();
    },
    write(piece) {
      Atomics.add(shared, RECEIVED, BigInt(piece.length));
      isTooLong ||= at + piece.length > length;
      if (isStopped() || isTooLong) {
        over = true;
        return false;
      }
      try {
        writeNow(fd, piece, 0, piece.length, offset + at);
      } catch {
        // Whoever writes it next meets the same, and can say it.
        over = true;
        return false;
      }
      at += piece.length;
      return true;
    },
    failed(code) {
      failed ??= code;
      if (code === "throttled") onThrottled();
    },
    request(operation) {
      requests.set(operation, (requests.get(operation) ?? 0) + 1);
    },
    finish() {
      const whole = !over && at === length && failed === undefined;
      over = true;
      const outcome = whole ? "done" : (failed ?? (requests.size === 0 ? "left" : "unavailable"));
      // What came before a cut is right: the answer was looked at before. One that is too long is another's.
      return { outcome, received: isTooLong ? 0 : at, requests };
    },
  };
}
