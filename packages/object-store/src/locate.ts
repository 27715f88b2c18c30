/** Where an entry is in its bucket. In a module of its own, for lanes. */
import type { FileEntry } from "@pannier/core/adapter";

/**
 * What a URL means in its bucket. `site/` is everything below; `site` is everything below `site/`, or else the object of that
 * name, never `site-old/…`; nothing is the whole bucket.
 */
export interface Root {
  /** Of everything below; empty, or ends with a slash. */
  readonly prefix: string;
  /** The key of the single object that may be meant. */
  readonly object: string | undefined;
}

/** What the `ref` of a single object starts with: its path is no key below the prefix. */
export const SINGLE = "object:";

/** The key that an entry was listed under, and the `ref` that the adapter gave it. */
export function locate(
  root: Root,
  { path, ref }: FileEntry,
): { readonly key: string; readonly ref: string | undefined } {
  if (root.object === undefined || ref?.startsWith(SINGLE) !== true) {
    return { key: root.prefix + path, ref };
  }
  const own = ref.slice(SINGLE.length);
  return { key: root.object, ref: own === "" ? undefined : own };
}
