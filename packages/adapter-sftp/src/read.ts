/** The content of a file, as long as it is the version that was listed. */
import { type Body, type ByteRange, type FileEntry, releaseAfterUse } from "@pannier/core/adapter";
import { changedSinceListed, clampRange } from "@pannier/file-server";
import type { Attributes } from "ssh2";
import type { Callback, Session } from "./connection.ts";
import { translate } from "./errors.ts";
import { isVersion } from "./told.ts";

/** Up to this size a file comes in one piece. */
const WHOLE = 256 * 1024;
/** Bytes of one stream that are asked for and not yet there. */
const READ_AHEAD_BYTES = 1024 * 1024;

interface OpenFile {
  readonly session: Session;
  readonly handle: Buffer;
  readonly entry: FileEntry;
  readonly signal: AbortSignal;
}

/**
 * @param path on the server
 * @throws SourceError `changed` where size or modification time are not those listed, before or after reading
 */
export async function readFile(
  session: Session,
  path: string,
  entry: FileEntry,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Body> {
  const { from, to } = clampRange(entry, range);
  if (to - from > WHOLE) return releaseAfterUse(stream(session, path, entry, from, to, signal));
  try {
    const file = await openFile(session, path, entry, signal);
    try {
      // All on their way at once: a server does what concerns one handle in the order in which it was asked.
      const parts = chunks(from, to, session.readSize).map(([at, end]) => readChunk(file, at, end));
      const [content] = await Promise.all([Promise.all(parts), checkVersion(file)]);
      return content.length === 1 ? (content[0] as Buffer) : Buffer.concat(content);
    } finally {
      closeFile(file);
    }
  } catch (error) {
    throw failure(error, entry);
  }
}

async function* stream(
  session: Session,
  path: string,
  entry: FileEntry,
  from: number,
  to: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let file: OpenFile | undefined;
  try {
    file = await openFile(session, path, entry, signal);
    await checkVersion(file);
    const asked: Promise<Buffer>[] = [];
    const rest = chunks(from, to, session.readSize);
    const atOnce = Math.max(2, Math.floor(READ_AHEAD_BYTES / session.readSize));
    for (let next = 0; next < rest.length || asked.length > 0;) {
      while (asked.length < atOnce && next < rest.length) {
        const [at, end] = rest[next++] as [number, number];
        const part = readChunk(file, at, end);
        // Nobody waits for those behind one that failed.
        part.catch(() => {});
        asked.push(part);
      }
      yield await (asked.shift() as Promise<Buffer>);
      signal.throwIfAborted();
    }
    await checkVersion(file);
  } catch (error) {
    throw failure(error, entry);
  } finally {
    if (file !== undefined) closeFile(file);
  }
}

function openFile(
  session: Session,
  path: string,
  entry: FileEntry,
  signal: AbortSignal,
): Promise<OpenFile> {
  return session
    .ask<Buffer>(
      signal,
      (sftp, done) => sftp.open(path, "r", done),
      (handle) => closeFile({ session, handle }),
    )
    .then((handle) => ({ session, handle, entry, signal }));
}

function closeFile({ session, handle }: Pick<OpenFile, "session" | "handle">): void {
  session.tell((sftp, done) => sftp.close(handle, done));
}

/** A server may give less than was asked for; nothing at all is the end of the file. */
async function readChunk(
  { session, handle, entry, signal }: OpenFile,
  from: number,
  to: number,
): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(to - from);
  for (let got = 0; got < buffer.length;) {
    const count = await session.ask<number>(signal, (sftp, done) =>
      sftp.read(handle, buffer, got, buffer.length - got, from + got, done),
    );
    // What is no number is no content.
    if (!(count > 0)) throw changedSinceListed(entry);
    got += count;
  }
  return buffer;
}

async function checkVersion({ session, handle, entry, signal }: OpenFile): Promise<void> {
  const found = await session.ask<Partial<Attributes>>(signal, (sftp, done) =>
    sftp.fstat(handle, done as Callback<Partial<Attributes>>),
  );
  if (!isVersion(entry, found)) throw changedSinceListed(entry);
}

function chunks(from: number, to: number, size: number): [from: number, to: number][] {
  const count = Math.ceil((to - from) / size);
  return Array.from({ length: count }, (_, index) => {
    const at = from + index * size;
    return [at, Math.min(at + size, to)];
  });
}

function failure(error: unknown, entry: FileEntry): unknown {
  return translate(error, entry.path);
}
