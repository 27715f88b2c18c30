/** Tree objects: taking them apart, walking them, comparing two. */
import { createHash } from "node:crypto";
import { comparePaths, quotePath, SourceError } from "@pannier/core/adapter";
import { CacheDamaged, isKnown, isTree, type ObjectStore, type TreeItem } from "./store/store.ts";
import { decodeName } from "./names.ts";

/** One difference between two trees: what is at a path now (`undefined`: nothing), and what was. */
export interface TreeChange {
  readonly path: string;
  readonly before: TreeItem | undefined;
  readonly after: TreeItem | undefined;
}

/** A tree's items; their paths are names. `<mode> <name>\0<oid>`… */
async function readTree(store: ObjectStore, oid: string): Promise<Iterable<TreeItem>> {
  const object = await store.read(oid);
  if (object?.type !== "tree") throw new CacheDamaged(`tree ${oid} is missing`);
  const { buffer, byteOffset, byteLength } = object.data;
  return itemsOf(oid, Buffer.from(buffer, byteOffset, byteLength));
}

function* itemsOf(oid: string, bytes: Buffer): Generator<TreeItem> {
  const hash = oid.length / 2;
  for (let at = 0; at < bytes.length;) {
    const space = bytes.indexOf(0x20, at);
    const nul = bytes.indexOf(0, space);
    const end = nul + 1 + hash;
    const mode = space === -1 ? undefined : readMode(bytes.toString("latin1", at, space));
    if (mode === undefined || nul === -1 || end > bytes.length) throw unreadable(oid, bytes);
    yield {
      mode,
      ...decodeName(bytes.subarray(space + 1, nul)),
      oid: bytes.toString("hex", nul + 1, end),
    };
    at = end;
  }
}

/** Octal, in 32 bits as git counts; `undefined` where it is not. */
function readMode(text: string): number | undefined {
  if (!/^[0-7]+$/.test(text)) return undefined;
  let mode = 0;
  for (const digit of text) mode = (mode << 3) + Number(digit);
  return mode >>> 0;
}

/** A tree that has its right id, and yet no form, is how the repository has it; any other was damaged here. */
function unreadable(oid: string, bytes: Uint8Array): Error {
  const hash = createHash(oid.length === 64 ? "sha256" : "sha1");
  if (hash.update(`tree ${bytes.length}\0`).update(bytes).digest("hex") !== oid)
    return new CacheDamaged(`tree ${oid} cannot be read`);
  return new SourceError("invalid", `the repository's tree ${oid} is broken`, {
    hint: "run git fsck on the repository",
  });
}

/** An item of a tree that has one name twice, or is out of order. */
export function disordered(path: string): SourceError {
  return new SourceError(
    "invalid",
    `a tree of the repository is broken: ${quotePath(path)} is there twice, or out of order`,
    { hint: "run git fsck on the repository" },
  );
}

function* inOrder(items: Iterable<TreeItem>): Generator<TreeItem> {
  let last = "";
  for (const item of items) {
    if (item.failure !== undefined) {
      yield item;
      continue;
    }
    const name = isTree(item.mode) ? `${item.path}/` : item.path;
    if (comparePaths(last, name) >= 0) throw disordered(item.path);
    last = name;
    yield item;
  }
}

/**
 * The items of a directory whose type git does not know, by their names. There are none in what git wrote.
 *
 * @param path of the directory, from the root on
 */
export async function unknownItems(
  store: ObjectStore,
  root: string,
  path: string,
): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  const directory = await findInTree(store, root, path);
  // It was listed: a name within it has a slash of its own.
  if (directory === undefined) throw disordered(path);
  for (const { path: name, mode, failure } of await readTree(store, directory.oid))
    if (!isTree(mode) && !isKnown(mode) && failure === undefined) found.set(name, mode);
  return found;
}

/** Everything below a tree that is not a tree, in the tree's order: with `/` after the names of directories, that is the order of whole paths. */
export async function* walkTree(
  store: ObjectStore,
  oid: string,
  prefix = "",
  failure?: SourceError,
): AsyncGenerator<TreeItem[]> {
  let batch: TreeItem[] = [];
  for (const item of await readTree(store, oid)) {
    const path = prefix + item.path;
    if (!isTree(item.mode)) {
      batch.push({ ...item, path, failure: failure ?? item.failure });
      continue;
    }
    if (batch.length > 0) yield batch;
    batch = [];
    yield* walkTree(store, item.oid, `${path}/`, failure ?? item.failure);
  }
  if (batch.length > 0) yield batch;
}

/**
 * What differs between two trees; costs what differs, not what there is. Whatever has no path is told as if it were new: it
 * was never published, and has no name by which to compare it.
 */
export async function* diffTrees(
  store: ObjectStore,
  before: string | undefined,
  after: string | undefined,
  prefix = "",
  failure?: SourceError,
): AsyncGenerator<TreeChange> {
  if (before === after) return;
  const old = new Map<string, TreeItem>();
  if (before !== undefined)
    for (const item of await readTree(store, before))
      if (item.failure === undefined) old.set(item.path, item);
  for (const item of after === undefined ? [] : inOrder(await readTree(store, after))) {
    if (item.failure !== undefined) {
      yield* compare(undefined, item);
      continue;
    }
    const was = old.get(item.path);
    old.delete(item.path);
    if (was?.oid === item.oid && was.mode === item.mode) continue;
    yield* compare(was, item);
  }
  for (const was of old.values()) yield* compare(was, undefined);

  async function* compare(
    was: TreeItem | undefined,
    is: TreeItem | undefined,
  ): AsyncGenerator<TreeChange> {
    const path = prefix + ((is ?? was) as TreeItem).path;
    const wasTree = was !== undefined && isTree(was.mode);
    const isNowTree = is !== undefined && isTree(is.mode);
    if (wasTree || isNowTree) {
      yield* diffTrees(
        store,
        wasTree ? was.oid : undefined,
        isNowTree ? is.oid : undefined,
        `${path}/`,
        failure ?? is?.failure,
      );
    }
    const oldItem = was === undefined || wasTree ? undefined : { ...was, path };
    const newItem =
      is === undefined || isNowTree ? undefined : { ...is, path, failure: failure ?? is.failure };
    if (oldItem !== undefined || newItem !== undefined)
      yield { path, before: oldItem, after: newItem };
  }
}

/**
 * What is at a path below a tree.
 *
 * @param path segments joined by `/`; empty for the tree itself
 */
export async function findInTree(
  store: ObjectStore,
  tree: string,
  path: string,
): Promise<Pick<TreeItem, "mode" | "oid"> | undefined> {
  let found: Pick<TreeItem, "mode" | "oid"> = { mode: 0o040000, oid: tree };
  for (const segment of path === "" ? [] : path.split("/")) {
    if (!isTree(found.mode)) return undefined;
    const next = await findItem(store, found.oid, segment);
    if (next === undefined) return undefined;
    found = next;
  }
  return found;
}

async function findItem(store: ObjectStore, tree: string, name: string) {
  for (const item of await readTree(store, tree))
    if (item.path === name && item.failure === undefined) return item;
  return undefined;
}

/** What a commit (or an annotated tag of one) says that matters here. */
export interface Commit {
  readonly oid: string;
  readonly tree: string;
  /** When it was committed, in milliseconds since the epoch. */
  readonly time: number;
}

/** `undefined` where the object is not here, or is no commit. */
export async function readCommit(store: ObjectStore, oid: string): Promise<Commit | undefined> {
  const object = await store.read(oid);
  if (object === undefined || (object.type !== "commit" && object.type !== "tag")) return undefined;
  const head = Buffer.from(object.data).toString("utf8").split("\n\n", 1)[0] ?? "";
  if (object.type === "tag") {
    const target = /^object ([0-9a-f]+)$/m.exec(head)?.[1];
    // Tags of tags exist; a chain of them cannot loop, as each holds the digest of the next.
    return target === undefined ? undefined : readCommit(store, target);
  }
  const tree = /^tree ([0-9a-f]+)$/m.exec(head)?.[1];
  const seconds = /^committer .* (-?\d+) [+-]\d{4}$/m.exec(head)?.[1];
  if (tree === undefined) throw new CacheDamaged(`commit ${oid} cannot be read`);
  return { oid, tree, time: Number(seconds ?? 0) * 1000 };
}
