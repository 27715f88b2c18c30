import { extname } from "node:path";
import {
  type Adapter,
  type Body,
  type ByteRange,
  type FileEntry,
  type Location,
  type Scope,
  type Source,
  type SourceContext,
  SourceError,
  UsageError,
} from "@pannier/core/adapter";
import { checkGit, hasBatchCommand } from "./engine.ts";
import {
  diffPlaces,
  findDirectory,
  findIgnoreFile,
  listPlace,
  type Subtree,
  submodulesDiffer,
} from "./entries.ts";
import type { LaneData } from "./git-lane.ts";
import { parsePointer } from "./lfs-pointer.ts";
import { type Module, openModules, translate } from "./modules.ts";
import { checkPath, checkRef, fullSha, type GitOptions, gitOptions } from "./options.ts";
import { isOid } from "./oid.ts";
import { resolveRef, type Resolved } from "./refs.ts";
import type { Remote } from "./remote/remote.ts";
import { isRepositoryAt, transportOf } from "./remotes.ts";
import { checkSignature, GIT_SIGNATURES } from "./signature/check.ts";
import { isTree } from "./store/store.ts";
import { type Commit, findInTree } from "./tree.ts";

/** Blobs of this size and more are streamed; smaller ones are handed over whole. */
const STREAM_FROM = 1024 * 1024;

/** Reads at once: enough to keep two git processes busy with few wake-ups, few enough to hold little in memory. */
const CONCURRENCY = 64;

export const gitAdapter: Adapter<typeof gitOptions> = {
  name: "git",
  package: "@pannier/adapter-git",
  schemes: ["git+https", "git+http", "git+ssh", "git+file"],
  claims: ({ scheme, pathname }) => /^https?$/.test(scheme) && /\.git\/?$/.test(pathname),
  suspects: isSuspect,
  recognise: (location, context, signal) => isRepositoryAt(location, context, signal),
  options: gitOptions,
  signatures: GIT_SIGNATURES,
  description: "git repositories over http, https and ssh, or on this machine",

  async open(location, options, context) {
    const sha = fullSha(options.ref);
    if (options.ref !== undefined && sha === undefined) checkRef(options.ref);
    const path = checkPath(options.path);
    const engine = await chooseEngine(location, options);
    if (options.lfs && engine === "js")
      throw new UsageError("lfs=true needs the git program", "install git, or set engine=cli");
    if (options.lfs && transportOf(location) !== "http")
      throw new UsageError("lfs=true works over http and https", "use the repository's https URL");
    return openSource({ location, context, options, path, sha, engine });
  },
};

/** Names of files that people fetch by their URL. A repository may have any other: `next.js`, `d3.v7`. */
const FILE_ENDINGS = new Set(
  (
    "7z apk avif bin br bz2 cer conf crt css csv db deb der dmg doc docx eot epub exe geojson gguf gif gz htm html ico img ini iso " +
    "jar jpeg jpg json jsonl key lock log map md mmdb mov mp3 mp4 msi ndjson npy npz odt ogg onnx otf parquet pbf pdf pem php png " +
    "pptx rar rpm rss safetensors sh sha1 sha256 sha512 sig sqlite svg tar tbz tbz2 tgz tif tiff toml tsv ttf txt txz tzst war wasm " +
    "wav webm webp whl woff woff2 xhtml xlsx xml xsd xz yaml yml zip zst"
  ).split(" "),
);

/** Web servers have repositories at URLs that look like a directory's or a file's; with an option of ours it may be any. */
function isSuspect({ scheme, pathname, query }: Location): boolean {
  if (!/^https?$/.test(scheme)) return false;
  const names = Object.keys(query);
  // Whatever else is in the query is for another program.
  if (names.some((name) => !Object.hasOwn(gitOptions, name))) return false;
  if (names.some((name) => name !== "path")) return true;
  const ending = /\.([a-z0-9]{1,11})$/i.exec(pathname)?.[1]?.toLowerCase() ?? "";
  return !/^\/*$/.test(pathname) && !FILE_ENDINGS.has(ending);
}

/** Which engine reads objects. */
async function chooseEngine(location: Location, { engine }: GitOptions): Promise<"js" | "cli"> {
  const transport = transportOf(location);
  if (engine === "js" && transport === "ssh")
    throw new UsageError("engine=js has no ssh", "use engine=cli, or the repository's https URL");
  // Reaching a repository on this machine takes the git program, whoever reads the objects.
  const problem = engine === "js" && transport === "http" ? undefined : await checkGit();
  if (problem !== undefined && (engine === "cli" || transport !== "http"))
    throw new UsageError(
      `${problem}, which ${engine === "cli" ? "engine=cli" : `a git+${transport} source`} needs`,
      engine === "cli" && transport === "http" ? "install git, or use engine=js" : "install git",
    );
  return engine === "js" || problem !== undefined ? "js" : "cli";
}

interface SourceInit {
  readonly location: Location;
  readonly context: SourceContext;
  readonly options: GitOptions;
  /** The subdirectory. */
  readonly path: string;
  /** The commit, where `ref` spells it out. */
  readonly sha: string | undefined;
  readonly engine: "js" | "cli";
}

function openSource({ location, context, options, path, sha, engine }: SourceInit): Source {
  const modules = openModules(location, options, engine, context);
  const levels = { off: 0, shallow: 1, recursive: Number.POSITIVE_INFINITY }[options.submodules];
  let warned = false;
  let ambiguous = false;

  const { signers = [] } = context;
  /** What the remote answered last. */
  let resolved: Resolved | undefined;

  const resolve = async (remote: Remote, signal: AbortSignal): Promise<Resolved> => {
    resolved = await resolveRef(remote, options.ref, signal, (message) => {
      // Not at each poll.
      if (!ambiguous) context.warn(`ref=${options.ref} has two meanings: ${message}`);
      ambiguous = true;
    });
    return resolved;
  };

  /** The commit, here with all that it holds, and its signature where somebody has to have signed it. */
  async function take({ repository }: Module, { commit, tag }: Resolved, signal: AbortSignal) {
    if (signers.length === 0)
      return { commit: await repository.commit(commit, signal), signature: undefined };
    const taken = await repository.commit(commit, signal, tag?.oid);
    const signature = await checkSignature(repository.store, commit, tag, signers, signal);
    return { commit: taken, signature };
  }

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
        const { commit, signature } = await take(module, now, signal);
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
        const { commit, signature } = await take(module, now, signal);
        const after = await subtreeAt(module, commit, scope);
        // Fetching may have meant to start anew.
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
          context.warn("the repository keeps files in Git LFS; lfs=true fetches them");
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

    async published(signal) {
      for (const { repository } of await modules.all()) await repository.published(signal);
    },

    close: () => modules.close(),
  };

  /** The repository that an entry came from; `undefined` where it was a submodule that was not listed since. */
  function moduleOf(entry: FileEntry): Promise<Module> | undefined {
    return entry.ref === undefined ? modules.root() : modules.byKey(entry.ref);
  }
}

/** A blob that is not in the cache (any more) comes back with the next listing. */
function outOfReach(): SourceError {
  return new SourceError("changed", "this version of the file is not in the cache any more");
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
