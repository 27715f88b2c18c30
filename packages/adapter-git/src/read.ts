/** Reads files out of the caches of repositories. */
import { extname } from "node:path";
import {
  type Body,
  type ByteRange,
  type FileEntry,
  type Source,
  SourceError,
} from "@pannier/core/adapter";
import { hasBatchCommand } from "./engine.ts";
import type { LaneData } from "./git-lane.ts";
import { parsePointer } from "./lfs-pointer.ts";
import { type Module, type Modules, translate } from "./modules.ts";
import { isOid } from "./oid.ts";
import type { GitOptions } from "./options.ts";

/** Blobs of this size and more are streamed; smaller ones are handed over whole. */
const STREAM_FROM = 1024 * 1024;

export interface ReaderInit {
  readonly options: GitOptions;
  readonly engine: "js" | "cli";
  readonly warn: (message: string) => void;
}

export function makeReader(
  modules: Modules,
  { options, engine, warn }: ReaderInit,
): Required<Pick<Source, "read" | "lane">> {
  /** Whether it was said that there are files in LFS. */
  let warned = false;

  /** The repository that an entry came from; `undefined` where it was a submodule that was not listed since. */
  function moduleOf(entry: FileEntry): Promise<Module> | undefined {
    return entry.ref === undefined ? modules.root() : modules.byKey(entry.ref);
  }

  return {
    async read(entry, range, signal) {
      signal.throwIfAborted();
      const module = await moduleOf(entry);
      const digest = /^sha256:([0-9a-f]{64})$/.exec(entry.fingerprint)?.[1];
      // The entry comes out of a file on the volume; only an object id may get to a git process.
      if (module === undefined || (digest === undefined && !isOid(entry.fingerprint)))
        throw outOfReach();
      if (digest !== undefined) {
        if (module.lfs === undefined) throw outOfReach();
        const pointer = { oid: digest, size: entry.size ?? 0 };
        return part(await module.lfs.read(pointer, signal), range);
      }
      const { store } = module.repository;
      try {
        await module.repository.ready();
        if (entry.size !== undefined && entry.size >= STREAM_FROM)
          return part(translated(module, store.stream(entry.fingerprint, signal)), range);
        const blob = await store.read(entry.fingerprint);
        signal.throwIfAborted();
        if (blob === undefined) throw outOfReach();
        if (!options.lfs && !warned && parsePointer(blob.data) !== undefined) {
          warned = true;
          warn("the repository keeps files in Git LFS; lfs=true fetches them");
        }
        if (blob.data.length < STREAM_FROM) return part(blob.data, range);
        return part(store.stream(entry.fingerprint, signal), range);
      } catch (error) {
        throw translate(module, error);
      }
    },

    async lane() {
      if (engine === "js") return undefined;
      const { repository } = await modules.root();
      await repository.ready();
      const data: LaneData = {
        dir: repository.dir,
        batchCommand: await hasBatchCommand(),
        leavePointers: !options.lfs && !warned,
      };
      // Beside this file, whether that is source, built, or bundled with the program.
      return { module: new URL(`./git-lane${extname(import.meta.url)}`, import.meta.url), data };
    },
  };
}

/** A blob that is not in the cache (any more) comes back with the next listing. */
function outOfReach(): SourceError {
  return new SourceError("changed", "this version of the file is no longer in the cache");
}

async function* translated(
  module: Module,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* chunks;
  } catch (error) {
    throw translate(module, error);
  }
}

function part(body: Body, range: ByteRange | undefined): Body {
  if (range === undefined) return body;
  const end = range.offset + (range.length ?? Number.POSITIVE_INFINITY);
  return body instanceof Uint8Array
    ? body.subarray(range.offset, end)
    : partOfStream(body, range.offset, end);
}

async function* partOfStream(
  chunks: AsyncIterable<Uint8Array>,
  offset: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const chunk of chunks) {
    const wanted = chunk.subarray(Math.max(0, offset - at), Math.max(0, end - at));
    at += chunk.length;
    if (wanted.length > 0) yield wanted;
    if (at >= end) return;
  }
}
