/** From what a store lists to entries: keys become paths, in the order of the store. The README has the table of what becomes of odd keys. */
import {
  decodedPath,
  type Entry,
  type FileEntry,
  type Location,
  quotePath,
  type Scope,
  SourceError,
} from "@pannier/core/adapter";
import { UnreadableName } from "@pannier/http-client";
import type { Compare } from "./boundaries.ts";
import { type Root, SINGLE } from "./locate.ts";
import { type KeyRange, type ListPage, orderedPages } from "./ordered-pages.ts";
import type { Page } from "./ranges.ts";

/** An object as a page of a listing tells of it: its key, and what else an entry holds. */
export interface StoredObject extends Omit<FileEntry, "kind" | "path" | "size"> {
  readonly key: string;
  readonly size: number;
  /** True for what stands for a directory, whatever its key: it is no file. */
  readonly directory?: boolean | undefined;
  /** Set where its key is not UTF-8: the key with escapes, for messages. `key` is what can be read of it. */
  readonly unreadable?: string | undefined;
}

/** @param skip leading segments of the URL's path that are not of the key (a container) */
export function rootOf(location: Location, skip = 0): Root {
  const key = decodedPath(location)
    .split("/")
    .slice(1 + skip)
    .join("/");
  if (key === "" || key.endsWith("/")) return { prefix: key, object: undefined };
  return { prefix: `${key}/`, object: key };
}

/**
 * Asks for one page of the keys that start with `prefix`; otherwise as `ListPage`. Called for several ranges at once.
 */
export type ListObjectsPage = (
  prefix: string,
  range: KeyRange,
  continuation: string | undefined,
  signal: AbortSignal,
) => Promise<Page<StoredObject>>;

export interface ObjectsInit {
  readonly root: Root;
  readonly listPage: ListObjectsPage;
  /** As in `orderedPages`. */
  readonly atOnce: number;
  readonly compare?: Compare | undefined;
  readonly endpoint?: (() => Promise<string>) | undefined;
  /** Of what it leaves out nothing is told. */
  readonly scope?: Scope | undefined;
  warn(message: string): void;
}

/**
 * Lists what the root means, in ascending order of paths: `ordered` where the store itself is.
 *
 * @throws SourceError `not-found` where nothing is at a prefix; what `listPage` throws
 */
export async function* listObjects(
  init: ObjectsInit,
  signal: AbortSignal,
): AsyncGenerator<readonly Entry[]> {
  const { root, listPage, atOnce, compare, endpoint, scope, warn } = init;
  const { prefix } = root;
  const single = findSingle(init, signal);
  // Looked at below; a failure before that must not count as unhandled.
  single.catch(() => {});
  const skips = createSkips(warn);
  let found = false;
  /** Told at the end: by then it is known whether the source's own ignore file is the one that was gone by. */
  let unreadable: SourceError | undefined;
  const readable: ListPage<StoredObject> = async (...where) => {
    const page = await listPage(prefix, ...where);
    const items = page.items.filter((object) => object.unreadable === undefined);
    if (items.length === page.items.length) return page;
    found = true;
    unreadable ??= page.items.flatMap((object) => whyUnreadable(object, prefix, scope))[0];
    // Where they belong in the order of bytes, what can be read of them does not tell.
    return { ...page, items, passed: true };
  };
  const pages = orderedPages({ listPage: readable, prefix, atOnce, compare, endpoint }, signal);
  for await (const page of pages) {
    found ||= page.length > 0;
    const entries: Entry[] = [];
    for (const object of page) {
      if (object.directory === true) continue;
      const path = object.key.slice(prefix.length);
      if (path === "" || path.endsWith("/") || path.includes("//", 1)) {
        if (mayBeWanted(path, scope)) skips.add(object);
      } else entries.push(toEntry(object, path, object.ref));
    }
    yield entries;
  }
  if (unreadable !== undefined) throw unreadable;
  const object = await single;
  if (found) {
    if (object !== undefined) {
      warn(`${quotePath(object.key)} is left out: it is an object, and there are others below it`);
    }
    skips.end();
  } else if (object !== undefined) {
    const { key, ref = "" } = object;
    yield [toEntry(object, key.slice(key.lastIndexOf("/") + 1), SINGLE + ref)];
  } else if (prefix !== "") {
    throw new SourceError("not-found", `there is no object at or below ${quotePath(prefix)}`, {
      hint: "check the prefix in the URL; an empty object of that name, with its slash, stands for an empty directory",
    });
  }
}

/** @param path of what cannot be a file; with a slash at the end it stands for a directory */
function mayBeWanted(path: string, scope: Scope | undefined): boolean {
  const bare = path.replace(/\/+$/, "");
  if (scope === undefined || bare === "") return true;
  return bare === path ? scope.wants(path) : scope.enters(bare);
}

/** @returns nothing where it can be read, or is not wanted */
function whyUnreadable(
  { key, size, unreadable }: StoredObject,
  prefix: string,
  scope: Scope | undefined,
): readonly SourceError[] {
  const path = key.slice(prefix.length);
  const isMark = path.endsWith("/") && size === 0;
  if (unreadable === undefined || isMark || !mayBeWanted(path, scope)) return [];
  return [new UnreadableName(unreadable, [path])];
}

/** The object that the root names: of all keys that begin like it, its own is the first. */
async function findSingle(
  { root, listPage }: ObjectsInit,
  signal: AbortSignal,
): Promise<StoredObject | undefined> {
  const { object } = root;
  if (object === undefined) return undefined;
  const { items } = await listPage(object, { after: undefined, to: object }, undefined, signal);
  const [first] = items;
  const isFile = first?.directory !== true && first?.unreadable === undefined;
  return first?.key === object && isFile ? first : undefined;
}

function toEntry(object: StoredObject, path: string, ref: string | undefined): FileEntry {
  const { size, mode, mtime, fingerprint, digest } = object;
  return { kind: "file", path, size, mode, mtime, fingerprint, digest, ref };
}

/** Keys of one kind that are named in warnings; the others are counted. */
const NAMED = 5;

/** Keys that cannot be files, and are no marks of directories either. */
function createSkips(warn: (message: string) => void) {
  let count = 0;
  return {
    add({ key, size }: StoredObject): void {
      if (key.endsWith("/") && size === 0) return;
      if (++count > NAMED) return;
      const why = key.endsWith("/")
        ? "it is named like a directory, and holds content"
        : "it has a directory without a name";
      warn(`${quotePath(key)} is left out: ${why}`);
    },
    end(): void {
      if (count > NAMED) warn(`${count - NAMED} more keys are left out that no file can be named`);
    },
  };
}
