/** A directory's items in the order of their paths, without those that are not wanted. */
import {
  comparePaths,
  type Entry,
  IGNORE_FILE,
  makePause,
  type Scope,
  sortInSlices,
} from "@pannier/core/adapter";
import type { DirectoryItem } from "./directory-item.ts";
import { checkName } from "./walk-limits.ts";

/** What a directory holds; a directory that is not wanted still stands for its name. */
export type Item = DirectoryItem | { readonly name: string; readonly kind: "passed" };

export function ignoreFileOf(items: readonly DirectoryItem[]): Entry | undefined {
  const item = items.find(({ name }) => name === IGNORE_FILE);
  return item?.kind === "entry" ? item.entry(IGNORE_FILE) : undefined;
}

export async function withoutUnwanted(
  items: readonly DirectoryItem[],
  prefix: string,
  scope: Scope | undefined,
): Promise<readonly Item[]> {
  if (scope?.filters !== true) return items;
  const pause = makePause();
  const wanted: Item[] = [];
  for (const item of items) {
    const { name, kind } = item;
    const path = prefix + name;
    // Should it be a directory, then what may be wanted is below.
    if (kind === "unknown" && scope.enters(path)) throw item.failure;
    if (kind === "gone" && !scope.wants(path) && !scope.enters(path)) continue;
    const passed = kind === "directory" && !scope.enters(path);
    wanted.push(passed ? { name, kind: "passed" } : item);
    if (wanted.length % 1000 === 0) await pause();
  }
  return wanted;
}

/** A directory `a` stands where its content does, at `a/`: behind `a.b`. */
export async function sorted(
  items: readonly DirectoryItem[],
  prefix: string,
): Promise<readonly DirectoryItem[]> {
  const pause = makePause();
  for (const [index, item] of items.entries()) {
    checkName(item.name, prefix);
    if (index % 1000 === 999) await pause();
  }
  return sortInSlices(items, compareItems);
}

function compareItems(a: DirectoryItem, b: DirectoryItem): number {
  if (a.kind !== "directory" && b.kind !== "directory") return comparePaths(a.name, b.name);
  return comparePaths(keyOf(a), keyOf(b));
}

function keyOf({ kind, name }: DirectoryItem): string {
  return kind === "directory" ? `${name}/` : name;
}
