/** The content of a file, as long as it is the version that was listed. */
import { type Body, type ByteRange, type FileEntry, releaseAfterUse } from "@pannier/core/adapter";
import { changedSinceListed, clampRange } from "@pannier/file-server";
import type { Connection } from "./connection.ts";
import { translate } from "./errors.ts";
import { hasTime, matches } from "./fingerprint.ts";
import { askSize, askTime, isRefused } from "./ask.ts";
import { checkArgument } from "./names.ts";
import type { Lease, Pool } from "./pool.ts";
import { receive } from "./transfer.ts";

/** Up to this size a file comes in one piece. */
const WHOLE = 256 * 1024;

interface Reading {
  readonly pool: Pool;
  /** On the server, as bytes. */
  readonly path: string;
  readonly entry: FileEntry;
  readonly from: number;
  readonly to: number;
  readonly signal: AbortSignal;
}

/** @throws SourceError `changed` where size or modification time are not those listed, before or after reading */
export async function readFile(
  pool: Pool,
  path: string,
  entry: FileEntry,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Body> {
  const { from, to } = clampRange(entry, range);
  const reading: Reading = { pool, path: checkArgument(path), entry, from, to, signal };
  if (to - from > WHOLE) return releaseAfterUse(stream(reading));
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream(reading)) chunks.push(chunk);
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
}

async function* stream(reading: Reading): AsyncGenerator<Uint8Array> {
  const { pool, path, entry, from, to, signal } = reading;
  let lease: Lease | undefined;
  const onAbort = () => lease?.connection.close();
  try {
    lease = await pool.take(signal);
    const { connection } = lease;
    signal.addEventListener("abort", onAbort, { once: true });
    const whole = to === entry.size;
    // What is read in parts, or takes long, is looked at before as well.
    if (!whole || from > 0 || to - from > WHOLE) await checkVersion(connection, reading);
    let at = from;
    // An empty part is not asked for; an empty file is, and then found to be so.
    if (from < to || (whole && from === 0)) {
      for await (const chunk of receiveFrom(connection, path, from)) {
        const wanted = chunk.subarray(0, to - at);
        at += wanted.length;
        // Before it is passed on: afterwards its memory is gone.
        const more = wanted.length < chunk.length;
        if (wanted.length > 0) yield wanted;
        signal.throwIfAborted();
        if (more && whole) throw changedSinceListed(entry);
        // The rest is not waited for; FTP has no better way to say so than to hang up.
        if (at === to && !whole) break;
      }
    }
    // Over TLS, leaving in the middle has ended the session.
    if (connection.closed()) {
      lease.release();
      lease = await pool.take(signal);
    }
    if (at < to) throw changedSinceListed(entry);
    // Of what was read to its end the size is known.
    await checkVersion(lease.connection, reading, whole && from === 0 ? at : undefined);
  } catch (error) {
    signal.throwIfAborted();
    throw translate(error, entry.path);
  } finally {
    signal.removeEventListener("abort", onAbort);
    lease?.release();
  }
}

/** A server that cannot begin in the middle is read from the beginning. */
async function* receiveFrom(
  connection: Connection,
  path: string,
  from: number,
): AsyncGenerator<Uint8Array> {
  const { ways } = connection;
  if (ways.can("REST") || from === 0) {
    try {
      return yield* receive(connection, `RETR ${path}`, from);
    } catch (error) {
      if (from === 0 || ways.can("REST")) throw error;
    }
  }
  let skip = from;
  for await (const chunk of receive(connection, `RETR ${path}`)) {
    const wanted = chunk.subarray(Math.min(skip, chunk.length));
    skip -= chunk.length - wanted.length;
    if (wanted.length > 0) yield wanted;
  }
}

/** By size and time, as far as the server tells them. */
async function checkVersion(
  connection: Connection,
  { path, entry }: Reading,
  knownSize?: number,
): Promise<void> {
  const size = knownSize ?? (await askSize(connection, path)) ?? (entry.size as number);
  // Where the listing had no time to compare with, none is asked for.
  const mtime = hasTime(entry.fingerprint)
    ? await askTime(connection, path).catch(async (error: unknown) => {
        // Servers may keep times to themselves. What is gone has no size either.
        if (isRefused(error) && (await askSize(connection, path)) !== undefined) return undefined;
        throw error;
      })
    : undefined;
  if (!matches(entry.fingerprint, { size, mtime })) throw changedSinceListed(entry);
}
