/** A source whose files are read by its lane, as far as that goes: so the whole suite is a test of lanes as well. */
import type { ByteRange, FileEntry, Source } from "@pannier/core/adapter";
import { withMembers } from "./calls.ts";
import { openLaneReader } from "./lane-reader.ts";

/** Bytes; what is larger comes as a stream. */
const PIECE = 2 ** 20;

/** As the engine's tests are told of lanes. */
export function lanesAreForced(): boolean {
  return process.env["PANNIER_TEST_LANES"] === "always";
}

/** What the lane leaves is read by the source itself, as in the engine. Closing it closes the lane as well. */
export function laneFirst(source: Source, idleTimeout: number | undefined): Source {
  if (!lanesAreForced() || source.lane === undefined) return source;
  const lane = openLaneReader(source, idleTimeout);

  async function byLane(
    entry: FileEntry,
    range: ByteRange | undefined,
    signal: AbortSignal,
  ): Promise<Buffer | undefined> {
    if (range === undefined) return (await lane.files([entry], signal))?.get(entry.path);
    const { offset } = range;
    const { size = 0, digest } = entry;
    const length = Math.min(range.length ?? Infinity, size - offset);
    // Of which version a part is, the engine may learn from the digest of the whole.
    if (length <= 0 || digest !== undefined) return undefined;
    const part = await lane.part(entry, { offset, length }, signal);
    return part?.length === length ? part : undefined;
  }

  return withMembers(source, {
    async read(entry, range, signal) {
      signal.throwIfAborted();
      const content = await byLane(entry, range, signal);
      if (content === undefined) return source.read(entry, range, signal);
      return content.length <= PIECE ? content : pieces(content, signal);
    },
    async close() {
      await lane.close();
      await source.close();
    },
  });
}

async function* pieces(content: Buffer, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += PIECE) {
    signal.throwIfAborted();
    yield content.subarray(at, at + PIECE);
    // As if it were waited for.
    await new Promise(setImmediate);
  }
}
