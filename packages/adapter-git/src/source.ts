/** A source that is a repository: its listings, and the changes between two commits. */
import type { Location, Scope, Signer, Source, SourceContext } from "@pannier/core/adapter";
import {
  diffPlaces,
  findDirectory,
  findIgnoreFile,
  listPlace,
  type Subtree,
  submodulesDiffer,
} from "./entries.ts";
import { type Module, openModules, translate } from "./modules.ts";
import type { GitOptions } from "./options.ts";
import { isOid } from "./oid.ts";
import { makeReader } from "./read.ts";
import { resolveRef, type Resolved } from "./refs.ts";
import type { Remote } from "./remote/remote.ts";
import { checkSignature } from "./signature/check.ts";
import { isTree } from "./store/store.ts";
import { type Commit, findInTree } from "./tree.ts";

/** Reads at once: enough to keep two git processes busy with few wake-ups, few enough to hold little in memory. */
const CONCURRENCY = 64;

export interface SourceInit {
  readonly location: Location;
  readonly context: SourceContext;
  readonly options: GitOptions;
  /** The subdirectory. */
  readonly path: string;
  /** The commit, where `ref` spells it out. */
  readonly sha: string | undefined;
  readonly engine: "js" | "cli";
}

export function openSource({ location, context, options, path, sha, engine }: SourceInit): Source {
  const modules = openModules(location, options, engine, context);
  const levels = { off: 0, shallow: 1, recursive: Number.POSITIVE_INFINITY }[options.submodules];
  const reader = makeReader(modules, { options, engine, warn: context.warn });
  let ambiguous = false;

  const { signers = [] } = context;
  /** What the remote answered last. */
  let resolved: Resolved | undefined;

  const resolve = async (remote: Remote, signal: AbortSignal): Promise<Resolved> => {
    const locked = context.locked?.();
    const wanted = locked !== undefined && isOid(locked) ? locked : undefined;
    // The signature may be that of the tag, which has to be asked for.
    if (wanted !== undefined && signers.length === 0) return { commit: wanted, tag: undefined };
    const found = await resolveRef(remote, options.ref, signal, (message) => {
      // Not at each poll.
      if (!ambiguous) context.warn(`ref=${options.ref} has two meanings: ${message}`);
      ambiguous = true;
    });
    resolved =
      wanted === undefined || found.commit === wanted ? found : { commit: wanted, tag: undefined };
    return resolved;
  };

  async function subtreeAt(
    module: Module,
    commit: Commit,
    scope: Scope | undefined,
  ): Promise<Subtree> {
    const tree = await findDirectory(module, commit, path);
    return { module, commit, directory: path, tree, prefix: "", levels, scope };
  }

  return {
    contentAddressed: true,
    concurrency: CONCURRENCY,

    async probe(signal) {
      signal.throwIfAborted();
      if (sha !== undefined) return { token: sha, revision: sha, immutable: true };
      const { repository } = await modules.root();
      const { commit } = await resolve(repository.remote, signal);
      return { token: commit, revision: commit };
    },

    async list(signal, scope) {
      signal.throwIfAborted();
      const module = await modules.root();
      try {
        const now: Resolved =
          sha === undefined
            ? await resolve(module.repository.remote, signal)
            : { commit: sha, tag: undefined };
        const { commit, signature } = await take(module, now, signers, signal);
        const root = await subtreeAt(module, commit, scope);
        await scope?.ignoreFile(await findIgnoreFile(root));
        const entries = listPlace(root, modules, signal);
        const revision = now.commit;
        return { entries, ordered: true, revision, token: () => revision, signature };
      } catch (error) {
        throw translate(module, error);
      }
    },

    async changes(from, to, signal, scope) {
      signal.throwIfAborted();
      if (!isOid(from) || !isOid(to)) return undefined;
      const module = await modules.root();
      const { repository } = module;
      try {
        if ((await repository.cached(from)) === undefined) return undefined;
        repository.keep(from);
        const now = resolved?.commit === to ? resolved : { commit: to, tag: undefined };
        const { commit, signature } = await take(module, now, signers, signal);
        const after = await subtreeAt(module, commit, scope);
        // Fetching may have meant to start with an empty cache.
        const old = await repository.cached(from);
        if (old === undefined) return undefined;
        const tree = await findInTree(repository.store, old.tree, path);
        if (tree === undefined || !isTree(tree.mode)) return undefined;
        const before = { ...after, commit: old, tree: tree.oid };
        if (levels > 0 && (await submodulesDiffer(before, after))) return undefined;
        return { changes: diffPlaces(before.tree, after, signal), signature };
      } catch (error) {
        throw translate(module, error);
      }
    },

    read: reader.read,
    lane: reader.lane,

    async published(signal) {
      for (const { repository } of await modules.all()) await repository.published(signal);
    },

    close: () => modules.close(),
  };
}

/** Fetches a commit with all that it holds, and checks its signature where somebody has to have signed it. */
async function take(
  { repository }: Module,
  { commit, tag }: Resolved,
  signers: readonly Signer[],
  signal: AbortSignal,
) {
  if (signers.length === 0)
    return { commit: await repository.commit(commit, signal), signature: undefined };
  const taken = await repository.commit(commit, signal, tag?.oid);
  const signature = await checkSignature(repository.store, commit, tag, signers, signal);
  return { commit: taken, signature };
}
