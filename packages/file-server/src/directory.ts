/** The directories of a walk: those on the way to where its consumer is, and those that come after. */
import { makePause } from "@pannier/core/adapter";
import type { Item } from "./wanted.ts";

/** A directory that is listed sooner or later. Those not yet reached form a list in the order of their paths. */
export interface Directory {
  readonly prefix: string;
  readonly parent: Directory | undefined;
  /** As its parent has it. */
  readonly name: string;
  /** `postponed`: too large to be read ahead. */
  state: "unread" | "postponed" | "reading" | "read" | "failed";
  /** Names that came while it is read. */
  underway: number;
  /** Sorted, once read. */
  items: readonly Item[];
  next: number;
  /** Its subdirectories in the order of `items`. */
  children: Directory[];
  nextChild: number;
  error: unknown;
  following: Directory | undefined;
  /** What it held when it was looked at again, because something of it was gone. */
  laterNames: ReadonlySet<string> | undefined;
}

export function makeDirectory(parent: Directory | undefined, name: string): Directory {
  return {
    prefix: parent === undefined ? "" : `${parent.prefix}${name}/`,
    parent,
    name,
    state: "unread",
    underway: 0,
    items: [],
    next: 0,
    children: [],
    nextChild: 0,
    error: undefined,
    following: undefined,
    laterNames: undefined,
  };
}

/** Puts the subdirectories into the list, right after their parent. */
export async function insertChildren(directory: Directory): Promise<void> {
  const pause = makePause();
  let end: Directory | undefined;
  let start: Directory | undefined;
  for (const item of directory.items) {
    if (item.kind !== "directory") continue;
    const child = makeDirectory(directory, item.name);
    if (item.failure !== undefined) {
      child.state = "failed";
      child.error = item.failure;
    }
    directory.children.push(child);
    if (end === undefined) start = child;
    else end.following = child;
    end = child;
    if (directory.children.length % 1000 === 0) await pause();
  }
  if (end === undefined) return;
  end.following = directory.following;
  directory.following = start;
}
