/** One file from its source onto the volume: whole, checked, and with nothing left behind where that fails. */
import { quotePath } from "../snapshot/path.ts";
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
  closeOutput,
  createFile,
  discardFile,
  finishFile,
  truncateFile,
  writeChunk,
} from "./output.ts";
import { fetchParts } from "./parts.ts";
import { cutShort, receive, retryRead } from "./receive.ts";

/** From this size on, and where ranges are cheap, a file is fetched in parts side by side. */
const PARALLEL_FROM = 64 * 1024 * 1024;
const PART_SIZE = 16 * 1024 * 1024;

/**
 * Fetches one file. What has been created is removed again if anything fails.
 *
 * @throws SourceError as the source threw it once tries are used up; `changed` where the file is longer than listed;
 *   `invalid` where it exceeds `maxFileBytes` or twice did not have the checksum its source vouches for
 * @throws NoRoomError on ENOSPC, EDQUOT and EFBIG
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
  /** `undefined` before the first byte came, so that a read that fails at once touches nothing. */
  fd: number | undefined;
  created: boolean;
  /** Bytes written, from the start on. */
  size: number;
  hash: ContentHash;
}

async function fetchContent(options: FetchOptions): Promise<FetchedFile> {
  const { entry } = options;
  const hash = createContentHash(entry.digest);
  const output: Output = { fd: undefined, created: false, size: 0, hash };
  try {
    let content = await fetchOnce(options, output);
    if (content.wrong !== undefined) {
      // Once more: a fault on the way, or in a resumed read, is gone the second time.
      await startOver(options, output);
      content = await fetchOnce(options, output);
      if (content.wrong !== undefined) throw wrongChecksum(entry, content);
    }
    options.signal.throwIfAborted();
    const fd = await opened(options, output);
    const facts = await finishFile(fd, options, options.pace);
    output.fd = undefined;
    // NFS tells only here that there was no room.
    await closeOutput(fd, options.pace);
    return { size: output.size, sha256: content.sha256, ...facts };
  } catch (error) {
    if (output.fd !== undefined) await closeFile(output.fd).catch(() => {});
    if (output.created) await discardFile(options.destination);
    throw error;
  }
}

/** The whole content into the output, from its start. */
async function fetchOnce(options: FetchOptions, output: Output): Promise<ContentDigest> {
  const { size } = options.entry;
  const inParts =
    size !== undefined &&
    size >= PARALLEL_FROM &&
    options.source.ranges === true &&
    options.limiter.max > 1;
  if (!inParts) return fetchStream(options, output);
  const content = await fetchParts(options, await opened(options, output), size, PART_SIZE);
  output.size = size;
  return content;
}

async function startOver({ entry }: FetchOptions, output: Output): Promise<void> {
  if (output.fd !== undefined) await truncateFile(output.fd, 0);
  output.size = 0;
  output.hash = createContentHash(entry.digest);
}

async function opened(options: FetchOptions, output: Output): Promise<number> {
  if (output.fd === undefined) {
    output.fd = await createFile(options.destination, options.mode, options.pace);
    output.created = true;
  }
  return output.fd;
}

/** From the first byte to the last; after a cut, on from where it broke off if the source can. */
async function fetchStream(options: FetchOptions, output: Output): Promise<ContentDigest> {
  const { entry, source } = options;
  await retryRead(options, async () => {
    if (output.size > 0 && source.ranges !== true) await startOver(options, output);
    // Everything came, and the stream broke on its last step.
    if (output.size > 0 && output.size === entry.size) return;
    const range = output.size > 0 ? { offset: output.size } : undefined;
    const onChunk = async (chunk: Uint8Array) => {
      const size = output.size + chunk.length;
      options.onBytes?.(chunk.length);
      checkLimit(options, size);
      if (entry.size !== undefined && size > entry.size) {
        throw new SourceError(
          "changed",
          `${quotePath(entry.path)} is longer than the ${entry.size} bytes listed`,
        );
      }
      // An adapter may reuse the chunk's memory, so nothing is asked for before this one is written.
      const writing = writeChunk(await opened(options, output), chunk, output.size, options.pace);
      output.hash.update(chunk);
      await writing;
      output.size = size;
      await options.bandwidth?.take(chunk.length, options.signal);
    };
    await receive(options, range, onChunk, (digest) => output.hash.expect(digest));
    if (entry.size !== undefined && output.size < entry.size) throw cutShort(entry, output.size);
  });
  return output.hash.finish();
}
