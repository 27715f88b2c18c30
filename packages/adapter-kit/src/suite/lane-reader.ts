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

export function openLaneReader(source: Source, idleTimeout = 5000): LaneReader {
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
      // As the thread gets it.
      const data: unknown = structuredClone(spec.data);
      const reading = (await open(spec)).read(
        { files, data },
        sinkFor(files, got, signal),
        stop.signal,
      );
      await untilAborted(Promise.resolve(reading), signal);
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

/** As the engine's own. */
function sinkFor(files: readonly FileEntry[], got: Map<string, Buffer>, signal: AbortSignal): Sink {
  const take = (index: number, content: Buffer, ...answered: (Digest | undefined)[]) => {
    const {
      path,
      size = Math.min(content.length, MOST_UNLISTED),
      digest,
    } = files[index] as FileEntry;
    const isRight = [digest, ...answered].every((each) => isDigest(content, each));
    if (content.length === size && isRight) got.set(path, content);
  };
  return {
    get stopped() {
      return signal.aborted;
    },
    put: (index, content, digest) => take(index, Buffer.from(content), digest),
    begin(index, digest) {
      const pieces: Buffer[] = [];
      return {
        write: (piece) => pieces.push(Buffer.from(piece)) > 0,
        end: () => take(index, Buffer.concat(pieces), digest),
        drop: () => {},
      };
    },
    failed: () => {},
    request: () => {},
  };
}

function isDigest(content: Buffer, digest: Digest | undefined): boolean {
  if (digest === undefined || digest.partSize !== undefined) return true;
  const { algorithm, value } = digest;
  return !/^(?:md5|sha)/.test(algorithm) || hash(algorithm, content) === value;
}
