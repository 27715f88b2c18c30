/** The content of a file, as long as it is the version that was listed. */
import { type Body, type ByteRange, type FileEntry, releaseAfterUse } from "@pannier/core/adapter";
import { changedSinceListed, clampRange, matches } from "@pannier/file-server";
import { type Connection, Unanswered } from "./connection.ts";
import { translate } from "./errors.ts";

/** Bytes of one question, which opens the file, reads, and looks what the file is after that. */
const PIECE = 1024 * 1024;
/** Pieces of one stream that are asked for and not yet there. */
const READ_AHEAD_PIECES = 4;

/**
 * @param path relative to what the source's path leads to; empty for that itself
 * @throws SourceError `changed` where size or modification time are not those listed, after any piece of it
 */
export async function readFile(
  connection: Connection,
  path: string,
  entry: FileEntry,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Body> {
  const { from, to } = clampRange(entry, range);
  if (to - from > PIECE) return releaseAfterUse(stream(connection, path, entry, from, to, signal));
  return readPiece(connection, path, entry, from, to - from, signal);
}

async function* stream(
  connection: Connection,
  path: string,
  entry: FileEntry,
  from: number,
  to: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const stop = new AbortController();
  const inner = AbortSignal.any([signal, stop.signal]);
  const asked: Promise<Uint8Array>[] = [];
  try {
    for (let next = from; next < to || asked.length > 0;) {
      while (asked.length < READ_AHEAD_PIECES && next < to) {
        const length = Math.min(PIECE, to - next);
        const piece = readPiece(connection, path, entry, next, length, inner);
        // Nobody waits for those behind one that failed.
        piece.catch(() => {});
        asked.push(piece);
        next += length;
      }
      yield await (asked.shift() as Promise<Uint8Array>);
      signal.throwIfAborted();
    }
  } finally {
    stop.abort(new Error("the reader has left"));
  }
}

async function readPiece(
  connection: Connection,
  path: string,
  entry: FileEntry,
  offset: number,
  length: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  try {
    const { bytes, facts } = await connection.ask({ ask: "read", path, offset, length }, signal);
    const same = facts?.kind === "file" && matches(entry.fingerprint, facts);
    if (same && bytes.length === length) return bytes;
  } catch (error) {
    if (error instanceof Unanswered) throw translate(error.problem, entry.path);
    throw error;
  }
  throw changedSinceListed(entry);
}
