/** One file from its source onto the volume: whole, checked, and with nothing left behind where that fails. */
import { quotePath } from "../source/path.ts";
import type { FileEntry } from "../source/contract.ts";
import { SourceError } from "../source/errors.ts";
import {
  type ContentDigest,
  type ContentHash,
  createContentHash,
  wrongChecksum,
} from "./content-hash.ts";
import { checkLimit, type FetchedFile, type FetchOptions } from "./fetch-options.ts";
import { adoptFile, cloneFile } from "./local-file.ts";
import {
  asNoRoom,
  closeFile,
  createFile,
  discardFile,
  type DiskFacts,
  finishFile,
  truncateFile,
} from "./output.ts";
import { fetchParts, PartLost } from "./parts.ts";
import { cutShort, receive, retryRead } from "./receive.ts";
import { SMALL } from "./small-files.ts";
import { type WriteBehind, writeBehind } from "./write-behind.ts";

/** From this size on, and where ranges are cheap, a file is fetched in parts side by side. */
const PARALLEL_FROM = 64 * 1024 * 1024;
const PART_SIZE = 16 * 1024 * 1024;

/**
 * Fetches one file. What has been created is removed again if anything fails.
 *
 * @throws SourceError as the source threw it once tries are used up; `changed` where the file is longer than listed;
 *   `invalid` where it exceeds `maxFileBytes` or twice did not have the checksum its source vouches for
 * @throws NoRoomError on ENOSPC, EDQUOT and EFBIG, and where `unlisted` has no room
 * @throws Error EEXIST where the destination exists; other errors of the file system as they are
 */
export async function fetchFile(options: FetchOptions): Promise<FetchedFile> {
  options.signal.throwIfAborted();
  checkLimit(options, options.entry.size ?? 0);
  try {
    const local = options.source.localPath?.(options.entry);
    if (local !== undefined) {
      const done = await (local.disposable ? adoptFile : cloneFile)(local, options);
      if (done !== undefined) return done;
    }
    return await fetchContent(options);
  } catch (error) {
    throw asNoRoom(error, options.entry.path);
  }
}

/** The file while it is being written. */
interface Output {
  /** A small file's content as far as it has come, written once it is whole; `undefined` for one that may be large. */
  chunks: Uint8Array[] | undefined;
  /** `undefined` before the first byte came, so that a read that fails at once touches nothing. */
  fd: number | undefined;
  writer: WriteBehind | undefined;
  created: boolean;
  /** Bytes that came, from the start on. */
  size: number;
  hash: ContentHash;
}

/** Where the content of a small file is held. */
function held({ size }: FileEntry): Uint8Array[] | undefined {
  return size !== undefined && size <= SMALL ? [] : undefined;
}

async function fetchContent(options: FetchOptions): Promise<FetchedFile> {
  const { entry } = options;
  const output: Output = {
    chunks: held(entry),
    fd: undefined,
    writer: undefined,
    created: false,
    size: 0,
    hash: createContentHash(entry.digest),
  };
  try {
    let content = await fetchOnce(options, output).catch(lostPart);
    if (content === undefined || content.wrong !== undefined) {
      // Once more: a fault on the way, or in a resumed read, is gone the second time. Without lanes, whose answers nobody else has looked at.
      await (content === undefined ? recreate : startOver)(options, output);
      content = await fetchOnce({ ...options, lanes: undefined }, output);
      if (content.wrong !== undefined) throw wrongChecksum(entry, content);
    }
    options.signal.throwIfAborted();
    const facts = await finish(options, output);
    return { size: output.size, sha256: content.sha256, ...facts };
  } catch (error) {
    await output.writer?.restart().catch(() => {});
    if (output.fd !== undefined) await closeFile(output.fd).catch(() => {});
    if (output.created) await discardFile(options.destination);
    throw error;
  }
}

async function finish(options: FetchOptions, output: Output): Promise<DiskFacts> {
  const { chunks } = output;
  if (chunks !== undefined)
    return options.smallFiles.write({
      path: options.destination,
      chunks,
      mode: options.mode,
      mtime: options.mtime,
      owner: options.owner,
    });
  const fd = await opened(options, output);
  await output.writer?.flush();
  const facts = await finishFile(fd, options);
  output.fd = undefined;
  // NFS tells only here that there was no room.
  await closeFile(fd);
  return facts;
}

/** The whole content into the output, from its start. */
async function fetchOnce(options: FetchOptions, output: Output): Promise<ContentDigest> {
  const { size } = options.entry;
  const partSize = partSizeOf(options);
  if (size === undefined || partSize === undefined) return fetchStream(options, output);
  const content = await fetchParts(options, await opened(options, output), size, partSize);
  output.size = size;
  return content;
}

/** `undefined` where it comes in one, and is small or of a source that cannot go on in the middle. */
function partSizeOf({ entry: { size }, source, limiter }: FetchOptions): number | undefined {
  if (size === undefined || size < PARALLEL_FROM) return undefined;
  // One part, which a thread hashes all the same.
  if (source.ranges === "resume") return size;
  return source.ranges === true && limiter.max > 1 ? PART_SIZE : undefined;
}

/** `undefined` for a file that a thread may still write to. */
function lostPart(error: unknown): undefined {
  if (!(error instanceof PartLost)) throw error;
}

async function recreate(options: FetchOptions, output: Output): Promise<void> {
  const { fd } = output;
  output.fd = undefined;
  if (fd !== undefined) await closeFile(fd);
  await discardFile(options.destination);
  output.created = false;
  await startOver(options, output);
}

async function startOver({ entry, unlisted }: FetchOptions, output: Output): Promise<void> {
  if (entry.size === undefined) unlisted?.giveBack(output.size);
  output.chunks = held(entry);
  await output.writer?.restart();
  if (output.fd !== undefined) await truncateFile(output.fd, 0);
  output.size = 0;
  output.hash = createContentHash(entry.digest);
}

async function opened(options: FetchOptions, output: Output): Promise<number> {
  if (output.fd === undefined) {
    output.fd = await createFile(options.destination, options.mode);
    output.created = true;
  }
  return output.fd;
}

function canResume({ ranges = false }: FetchOptions["source"]): boolean {
  return ranges !== false;
}

/** From the first byte to the last; after a cut, on from where it broke off if the source can. */
async function fetchStream(options: FetchOptions, output: Output): Promise<ContentDigest> {
  const { entry, source } = options;
  await retryRead(options, async () => {
    if (output.size > 0 && !canResume(source)) await startOver(options, output);
    // Everything came, and the stream broke on its last step.
    if (output.size > 0 && output.size === entry.size) return;
    const range = output.size > 0 ? { offset: output.size } : undefined;
    const onChunk = async (chunk: Uint8Array, isWhole: boolean) => {
      const size = output.size + chunk.length;
      options.onBytes?.(chunk.length);
      checkLimit(options, size);
      if (entry.size !== undefined && size > entry.size) {
        throw new SourceError(
          "changed",
          `${quotePath(entry.path)} is longer than the ${entry.size} bytes listed`,
        );
      }
      if (entry.size === undefined) options.unlisted?.take(chunk.length);
      await put(options, output, chunk, isWhole);
      output.size = size;
      await options.bandwidth?.take(chunk.length, options.signal);
    };
    await receive(options, range, onChunk, (digest) => output.hash.expect(digest));
    if (entry.size !== undefined && output.size < entry.size) throw cutShort(entry, output.size);
  });
  return output.hash.finish();
}

async function put(
  options: FetchOptions,
  output: Output,
  chunk: Uint8Array,
  isWhole: boolean,
): Promise<void> {
  output.hash.update(chunk);
  if (isWhole && output.size === 0 && output.fd === undefined && chunk.length <= SMALL)
    output.chunks = [chunk];
  // Not by `slice`, which copies nothing of a Buffer.
  else if (output.chunks !== undefined) output.chunks.push(isWhole ? chunk : Buffer.from(chunk));
  else {
    output.writer ??= writeBehind(await opened(options, output), 0, options.entry.size);
    await output.writer.write(chunk);
  }
}
