/** One repository: what is at the other end, and the cache of its objects here. The source has one, and one for each submodule. */
import { NoRoomError, SourceError } from "@pannier/core/adapter";
import { formatOf } from "./remote/protocol.ts";
import type { Remote } from "./remote/remote.ts";
import { isDamage, repositoryCache } from "./repository-cache.ts";
import {
  type CacheState,
  isOutgrown,
  newestPack,
  REFETCHED,
  REPACKED,
  sweep,
} from "./store/cache.ts";
import { CacheDamaged, type ObjectStore } from "./store/store.ts";
import { type Commit, readCommit } from "./tree.ts";

export interface Repository {
  readonly remote: Remote;
  readonly store: ObjectStore;
  /** Where the cache is. */
  readonly dir: string;
  /** Resolves once the cache may be read. */
  ready(): Promise<void>;
  /** A commit of the cache; `undefined` where it is not there. */
  cached(oid: string): Promise<Commit | undefined>;
  /** A commit with everything that it holds, fetched unless it is in the cache. @param tag the annotated tag of it that is wanted too */
  commit(oid: string, signal: AbortSignal, tag?: string): Promise<Commit>;
  /** Says which commit is published: the next fetches build on it, and it survives when the cache is made small. */
  keep(oid: string): void;
  /** Says that what was fetched last is published: the rest may go. */
  published(signal: AbortSignal): Promise<void>;
  /** Says that the cache turned out to be damaged: it is thrown away before the next fetch. */
  distrust(): void;
  close(): Promise<void>;
}

export interface RepositoryInit {
  readonly remote: Remote;
  readonly makeStore: (dir: string) => ObjectStore;
  /** Where the cache is; created when first needed. */
  readonly dir: string;
  /** How many commits of history to fetch; 0 for all. */
  readonly depth: number;
  /** What one fetch may bring. */
  readonly maxBytes: number;
  warn(message: string): void;
}

export function openRepository(init: RepositoryInit): Repository {
  const { remote, makeStore, dir, warn } = init;
  const store = makeStore(dir);
  const cache = repositoryCache(store, dir, warn);
  let distrusted = false;
  // Fetches of one repository come one after the other.
  let last: Promise<unknown> = Promise.resolve();

  const cached = async (oid: string) => {
    if (distrusted) return undefined;
    await cache.ready();
    return readCommit(store, oid);
  };

  const discard = async () => {
    await cache.discard();
    distrusted = false;
  };

  /** @param want the commit, or a tag of it */
  async function fetch(oid: string, want: string, signal: AbortSignal): Promise<void> {
    if (!store.formats.includes(formatOf(oid)))
      throw new SourceError("unsupported", "engine=js reads no repository with SHA-256 names", {
        hint: "install git, and leave engine at auto",
      });
    const outgrown = store.compact === undefined && (await isOutgrown(dir, REFETCHED));
    const format = formatOf(oid);
    let { state } = cache;
    if (state?.format !== format || outgrown) {
      state = await cache.replace(format);
      distrusted = false;
    }
    if (await isOutgrown(dir, REPACKED)) {
      // Commits came that were not published: the next one will do without them.
      const { published = state.refs.latest } = state.refs;
      state = await cache.shrink({ latest: published, published }, undefined, signal);
    }
    const shallow = await fetchPack(init, store, state, want, signal);
    await cache.record({ ...state.refs, latest: oid }, shallow);
  }

  /** In its turn, and once more with an empty cache where this one turns out to be damaged. */
  function inTurn<Result>(signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    const next = last.then(async () => {
      signal.throwIfAborted();
      if (distrusted) await discard();
      try {
        return await work();
      } catch (error) {
        if (!isDamage(error)) throw error;
        warn(`the git object cache is damaged, and is fetched again: ${(error as Error).message}`);
        await discard();
        return work();
      }
    });
    last = next.catch(() => {});
    return next;
  }

  async function commit(oid: string, signal: AbortSignal, tag?: string): Promise<Commit> {
    const known = await cached(oid);
    if (known !== undefined && (tag === undefined || (await store.read(tag)) !== undefined))
      return known;
    const hadAny = cache.state?.refs.latest !== undefined;
    await fetch(oid, tag ?? oid, signal);
    const fetched = await readCommit(store, oid);
    // Nothing came because we said that it was here.
    if (fetched === undefined && hadAny) throw new CacheDamaged(`commit ${oid} is missing`);
    if (fetched === undefined)
      throw new SourceError("not-found", `${oid} is not a commit of the repository`);
    return fetched;
  }

  return {
    remote,
    store,
    dir,
    ready: cache.ready,
    cached,
    commit: (oid, signal, tag) => inTurn(signal, () => commit(oid, signal, tag)),
    published: (signal) =>
      inTurn(signal, async () => {
        const latest = cache.state?.refs.latest;
        if (latest === undefined) return;
        await cache.shrink({ latest, published: latest }, await newestPack(dir), signal);
      }),
    keep: cache.keep,
    distrust() {
      distrusted = true;
    },
    async close() {
      // A fetch under way fails by it.
      await remote.close();
      await last;
      await store.close();
    },
  };
}

/**
 * Fetches a commit, or a tag, on top of what the cache has.
 *
 * @returns where the history of the cache ends now
 */
async function fetchPack(
  { remote, dir, depth, maxBytes }: RepositoryInit,
  store: ObjectStore,
  { refs, shallow }: CacheState,
  want: string,
  signal: AbortSignal,
): Promise<string[]> {
  const haves = [...new Set([refs.latest, refs.published])].filter((have) => have !== undefined);
  // With a depth of 1 each known commit stands alone: what is recorded of others would only grow.
  const boundary = depth === 1 ? shallow.filter((end) => haves.includes(end)) : shallow;
  const result = await remote.fetch({ want, haves, shallow: boundary, depth }, signal);
  try {
    await store.addPack(upTo(maxBytes, result.pack), signal);
  } catch (error) {
    await sweep(dir);
    throw error;
  } finally {
    await result.close();
  }
  const next = new Set([...boundary, ...result.shallow]);
  for (const end of result.unshallow) next.delete(end);
  return [...next];
}

async function* upTo(
  maxBytes: number,
  pack: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of pack) {
    size += chunk.length;
    if (size > maxBytes)
      throw new NoRoomError(
        `the repository sends more than the ${maxBytes} bytes of --max-bytes at once`,
        { hint: "raise --max-bytes; a smaller depth sends less" },
      );
    yield chunk;
  }
}
