/** A source that is one archive: downloaded, checked and unpacked as a whole before any of it is listed. */
import { randomUUID } from "node:crypto";
import { closeSync, openSync, readSync } from "node:fs";
import { mkdtemp, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  type Body,
  type ByteRange,
  type FileEntry,
  type Source,
  type SourceContext,
  saysFull,
  SourceError,
  untilAborted,
} from "@pannier/core";
import type { HttpClient } from "@pannier/http-client";
import { type Checksum, type ChecksumOption, resolveChecksum, verified } from "../checksum.ts";
import { guarded, limitError } from "../errors.ts";
import { probeUrl } from "../file.ts";
import { type Download, download } from "./download.ts";
import { decompress, formatOf, isProgram, MAGIC_LENGTH } from "./format.ts";
import type { Member } from "./member.ts";
import { type Place, type Unpacked as Content, writeStream } from "./scratch.ts";
import { readTar } from "./tar.ts";
import { unpack } from "./unpack.ts";
import { readZip } from "./zip.ts";

/** Names of scratch directories begin so; what is left of an earlier process is known by it. */
const PREFIX = "unpacked-";
/** Archives may grow by this much whatever their size: the factor is for larger ones. */
const FREE_EXPANSION = 10 * 1024 * 1024;
const PIECE = 256 * 1024;

export interface ArchiveSourceInit {
  readonly client: HttpClient;
  readonly url: URL;
  readonly strip: number;
  readonly path: readonly string[];
  readonly checksum: ChecksumOption | undefined;
  readonly context: SourceContext;
}

/** What was unpacked last. */
interface Unpacked {
  readonly folder: string;
  readonly content: Content;
  /** The archive's version, also kept with its entries; a name of our own where the server gives none. */
  readonly ref: string;
  readonly token: string | undefined;
}

export function archiveSource(init: ArchiveSourceInit): Source {
  const { client, url, context } = init;
  const closing = new AbortController();
  let current: Unpacked | undefined;
  let again: Promise<Unpacked> | undefined;

  /** Downloads and unpacks; what was there before goes. */
  async function load(signal: AbortSignal, wanted?: string): Promise<Unpacked> {
    const scratch = await context.scratch();
    current?.content.close();
    current = undefined;
    for (const name of await readdir(scratch)) {
      if (name.startsWith(PREFIX)) await rm(join(scratch, name), { recursive: true, force: true });
    }
    const expected = await resolveChecksum(init.checksum, url, client, signal);
    const operation = wanted === undefined ? "list" : "read";
    const attempt = async (keep: boolean) => {
      const coming = await download({ client, url, wanted, operation, scratch, keep, signal });
      let folder: string | undefined;
      try {
        folder = await mkdtemp(join(scratch, PREFIX));
        const { pin, token } = coming;
        const ref = wanted ?? pin ?? `local ${randomUUID()}`;
        const content = await unpackDownload(coming, expected, folder, signal);
        return { folder, content, ref, token };
      } catch (error) {
        if (folder !== undefined) await rm(folder, { recursive: true, force: true });
        throw saysFull(error) !== undefined && coming.kept ? new CrampedError(error) : error;
      } finally {
        await coming.end();
      }
    };
    try {
      current = await attempt(true);
    } catch (error) {
      if (!(error instanceof CrampedError)) throw error;
      // What was kept for a later attempt took the room that this one needs.
      current = await attempt(false);
    }
    return current;
  }

  async function unpackDownload(
    coming: Download,
    expected: Checksum | undefined,
    folder: string,
    signal: AbortSignal,
  ): Promise<Content> {
    const { strip, path } = init;
    const guard = createExpansionGuard(context.limits.maxExpansion);
    const { head, bytes } = await peek(guard.archived(verified(coming.bytes, expected)));
    const format = formatOf(head) ?? (isProgram(head) ? "zip" : undefined);
    const target = { folder, strip, path, limits: context.limits, grew: guard.grew };
    if (format === undefined) {
      throw new SourceError("invalid", "this is not an archive", {
        hint: "with unpack=no it is taken as one file",
      });
    }
    if (format === "zip") {
      const file = join(folder, "archive.zip");
      if (coming.kept) for await (const _ of bytes);
      else await writeStream(file, bytes);
      const zip = coming.kept ? coming.file() : file;
      if (zip === undefined) throw new CrampedError("the archive");
      const content = await unpack(
        grown(guarded(readZip(zip, signal), signal), guard.grew),
        target,
      );
      await rm(file, { force: true });
      return content;
    }
    const tar = guard.unpacked(await decompress(format, bytes));
    return unpack(readTar(guarded(tar, signal)), target);
  }

  /** Where the content of an entry is, if it is still there. */
  function placed(entry: FileEntry): Place | undefined {
    return entry.ref === current?.ref ? current?.content.find(entry.path) : undefined;
  }

  /** Unpacks the same archive once more for all that miss a file of it: it was taken, or is from an earlier process. */
  async function unpackAgain(entry: FileEntry): Promise<void> {
    if (entry.ref === undefined || entry.ref.startsWith("local ")) {
      throw new SourceError("changed", "the archive cannot be fetched again in that version");
    }
    again ??= load(closing.signal, entry.ref).finally(() => {
      again = undefined;
    });
    await again;
  }

  return {
    probe: (signal, known) => probeUrl(client, url, signal, known),
    async list(signal) {
      signal.throwIfAborted();
      await again?.catch(() => {});
      const { content, ref, token } = await load(signal);
      return { entries: content.entries(ref), ordered: true, token: () => token };
    },
    async read(entry, range, signal) {
      signal.throwIfAborted();
      let place = placed(entry);
      if (place === undefined) {
        // It is done for others as well.
        await untilAborted(unpackAgain(entry), signal);
        place = placed(entry);
      }
      if (place === undefined) {
        throw new SourceError("changed", `${JSON.stringify(entry.path)} is not in the archive`);
      }
      return readLocal(place, entry, range, signal);
    },
    localPath(entry) {
      const place = placed(entry);
      if (place?.own !== true) return undefined;
      return { path: place.file, disposable: true, check: async () => {} };
    },
    ranges: true,
    contentAddressed: true,
    async close() {
      closing.abort(new SourceError("unavailable", "the source was closed"));
      await again?.catch(() => {});
      await client.close();
      if (current !== undefined) {
        current.content.close();
        await rm(current.folder, { recursive: true, force: true }).catch(() => {});
      }
    },
  };
}

/** There was no room beside what is kept of the download. */
class CrampedError extends Error {
  constructor(cause: unknown) {
    super("no room beside the download", { cause });
  }
}

/** Compares what comes out of an archive with what went in so far: claims of the server do not count. */
function createExpansionGuard(factor: number) {
  let received = 0;
  let produced = 0;
  const grew = (bytes: number) => {
    produced += bytes;
    if (produced > FREE_EXPANSION && produced > received * factor) {
      throw limitError(`the archive grows to more than ${factor} times its size`);
    }
  };
  return {
    grew,
    async *archived(bytes: AsyncIterable<Uint8Array>) {
      for await (const chunk of bytes) {
        received += chunk.byteLength;
        yield chunk;
      }
    },
    async *unpacked(bytes: AsyncIterable<Uint8Array>) {
      for await (const chunk of bytes) {
        grew(chunk.byteLength);
        yield chunk;
      }
    },
  };
}

/** Counts the content of members that do not come out of one stream. */
async function* grown(members: AsyncIterable<Member>, grew: (bytes: number) => void) {
  for await (const member of members) {
    if (member.kind === "file") grew(member.size);
    yield member;
  }
}

/** The first bytes, and all bytes. */
async function peek(body: AsyncIterable<Uint8Array>) {
  const iterator = body[Symbol.asyncIterator]();
  let head = Buffer.alloc(0);
  while (head.byteLength < MAGIC_LENGTH) {
    const { done, value } = await iterator.next();
    if (done === true) break;
    head = Buffer.concat([head, value]);
  }
  async function* all(): AsyncGenerator<Uint8Array> {
    yield head;
    yield* { [Symbol.asyncIterator]: () => iterator };
  }
  return { head, bytes: all() };
}

async function readLocal(
  place: Place,
  entry: FileEntry,
  range: ByteRange | undefined,
  signal: AbortSignal,
): Promise<Body> {
  const offset = range?.offset ?? 0;
  const length = Math.min(range?.length ?? Infinity, Math.max(0, (entry.size ?? 0) - offset));
  if (length === 0) return new Uint8Array(0);
  return length <= PIECE
    ? readPiece(place, offset, length)
    : pieces(place, offset, offset + length, signal);
}

/** Opens the file for each piece: a body that nobody reads to its end holds nothing. */
async function* pieces(
  place: Place,
  start: number,
  end: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (let offset = start; offset < end; offset += PIECE) {
    signal.throwIfAborted();
    yield await readPiece(place, offset, Math.min(PIECE, end - offset));
  }
}

/** Synchronous where that is quicker than handing it over: a file of a few bytes, of which there may be many. */
async function readPiece(place: Place, offset: number, length: number): Promise<Uint8Array> {
  const { file, start, own } = place;
  const buffer = Buffer.alloc(length);
  const read = own ? readAt : readAtOnce;
  const bytesRead = await read(file, buffer, start + offset).catch((error: unknown) => {
    throw new SourceError("changed", "the unpacked file is gone", { cause: error });
  });
  if (bytesRead === length) return buffer;
  throw new SourceError("changed", "the unpacked file is shorter than it was");
}

async function readAt(file: string, buffer: Uint8Array, position: number): Promise<number> {
  const handle = await open(file);
  try {
    return (await handle.read(buffer, 0, buffer.byteLength, position)).bytesRead;
  } finally {
    await handle.close();
  }
}

async function readAtOnce(file: string, buffer: Uint8Array, position: number): Promise<number> {
  const fd = openSync(file, "r");
  try {
    return readSync(fd, buffer, 0, buffer.byteLength, position);
  } finally {
    closeSync(fd);
  }
}
