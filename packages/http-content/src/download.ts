/** Downloads an archive, and keeps what came of one that was cut, so that the next attempt goes on from there. */
import { hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeAll } from "@pannier/archive";
import { SourceError } from "@pannier/core/adapter";
import {
  type HttpClient,
  type HttpResponse,
  type Validator,
  validatorOf,
  settledValidator,
  sameVersion,
  ifMatchHeaders,
} from "@pannier/http-client";

/** A part's name begins so; the rest is a digest of the URL. Beside it lies a note. */
const PREFIX = "part-";
const NOTE = ".json";
/** Smaller archives are fetched again as a whole. */
const WORTH_KEEPING = 1 << 20;

export interface DownloadInit {
  readonly client: HttpClient;
  readonly url: URL;
  /** The version that it has to be. */
  readonly wanted: Validator | undefined;
  readonly operation: string;
  readonly scratch: string;
  /** False: nothing is kept, and nothing that was kept is used. */
  readonly keep: boolean;
  readonly signal: AbortSignal;
}

export interface Download {
  /** The version that comes. */
  readonly validator: Validator | undefined;
  /** The same, unless it is a date of just now. */
  readonly token: Validator | undefined;
  /** All of it, from the first byte on: what an earlier attempt kept, then what comes. Fails where the connection is cut. */
  readonly bytes: AsyncIterable<Uint8Array>;
  /** Whether what comes is kept on the disk as well. */
  readonly kept: boolean;
  /** The file that all of it is in, where it still is kept; gone after {@link end}. */
  file(): string | undefined;
  /** Frees what it holds. Keeps what has come if it was cut or aborted; what came whole, or is of no use, is removed. Never throws. */
  end(): Promise<void>;
}

/** What a part is the beginning of, and how much of the file is good: more may have been written by a killed process. */
interface Note {
  readonly etag: string;
  readonly size: number;
}

/** @throws SourceError `changed` where the server has another version than the one wanted */
export async function download(init: DownloadInit): Promise<Download> {
  const { scratch, wanted, signal } = init;
  const part = join(scratch, PREFIX + hash("sha256", init.url.href).slice(0, 16));
  await sweep(scratch, part);
  const giveUp = new AbortController();
  const { response, kept } = await ask(init, part, AbortSignal.any([signal, giveUp.signal]));
  if (!sameVersion(response, wanted)) {
    giveUp.abort();
    throw new SourceError("changed", "the archive changed since it was listed");
  }
  const etag = response.headers["etag"] ?? "";
  let output: FileHandle | undefined;
  try {
    if (kept === undefined) await removePart(part);
    if (kept !== undefined) output = await open(part, "r+");
    else if (init.keep && worthKeeping(response)) output = await open(part, "wx");
  } catch (error) {
    // Nobody reads what the server goes on to send.
    giveUp.abort();
    throw error;
  }
  let size = kept?.size ?? 0;
  let cut = false;
  let writing = Promise.resolve();

  async function write(chunk: Uint8Array): Promise<void> {
    if (output === undefined) return;
    try {
      await writeAll(output, chunk, size);
      size += chunk.byteLength;
    } catch {
      // It was only to save time. That there is no room will show elsewhere, if it matters.
      await output.close().catch(() => {});
      output = undefined;
      await removePart(part);
    }
  }

  async function* bytes(): AsyncGenerator<Uint8Array> {
    if (kept !== undefined) {
      const beginning = createReadStream(part, { end: kept.size - 1, highWaterMark: 256 * 1024 });
      for await (const chunk of beginning as AsyncIterable<Buffer>) {
        signal.throwIfAborted();
        yield chunk;
      }
    }
    const body = response.body[Symbol.asyncIterator]();
    for (;;) {
      const next = await body.next().catch((error: unknown) => {
        cut = true;
        throw error;
      });
      if (next.done === true) return;
      writing = write(next.value);
      await writing;
      yield next.value;
    }
  }

  return {
    validator: validatorOf(response),
    token: settledValidator(response),
    bytes: bytes(),
    kept: output !== undefined,
    file: () => (output === undefined ? undefined : part),
    async end() {
      giveUp.abort();
      await writing;
      if (output === undefined) return;
      let noted = false;
      try {
        if ((cut || signal.aborted) && size >= WORTH_KEEPING) {
          // First the content, then the word that it is there.
          await output.datasync();
          await writeFile(part + NOTE, JSON.stringify({ etag, size } satisfies Note));
          noted = true;
        }
      } catch {
        // Then the next attempt starts over.
      }
      await output.close().catch(() => {});
      if (!noted) await removePart(part).catch(() => {});
    },
  };
}

/** Asks for the rest of what is kept, or for the whole where nothing is, or where it is of another version by now. */
async function ask(
  { client, url, wanted, operation, keep }: DownloadInit,
  part: string,
  signal: AbortSignal,
): Promise<{ response: HttpResponse; kept: Note | undefined }> {
  const headers = ifMatchHeaders(wanted);
  const note = keep ? await readNote(part) : undefined;
  try {
    if (note !== undefined && sameVersion({ headers: { etag: note.etag } }, wanted)) {
      const response = await client.request(url, {
        headers: { ...headers, range: `bytes=${note.size}-`, "if-range": note.etag },
        operation,
        signal,
        expect: [200, 206, 416],
      });
      if (response.status === 200) return { response, kept: undefined };
      if (continues(response, note)) return { response, kept: note };
      await response.discard();
    }
    return { response: await client.request(url, { headers, operation, signal }), kept: undefined };
  } catch (error) {
    if (error instanceof SourceError && !error.transient) await removePart(part);
    throw error;
  }
}

/** Whether an answer is the rest of just this. Servers have ignored If-Range. */
function continues({ status, headers }: HttpResponse, { etag, size }: Note): boolean {
  const [, start] = /^bytes (\d+)-\d+\/(?:\d+|\*)$/.exec(headers["content-range"] ?? "") ?? [];
  return status === 206 && headers["etag"] === etag && Number(start) === size;
}

/** Only a strong ETag says that the bytes are the same (RFC 9110, 13.1.5). */
function worthKeeping({ headers }: HttpResponse): boolean {
  return (
    headers["etag"]?.startsWith('"') === true &&
    headers["accept-ranges"] === "bytes" &&
    Number(headers["content-length"]) >= WORTH_KEEPING
  );
}

async function readNote(part: string): Promise<Note | undefined> {
  try {
    const { etag, size } = JSON.parse(await readFile(part + NOTE, "utf8")) as Note;
    const there = await stat(part);
    return typeof etag === "string" && size >= WORTH_KEEPING && there.size >= size
      ? { etag, size }
      : undefined;
  } catch {
    return undefined;
  }
}

/** The note first: it must never stand beside another content. */
async function removePart(part: string): Promise<void> {
  await rm(part + NOTE, { force: true });
  await rm(part, { force: true });
}

/** Removes the parts of other URLs: this one with an older signature in its query. */
async function sweep(scratch: string, part: string): Promise<void> {
  for (const name of await readdir(scratch)) {
    const path = join(scratch, name);
    if (name.startsWith(PREFIX) && !path.startsWith(part)) await rm(path, { force: true });
  }
}
