/** A source that is one archive: downloaded, checked and unpacked as a whole before any of it is listed. */
import { randomUUID } from "node:crypto";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import {
  createExpansionGuard,
  decompress,
  formatOf,
  guarded,
  isProgram,
  type Member,
  peek,
  type Extent,
  readExtent,
  readTar,
  readZip,
  unpack,
  type Unpacked as Content,
  withoutPlace,
  writeStream,
} from "@pannier/archive";
import type { LaneData } from "@pannier/archive/lane";
import {
  type CheckedSignature,
  type FileEntry,
  IGNORE_FILE,
  InternalError,
  type Source,
  type SourceContext,
  saysFull,
  SourceError,
  type Limits,
  NoRoomError,
  untilAborted,
} from "@pannier/core/adapter";
import type { HttpClient } from "@pannier/http-client";
import { type FileChecks, openFileChecks, type ReadBeside } from "@pannier/signatures";
import { type Checksum, verified } from "./checksum.ts";
import { type Download, download } from "./download.ts";

/** Names of scratch directories begin so; what is left of an earlier process is known by it. */
const PREFIX = "unpacked-";

/** An archive, as it is to be had now. */
export interface LocatedArchive {
  readonly url: URL;
  /** What it has to hash to. */
  readonly checksum: Checksum | undefined;
  /** Of the listing; default: the version of what is downloaded. */
  readonly token?: string | undefined;
  /** Of the listing. */
  readonly revision?: string | undefined;
}

export interface ArchiveSourceInit {
  readonly client: HttpClient;
  /** Finds the archive: called before each download. */
  readonly locate: (signal: AbortSignal) => Promise<LocatedArchive>;
  /** Reads what lies beside it: signatures. */
  readonly beside: (archive: LocatedArchive, signal: AbortSignal) => ReadBeside;
  readonly probe: Source["probe"];
  readonly strip: number;
  /** Segments of the directory in it that becomes the root; empty for all of it. */
  readonly path: readonly string[];
  readonly context: SourceContext;
  /** Of the lane for what is unpacked. */
  readonly laneModule: URL;
}

/** What was unpacked last. */
interface Unpacked {
  readonly folder: string;
  readonly content: Content;
  /** The archive's version, also kept with its entries; a name of our own where the server gives none. */
  readonly ref: string;
  readonly token: string | undefined;
  readonly revision: string | undefined;
  /** Where somebody has to have signed it. */
  readonly signature: CheckedSignature | undefined;
}

/**
 * A source that is an archive on a web server. `close` closes the client.
 *
 * Errors of the source: `invalid` for what is no archive, is damaged, or not what its checksum says.
 */
export function archiveSource(init: ArchiveSourceInit): Source {
  const { client, context } = init;
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
    const located = await init.locate(signal);
    const attempt = (keep: boolean) =>
      downloadAndUnpack(init, located, { wanted, scratch, keep }, signal);
    try {
      current = await attempt(true);
    } catch (error) {
      if (!(error instanceof CrampedError)) throw error;
      // What was kept for a later attempt took the room that this one needs.
      current = await attempt(false);
    }
    return current;
  }

  /** Where the content of an entry is, if it is still there. */
  function extentOf(entry: FileEntry): Extent | undefined {
    return refOf(entry) === current?.ref ? current?.content.find(entry.path) : undefined;
  }

  /** Unpacks the same archive once more for all that miss a file of it: it was taken, or is from an earlier process. */
  async function unpackAgain(entry: FileEntry): Promise<void> {
    const ref = refOf(entry);
    if (ref === undefined || ref.startsWith("local ")) {
      throw new SourceError("changed", "the archive cannot be fetched again in that version");
    }
    again ??= load(closing.signal, ref).finally(() => {
      again = undefined;
    });
    await again;
  }

  return {
    probe: init.probe,
    async list(signal, scope) {
      signal.throwIfAborted();
      await again?.catch(() => {});
      const { content, ref, token, revision, signature } = await load(signal);
      await scope?.ignoreFile(content.entry(IGNORE_FILE, ref));
      const entries = content.entries(ref, scope);
      return { entries, ordered: true, revision, token: () => token, signature };
    },
    async read(entry, range, signal) {
      signal.throwIfAborted();
      let extent = extentOf(entry);
      if (extent === undefined) {
        // It is done for others as well.
        await untilAborted(unpackAgain(entry), signal);
        extent = extentOf(entry);
      }
      if (extent === undefined) {
        throw new SourceError("changed", `${JSON.stringify(entry.path)} is not in the archive`);
      }
      return readExtent(extent, entry, range, signal);
    },
    async lane() {
      if (current === undefined) return undefined;
      const scratch = await context.scratch();
      return { module: init.laneModule, data: { scratch } satisfies LaneData };
    },
    localPath(entry) {
      const extent = extentOf(entry);
      if (extent?.own !== true) return undefined;
      return { path: extent.file, disposable: true, check: async () => {} };
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

interface Attempt {
  /** The version that is wanted; `undefined`: the newest. */
  readonly wanted: string | undefined;
  readonly scratch: string;
  /** Whether what comes is kept for a later attempt. */
  readonly keep: boolean;
}

/** @throws CrampedError where there is room only without what was kept */
async function downloadAndUnpack(
  init: ArchiveSourceInit,
  located: Awaited<ReturnType<ArchiveSourceInit["locate"]>>,
  { wanted, scratch, keep }: Attempt,
  signal: AbortSignal,
): Promise<Unpacked> {
  const { client, context } = init;
  const { url, checksum, revision } = located;
  const { signers = [] } = context;
  const checks =
    signers.length === 0 ? undefined : await openFileChecks(init.beside(located, signal), signers);
  const operation = wanted === undefined ? "list" : "read";
  const coming = await download({ client, url, wanted, operation, scratch, keep, signal });
  let folder: string | undefined;
  try {
    folder = await mkdtemp(join(scratch, PREFIX));
    const { validator } = coming;
    const token = located.token ?? coming.token;
    const ref = wanted ?? validator ?? `local ${randomUUID()}`;
    const bytes = checks === undefined ? coming.bytes : passing(coming.bytes, checks);
    const content = await unpackDownload(init, { ...coming, bytes }, checksum, folder, signal);
    try {
      return { folder, content, ref, token, revision, signature: checks?.finish() };
    } catch (error) {
      content.close();
      throw error;
    }
  } catch (error) {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
    throw saysFull(error) !== undefined && coming.kept ? new CrampedError(error) : error;
  } finally {
    await coming.end();
  }
}

async function unpackDownload(
  { strip, path, context }: ArchiveSourceInit,
  coming: Download,
  expected: Checksum | undefined,
  folder: string,
  signal: AbortSignal,
): Promise<Content> {
  const guard = createExpansionGuard("the archive", context.limits.maxExpansion);
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
    const all = atMost(bytes, mostOfZip(context.limits, path));
    if (coming.kept) for await (const _ of all);
    else await writeStream(file, all);
    const zip = coming.kept ? coming.file() : file;
    if (zip === undefined) throw new CrampedError("the archive");
    const content = await unpack(grown(guarded(readZip(zip, signal), signal), guard.grew), target);
    await rm(file, { force: true });
    return content;
  }
  const tar = guard.unpacked(await decompress(format, bytes));
  return unpack(readTar(guarded(tar, signal)), target);
}

function refOf({ ref }: FileEntry): string | undefined {
  return ref === undefined ? undefined : withoutPlace(ref);
}

async function* passing(bytes: AsyncIterable<Uint8Array>, checks: FileChecks) {
  for await (const chunk of bytes) {
    checks.update(chunk);
    yield chunk;
  }
}

/** Bytes of a zip archive beside the content of its files: names, times, a program in front of it. */
const BESIDE_CONTENT = 64 << 20;

/**
 * Bytes that the file of a zip archive may have: it is read only once all of it is there, so one without an end would fill the volume. Content that is
 * packed badly is larger than it was. Of one that is wanted in part only, no limit of the tree tells.
 */
function mostOfZip({ maxBytes }: Limits, path: readonly string[]): number {
  return path.length > 0 ? Infinity : 2 * maxBytes + BESIDE_CONTENT;
}

async function* atMost(bytes: AsyncIterable<Uint8Array>, most: number) {
  let size = 0;
  for await (const chunk of bytes) {
    size += chunk.byteLength;
    if (size > most) {
      throw new NoRoomError(`the archive has more than ${most} bytes, too many for --max-bytes`, {
        hint: "raise --max-bytes",
      });
    }
    yield chunk;
  }
}

/** There was no room beside what is kept of the download. */
class CrampedError extends InternalError {
  constructor(cause: unknown) {
    super("no room beside the download", { cause });
  }
}

/** Counts the content of members that do not come out of one stream. */
async function* grown(members: AsyncIterable<Member>, grew: (bytes: number) => void) {
  for await (const member of members) {
    if (member.kind === "file") grew(member.size);
    yield member;
  }
}
