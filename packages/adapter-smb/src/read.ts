/** The content of a file, as long as it is the version that was listed. */
import { type Body, type ByteRange, type FileEntry, releaseAfterUse } from "@pannier/core/adapter";
import { changedSinceListed, clampRange, matches } from "@pannier/file-server";
import { encodePath } from "./address.ts";
import { isDirectory, translate } from "./errors.ts";
import type { Helper } from "./helper.ts";
import type { Pool } from "./pool.ts";
import type { Facts } from "./protocol.ts";

/** Up to this size a file comes in one piece. */
const WHOLE = 256 * 1024;
/** Bytes of one read: 64 KiB come at a fifth of the speed. */
const CHUNK = 1024 * 1024;
/** Reads of one file that are asked for and not yet there. */
const READ_AHEAD_READS = 2;

export interface Read {
  readonly pool: Pool;
  /** Below the share. */
  readonly path: string;
  readonly entry: FileEntry;
  readonly range: ByteRange | undefined;
  readonly signal: AbortSignal;
}

/** @throws SourceError `changed` where size or modification time are not those listed, before or after reading */
export async function readFile(read: Read): Promise<Body> {
  const { pool, entry, range, signal } = read;
  const path = encodePath(read.path);
  const { from, to } = clampRange(entry, range);
  const { size = 0 } = entry;
  if (size > WHOLE) return releaseAfterUse(stream(read, from, to));
  try {
    const { facts, bytes } = await pool.use(signal, (helper) =>
      helper.ask({ op: "file", path, length: size }, signal),
    );
    check(entry, facts);
    if (bytes.length !== size) throw changedSinceListed(entry);
    return bytes.subarray(from, to);
  } catch (error) {
    throw failure(error, entry);
  }
}

async function* stream(read: Read, from: number, to: number): AsyncGenerator<Uint8Array> {
  const { pool, entry, signal } = read;
  const lease = await pool.lease(signal);
  let reason: unknown;
  try {
    yield* streamFrom(lease.helper, read, from, to);
  } catch (error) {
    reason = error;
    throw failure(error, entry);
  } finally {
    lease.release(reason);
  }
}

async function* streamFrom(
  helper: Helper,
  { path: plain, entry, signal }: Read,
  from: number,
  to: number,
): AsyncGenerator<Uint8Array> {
  const path = encodePath(plain);
  const leave = (handle: number) => helper.tell({ op: "close", handle, path });
  const { handle, facts } = await helper.ask({ op: "open", path }, signal, (late) =>
    leave(late.handle),
  );
  let isOpen = true;
  try {
    check(entry, facts);
    const asked: Promise<Buffer>[] = [];
    for (let at = from; at < to || asked.length > 0;) {
      while (at < to && asked.length < READ_AHEAD_READS) {
        const length = Math.min(CHUNK, to - at);
        const part = readPart(helper, { handle, offset: at, length }, entry, signal);
        // Nobody waits for the second where the first failed.
        part.catch(() => {});
        asked.push(part);
        at += length;
      }
      yield await (asked.shift() as Promise<Buffer>);
      signal.throwIfAborted();
    }
    // Of parts of a file that are read side by side, the one that is closed last sees what became of it meanwhile.
    isOpen = false;
    check(entry, (await helper.ask({ op: "close", handle, path }, signal)).facts);
  } finally {
    if (isOpen) leave(handle);
  }
}

async function readPart(
  helper: Helper,
  part: { readonly handle: number; readonly offset: number; readonly length: number },
  entry: FileEntry,
  signal: AbortSignal,
): Promise<Buffer> {
  const { bytes } = await helper.ask({ op: "read", ...part }, signal);
  // The file ends sooner than it did.
  if (bytes.length < part.length) throw changedSinceListed(entry);
  return bytes;
}

function check(entry: FileEntry, facts: Facts): void {
  if (facts.kind !== "file" || !matches(entry.fingerprint, facts)) throw changedSinceListed(entry);
}

function failure(error: unknown, entry: FileEntry): unknown {
  return isDirectory(error) ? changedSinceListed(entry) : translate(error, entry.path);
}
