/** From what trees hold to what a source lists. */
import {
  type Change,
  comparePaths,
  type Entry,
  IGNORE_FILE,
  quotePath,
  type Scope,
  SourceError,
} from "@pannier/core/adapter";
import { parsePointer, POINTER_LIMIT } from "./lfs-pointer.ts";
import { type Module, type Modules, translate } from "./modules.ts";
import {
  CacheDamaged,
  isKnown,
  isSubmodule,
  isSymlink,
  isTree,
  type TreeItem,
} from "./store/store.ts";
import { parseGitmodules, type Submodule, submoduleUrl } from "./submodules.ts";
import { type Commit, diffTrees, disordered, findInTree, type TreeChange } from "./tree.ts";
import { checkItem } from "./tree-rules.ts";

/** Longer than any link can be (limits.h PATH_MAX). */
const LINK_LIMIT = 4096;

/** A thousand submodules need a tenth of it. */
const GITMODULES_LIMIT = 1024 * 1024;

/** Changes that are looked into together. */
const CHANGE_BATCH = 500;

/** One commit's tree, or a part of it, as it is being listed. */
export interface Subtree {
  readonly module: Module;
  readonly commit: Commit;
  /** The directory of the repository that is listed, and its tree. */
  readonly directory: string;
  readonly tree: string;
  /** What goes before the paths: empty, or a submodule's path with a `/`. */
  readonly prefix: string;
  /** Levels of submodules to go down from here. */
  readonly levels: number;
  /** What is wanted of the source; nothing else is fetched or judged. */
  readonly scope: Scope | undefined;
}

/**
 * A directory of a commit.
 *
 * @throws SourceError `not-found`
 */
export async function findDirectory(module: Module, commit: Commit, path: string): Promise<string> {
  const found = await findInTree(module.repository.store, commit.tree, path);
  if (found !== undefined && isTree(found.mode)) return found.oid;
  const short = commit.oid.slice(0, 12);
  throw new SourceError("not-found", `commit ${short} has no directory ${quotePath(path)}`, {
    hint: "check path=",
  });
}

/** Everything in a subtree, in the order of paths, submodules' files where they belong. */
export async function* listPlace(
  subtree: Subtree,
  modules: Modules,
  signal: AbortSignal,
): AsyncGenerator<Entry[]> {
  const { module, tree, levels } = subtree;
  let links: TreeItem[] = [];
  let last = "";
  try {
    for await (const all of module.repository.store.walk(tree, signal)) {
      const items = all.filter((item) => isWanted(subtree, item));
      let from = 0;
      for (const [index, item] of items.entries()) {
        // A tree that git would not have made: what it means is anybody's guess.
        if (comparePaths(last, item.path) >= 0) throw disordered(item.path);
        last = item.path;
        if (levels === 0) continue;
        // A submodule sorts like a file in its tree; its files come where those of a directory do.
        const due = links.filter((link) => comparePaths(`${link.path}/`, item.path) < 0);
        if (due.length > 0) {
          yield await toEntries(subtree, items.slice(from, index));
          from = index;
          links = links.filter((link) => !due.includes(link));
          yield* listSubmodules(subtree, due, modules, signal);
        }
        if (isSubmodule(item.mode)) links.push(item);
      }
      yield await toEntries(subtree, from === 0 ? items : items.slice(from));
    }
    yield* listSubmodules(subtree, links, modules, signal);
  } catch (error) {
    throw translate(module, error);
  }
}

async function* listSubmodules(
  subtree: Subtree,
  links: readonly TreeItem[],
  modules: Modules,
  signal: AbortSignal,
): AsyncGenerator<Entry[]> {
  if (links.length === 0) return;
  const known = await readGitmodules(subtree);
  for (const link of links.toSorted((a, b) => comparePaths(`${a.path}/`, `${b.path}/`))) {
    const path = subtree.directory === "" ? link.path : `${subtree.directory}/${link.path}`;
    if (known === undefined || known.get(path)?.skipped === true) {
      const why = known === undefined ? "there is no .gitmodules" : "its update is none";
      modules.warn(`the submodule ${quotePath(path)} is left out: ${why}`);
      continue;
    }
    const url = known.get(path)?.url;
    if (url === undefined)
      throw new SourceError("invalid", `.gitmodules has no URL for ${quotePath(path)}`, {
        hint: "set submodules=off, or repair .gitmodules",
      });
    const prefix = `${subtree.prefix}${link.path}/`;
    const { module, commit } = await fetchSubmodule(
      modules,
      () => submoduleUrl(subtree.module.url, url, path),
      link.oid,
      prefix,
      signal,
    );
    const { levels, scope } = subtree;
    const inner = { module, commit, directory: "", tree: commit.tree, prefix, scope };
    yield* listPlace({ ...inner, levels: levels - 1 }, modules, signal);
  }
}

/** @param prefix the submodule's directory in the source */
async function fetchSubmodule(
  modules: Modules,
  urlOf: () => string,
  oid: string,
  prefix: string,
  signal: AbortSignal,
): Promise<Pick<Subtree, "module" | "commit">> {
  let module: Module | undefined;
  try {
    module = await modules.submodule(urlOf());
    return { module, commit: await module.repository.commit(oid, signal) };
  } catch (thrown) {
    const error = module === undefined ? thrown : translate(module, thrown);
    if (signal.aborted || !(error instanceof SourceError)) throw error;
    const { code, message, transient, retryAfter, hint } = error;
    const what = `the submodule ${quotePath(prefix.slice(0, -1))} cannot be fetched: ${message}`;
    const advice = `--exclude /${prefix} leaves it out`;
    throw new SourceError(code, what, {
      transient,
      retryAfter,
      // The repository itself was read.
      reached: "signed-in",
      hint: hint === undefined ? advice : `${hint}; ${advice}`,
      cause: error,
    });
  }
}

/**
 * Whether an item may be part of the source.
 *
 * @throws SourceError `invalid` for one that may be, and cannot be published
 */
function isWanted({ prefix, scope, levels }: Subtree, item: TreeItem): boolean {
  if (scope?.filters === true) {
    const path = prefix + item.path;
    const below = isSubmodule(item.mode) && levels > 0;
    if (!(below ? scope.enters(path) : scope.wants(path))) return false;
  }
  if (item.failure !== undefined) throw item.failure;
  checkItem(item);
  return true;
}

/** The source's own ignore file. */
export async function findIgnoreFile(subtree: Subtree): Promise<Entry | undefined> {
  const { store } = subtree.module.repository;
  const item = await findInTree(store, subtree.tree, IGNORE_FILE);
  if (item === undefined || !isFile({ ...item, path: IGNORE_FILE })) return undefined;
  const [size] = await store.sizes([item.oid]);
  const [entry] = await toEntries(subtree, [{ ...item, path: IGNORE_FILE, size }]);
  return entry;
}

/** What is told of submodules; `undefined` where nothing is. */
async function readGitmodules({
  module,
  commit,
}: Subtree): Promise<ReadonlyMap<string, Submodule> | undefined> {
  const { store } = module.repository;
  const item = await findInTree(store, commit.tree, ".gitmodules");
  if (item === undefined) return undefined;
  checkItem({ ...item, path: ".gitmodules" });
  const [size = 0] = await store.sizes([item.oid]);
  const blob = size > GITMODULES_LIMIT ? undefined : await store.read(item.oid);
  if (blob === undefined || blob.data.length > GITMODULES_LIMIT)
    throw new SourceError("invalid", ".gitmodules is too large");
  return parseGitmodules(Buffer.from(blob.data).toString("utf8"));
}

/** The files and symlinks among some items. */
async function toEntries(
  { module, commit, prefix }: Pick<Subtree, "module" | "commit" | "prefix">,
  items: readonly TreeItem[],
): Promise<Entry[]> {
  const mtime = commit.time;
  const entries: (Entry | Promise<Entry>)[] = [];
  let isReading = false;
  for (const item of items) {
    if (isSubmodule(item.mode)) continue;
    const path = prefix + item.path;
    const isLink = isSymlink(item.mode);
    if (isLink || mayBePointer(module, item)) {
      isReading = true;
      entries.push(
        isLink
          ? readLink(module, item).then((target) => ({ kind: "symlink", path, target, mtime }))
          : readPointer(module, item).then((pointer) => toFile(module, item, path, mtime, pointer)),
      );
    } else entries.push(toFile(module, item, path, mtime, undefined));
  }
  // Of most files all is known: a promise for each would cost more than the entry.
  return isReading ? Promise.all(entries) : (entries as Entry[]);
}

function toFile(
  { key }: Module,
  { mode, size, oid }: TreeItem,
  path: string,
  mtime: number,
  pointer: ReturnType<typeof parsePointer>,
): Entry {
  return {
    kind: "file",
    path,
    size: pointer?.size ?? size,
    mode: (mode & 0o111) === 0 ? 0o644 : 0o755,
    mtime,
    fingerprint: pointer === undefined ? oid : `sha256:${pointer.oid}`,
    digest: pointer === undefined ? undefined : { algorithm: "sha256", value: pointer.oid },
    ref: key === "" ? undefined : key,
  };
}

async function readLink({ repository }: Module, item: TreeItem): Promise<string> {
  if ((item.size ?? 0) > LINK_LIMIT) throw tooLong(item);
  const blob = await repository.store.read(item.oid);
  if (blob === undefined) throw new CacheDamaged(`blob ${item.oid} is missing`);
  if (blob.data.length > LINK_LIMIT) throw tooLong(item);
  return Buffer.from(blob.data).toString("utf8");
}

function tooLong(item: TreeItem): SourceError {
  return new SourceError("invalid", `the target of the link ${quotePath(item.path)} is too long`);
}

function mayBePointer({ lfs }: Module, { size }: TreeItem): boolean {
  return lfs !== undefined && size !== undefined && size < POINTER_LIMIT;
}

async function readPointer({ repository }: Module, item: TreeItem) {
  const blob = await repository.store.read(item.oid);
  if (blob === undefined) throw new CacheDamaged(`blob ${item.oid} is missing`);
  return parsePointer(blob.data);
}

/** Whether two commits differ in a submodule, or in where one comes from. */
export async function submodulesDiffer(before: Subtree, after: Subtree): Promise<boolean> {
  const { store } = after.module.repository;
  const [was, is] = await Promise.all(
    [before, after].map(({ commit }) => findInTree(store, commit.tree, ".gitmodules")),
  );
  if (was?.oid !== is?.oid) return true;
  for await (const change of diffTrees(store, before.tree, after.tree)) {
    if ([change.before, change.after].some((item) => item !== undefined && isSubmodule(item.mode)))
      return true;
  }
  return false;
}

/** What differs between two commits' directories. */
export async function* diffPlaces(
  before: string | undefined,
  after: Subtree,
  signal: AbortSignal,
): AsyncGenerator<Change[]> {
  const { store } = after.module.repository;
  let batch: TreeChange[] = [];
  try {
    for await (const change of diffTrees(store, before, after.tree)) {
      batch.push(change);
      if (batch.length < CHANGE_BATCH) continue;
      signal.throwIfAborted();
      yield await toChanges(after, batch);
      batch = [];
    }
    if (batch.length > 0) yield await toChanges(after, batch);
  } catch (error) {
    throw translate(after.module, error);
  }
}

function isFile(item: TreeItem | undefined): item is TreeItem {
  return item !== undefined && isKnown(item.mode) && !isSubmodule(item.mode);
}

async function toChanges(subtree: Subtree, all: readonly TreeChange[]): Promise<Change[]> {
  const changes = all.filter(({ after }) => after === undefined || isWanted(subtree, after));
  const gone: Change[] = changes
    .filter(({ before, after }) => isFile(before) && !isFile(after))
    .map(({ path }) => ({ kind: "delete", path }));
  const files = changes.map(({ after }) => after).filter(isFile);
  const sizes = await subtree.module.repository.store.sizes(files.map(({ oid }) => oid));
  const sized = files.map((item, index) => ({ ...item, size: sizes[index] }));
  const put = await toEntries(subtree, sized);
  return [...gone, ...put.map((entry): Change => ({ kind: "put", entry }))];
}
