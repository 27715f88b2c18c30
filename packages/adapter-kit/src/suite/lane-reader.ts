/** Reads by a source's lane, in the test's thread instead of one of its own. */
import { hash } from "node:crypto";
import {
  type Digest,
  type FileEntry,
  type Lane,
  type LaneContext,
  type LaneSpec,
  type OpenLane,
  type PartRange,
  type PartSink,
  type Sink,
  type Source,
  untilAborted,
} from "@pannier/core/adapter";

/** As the engine has it: bytes of a file whose size is not listed. */
const MOST_UNLISTED = 2 ** 20;

export interface LaneReader {
  /** What came of files as it should, by their paths. `undefined`: the source has no lane. */
  files(
    files: readonly FileEntry[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, Buffer> | undefined>;
  /** The same for a part: nothing where it did not come as it should; `undefined` where it was not asked for. */
  part(entry: FileEntry, range: PartRange, signal: AbortSignal): Promise<Buffer | undefined>;
  close(): Promise<void>;
}

export function openLaneReader(source: Source, idleTimeout = 15_000): LaneReader {
  const context: LaneContext = { idleTimeout, atOnce: 4, mostUnlisted: MOST_UNLISTED };
  const stop = new AbortController();
  let lane: Lane | undefined;

  async function open({ module }: LaneSpec): Promise<Lane> {
    const { openLane } = (await import(module.href)) as { readonly openLane: OpenLane };
    return (lane ??= openLane(context));
  }

  return {
    async files(files, signal) {
      const spec = await source.lane?.(signal);
      if (spec === undefined) return undefined;
      const got = new Map<string, Buffer>();
      let isOver = false;
      const sink = sinkFor(files, got, () => isOver || signal.aborted);
      // As the thread gets it.
      const data: unknown = structuredClone(spec.data);
      const reading = (await open(spec)).read({ files, data }, sink, stop.signal);
      await untilAborted(Promise.resolve(reading), signal);
      isOver = true;
      return got;
    },
    async part(entry, range, signal) {
      const spec = await source.lane?.(signal);
      if (spec?.parts !== true) return undefined;
      const pieces: Buffer[] = [];
      let hasFailed = false;
      let wasAsked = false;
      const sink: PartSink = {
        get stopped() {
          return signal.aborted;
        },
        write: (piece) => pieces.push(Buffer.from(piece)) > 0,
        failed: () => (hasFailed = true),
        request: () => (wasAsked = true),
      };
      const data: unknown = structuredClone(spec.data);
      const reading = (await open(spec)).readPart?.({ entry, range, data }, sink, signal);
      await untilAborted(Promise.resolve(reading), signal);
      if (!wasAsked) return undefined;
      return Buffer.concat(hasFailed ? [] : pieces);
    },
    async close() {
      stop.abort();
      await lane?.close?.();
    },
  };
}

/** As the engine's own: each file has one chance, more than listed is not taken, and nothing once it is stopped. */
function sinkFor(
  files: readonly FileEntry[],
  got: Map<string, Buffer>,
  isStopped: () => boolean,
): Sink {
  const begun = new Set<number>();
  /** Takes the content of a file that is asked for the first time. */
  const begin = (index: number, answered: Digest | undefined) => {
    const entry = files[index];
    if (entry === undefined || begun.has(index) || isStopped()) return undefined;
    begun.add(index);
    const { path, size, digest } = entry;
    return {
      most: size ?? MOST_UNLISTED,
      take(content: Buffer) {
        const isWhole = content.length === (size ?? Math.min(content.length, MOST_UNLISTED));
        const isRight = [digest, answered].every((each) => isDigest(content, each));
        if (isWhole && isRight && !isStopped()) got.set(path, content);
      },
    };
  };
  return {
    get stopped() {
      return isStopped();
    },
    put: (index, content, digest) => begin(index, digest)?.take(Buffer.from(content)),
    begin(index, digest) {
      const wanted = begin(index, digest);
      const pieces: Buffer[] = [];
      let length = 0;
      let isOver = wanted === undefined;
      return {
        write(piece) {
          length += piece.length;
          isOver ||= isStopped() || length > (wanted?.most ?? 0);
          if (!isOver) pieces.push(Buffer.from(piece));
          return !isOver;
        },
        end() {
          if (!isOver) wanted?.take(Buffer.concat(pieces));
          isOver = true;
        },
        drop: () => void (isOver = true),
      };
    },
    failed: () => {},
    request: () => {},
  };
}

/** Of a whole, by what Node can take; the engine's tests have the others. */
function isDigest(content: Buffer, digest: Digest | undefined): boolean {
  if (digest === undefined || digest.partSize !== undefined) return true;
  const { algorithm, value } = digest;
  return !/^(?:md5|sha)/.test(algorithm) || hash(algorithm, content) === value.toLowerCase();
}
