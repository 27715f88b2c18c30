/** Where the objects of a repository are kept, and who can read them: the git program, or isomorphic-git. */
import { InternalError } from "@pannier/core/adapter";
import type { DecodedName } from "../names.ts";
import type { ObjectFormat } from "../remote/protocol.ts";

export interface GitObject {
  readonly type: "commit" | "tree" | "blob" | "tag";
  readonly data: Uint8Array;
}

/** One item of a tree object, or, in a recursive listing, one with its whole path. */
export interface TreeItem extends DecodedName {
  /** As the tree has it; a store that only tells git's reading of it does so for files and symlinks alone. */
  readonly mode: number;
  readonly oid: string;
  /** Of a blob, where the store tells it without reading it. */
  readonly size?: number | undefined;
}

/** Two implementations: `engine=cli` and `engine=js`. Failures to read what should be there are {@link CacheDamaged}. */
export interface ObjectStore {
  /** Which repositories it can read. */
  readonly formats: readonly ObjectFormat[];
  /** An object in memory; `undefined` where it is not here. */
  read(oid: string): Promise<GitObject | undefined>;
  /** A blob of which the size is known to be large. */
  stream(oid: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Sizes of blobs without reading them; `undefined` where this store has to read them for it. */
  sizes(oids: readonly string[]): Promise<readonly (number | undefined)[]>;
  /** Everything below a tree that is not a tree, in the order of git's trees. */
  walk(tree: string, signal: AbortSignal): AsyncIterable<readonly TreeItem[]>;
  /** Takes in a pack, all or nothing. It may hold deltas against objects that are here already. */
  addPack(pack: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
  /** Makes the cache small again: what the refs reach stays, and one pack as it is. Where there is no such way, the cache is fetched again instead. */
  compact?(signal: AbortSignal, keepPack: string | undefined): Promise<void>;

  /** Lets go of processes and memory; the store may be used again. */
  close(): Promise<void>;
}

/** The cache cannot be used as it is: it is thrown away and fetched again. Never leaves the adapter. */
export class CacheDamaged extends InternalError {
  override readonly name = "CacheDamaged";
}

/** Modes of tree items: https://git-scm.com/docs/gitformat-index (object type bits). */
export const isTree = (mode: number): boolean => (mode & 0o170000) === 0o040000;
export const isSymlink = (mode: number): boolean => (mode & 0o170000) === 0o120000;
const isRegular = (mode: number): boolean => (mode & 0o170000) === 0o100000;
/** Exactly: `git ls-tree` says so of any type that it does not know. */
export const isSubmodule = (mode: number): boolean => mode === 0o160000;
/** Whether an item is something that is not a tree, and that git writes. */
export const isKnown = (mode: number): boolean =>
  isRegular(mode) || isSymlink(mode) || isSubmodule(mode);
