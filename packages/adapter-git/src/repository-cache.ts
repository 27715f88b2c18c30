/** The cache of one repository: what is recorded of it, and how it is kept small. */
import { rm } from "node:fs/promises";
import type { SourceError } from "@pannier/core/adapter";
import {
  cacheFormat,
  type CacheState,
  isOutgrown,
  noteSize,
  openCache,
  recordRefs,
  REPACKED,
  sweep,
} from "./store/cache.ts";
import { CacheDamaged, type ObjectStore } from "./store/store.ts";

export interface RepositoryCache {
  /** What is recorded; `undefined` before the cache is opened, and after it is discarded. */
  readonly state: CacheState | undefined;
  /** Cleans the folder before anything in it is used. */
  ready(): Promise<void>;
  /** Begins with an empty cache. */
  replace(format: CacheState["format"]): Promise<CacheState>;
  discard(): Promise<void>;
  record(refs: CacheState["refs"], shallow: CacheState["shallow"]): Promise<void>;
  /** Says which commit is published. */
  keep(oid: string): void;
  /** Keeps only what these commits hold, and a pack of which most is needed: it need not be copied. */
  shrink(
    refs: CacheState["refs"],
    keepPack: string | undefined,
    signal: AbortSignal,
  ): Promise<CacheState>;
}

export function repositoryCache(
  store: ObjectStore,
  dir: string,
  warn: (message: string) => void,
): RepositoryCache {
  let state: CacheState | undefined;
  let opening: Promise<void> | undefined;

  const ready = async () => {
    opening ??= cacheFormat(dir)
      .then((format) => openCache(dir, format))
      .then((opened) => void (state = opened));
    try {
      await opening;
    } catch (error) {
      opening = undefined;
      throw error;
    }
  };

  const discard = async () => {
    await store.close();
    await rm(dir, { recursive: true, force: true });
    state = undefined;
    opening = undefined;
  };

  async function shrink(
    refs: CacheState["refs"],
    keepPack: string | undefined,
    signal: AbortSignal,
  ): Promise<CacheState> {
    if (state === undefined) throw new Error("the cache is not open");
    const shrunk = (state = { ...state, refs });
    await recordRefs(dir, shrunk.refs, shrunk.shallow);
    if (store.compact === undefined || !(await isOutgrown(dir, REPACKED))) return shrunk;
    // Noted before it is done: where it fails, or takes this process with it, it is not tried again at once.
    await noteSize(dir);
    try {
      await store.compact(signal, keepPack);
      await noteSize(dir);
    } catch (error) {
      await sweep(dir);
      signal.throwIfAborted();
      if (isDamage(error)) throw error;
      const { message, hint } = error as SourceError;
      const advice = hint === undefined ? "" : ` (${hint})`;
      warn(`the git object cache could not be made smaller: ${message}${advice}`);
    }
    return shrunk;
  }

  return {
    get state() {
      return state;
    },
    ready,
    discard,
    shrink,
    async replace(format) {
      await discard();
      state = await openCache(dir, format);
      opening = Promise.resolve();
      return state;
    },
    async record(refs, shallow) {
      if (state === undefined) return;
      state = { ...state, refs, shallow };
      await recordRefs(dir, refs, shallow);
    },
    keep(oid) {
      // Of any other commit it is not recorded where its history ends.
      if (state !== undefined && oid === state.refs.latest)
        state = { ...state, refs: { ...state.refs, published: oid } };
    },
  };
}

/** Whether an error says that the cache is not what it was: unreadable, or removed behind our back. */
export function isDamage(error: unknown): boolean {
  if (error instanceof CacheDamaged) return true;
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR";
}
