/** What the revisions of a target changed, read from its state. */
import { resolve } from "node:path";
import { hasState, openForReading } from "./history.ts";
import { entryAt, pathsAt } from "../state/entries.ts";
import { layoutOf } from "../volume/layout.ts";
import { changedPaths, firstDelta, generations, newestIds } from "../state/generations.ts";
import { hasTables, type State } from "../state/state.ts";

/** A path that two revisions show differently. */
export interface ChangedPath {
  readonly change: "added" | "changed" | "deleted";
  readonly path: string;
}

/**
 * The paths that differ between two entries of a target's history, in order. May be called beside a running sync.
 *
 * @param from id of the earlier one; `undefined`: nothing, so that every path of `to` was added
 * @param to id of the later one
 * @returns `undefined` where the state no longer tells: it keeps what the trees that are kept need
 */
export function changesBetween(
  target: string,
  from: number | undefined,
  to: number,
): Iterable<ChangedPath> | undefined {
  const layout = layoutOf(resolve(target));
  if (!hasState(layout)) return undefined;
  const state = openForReading(layout);
  const known = hasTables(state) && isKnown(state, from, to);
  if (!known) state.close();
  return known ? closing(state, differences(state, from, to)) : undefined;
}

function* closing<Item>(state: State, items: Iterable<Item>): Generator<Item, void> {
  try {
    yield* items;
  } finally {
    state.close();
  }
}

/** Milliseconds of work at a time: who reads a long history must not hold up the rest of the process. */
const SLICE = 10;

/**
 * What each of the newest entries of a target's history changed, by its id: one reading of the state for all of them. May be called
 * beside a running sync.
 *
 * @param limits entries, paths of each, and the id up to which the caller knows them already
 * @returns nothing for entries of which the state no longer tells
 */
export async function recentChanges(
  target: string,
  limits: { readonly entries: number; readonly paths: number; readonly after: number },
): Promise<Map<number, readonly ChangedPath[]>> {
  const found = new Map<number, readonly ChangedPath[]>();
  const layout = layoutOf(resolve(target));
  if (!hasState(layout)) return found;
  const state = openForReading(layout);
  try {
    if (!hasTables(state)) return found;
    const ids = newestIds(state, limits.entries + 1);
    let since = performance.now();
    for (const [index, id] of ids.slice(0, limits.entries).entries()) {
      if (id <= limits.after) break;
      const before = ids[index + 1];
      if (before === undefined ? isToldFromNothing(state, id, ids) : isSince(state, before))
        found.set(id, [...take(differences(state, before, id), limits.paths)]);
      if (performance.now() - since < SLICE) continue;
      await new Promise((done) => setImmediate(done));
      since = performance.now();
    }
    return found;
  } finally {
    state.close();
  }
}

function* take<Item>(items: Iterable<Item>, most: number): Generator<Item, void> {
  let taken = 0;
  for (const item of items) {
    if (taken++ === most) return;
    yield item;
  }
}

/** Rows and deltas are kept from the oldest tree on, see collect.ts. */
function isKnown(state: State, from: number | undefined, to: number): boolean {
  const ids = generations(state).map(({ id }) => id);
  if (!ids.includes(to)) return false;
  if (from === undefined) return isToldFromNothing(state, to, ids);
  return from === to || isSince(state, from);
}

/** @param ids of the history, the newest first */
function isToldFromNothing(state: State, to: number, ids: readonly number[]): boolean {
  return to === ids[0] || isSince(state, to);
}

function isSince(state: State, id: number): boolean {
  const first = firstDelta(state);
  return first !== undefined && id >= first - 1;
}

function* differences(
  state: State,
  from: number | undefined,
  to: number,
): Generator<ChangedPath, void> {
  const before = from === undefined ? () => undefined : entryAt(state, from);
  const after = entryAt(state, to);
  const paths = from === undefined ? pathsAt(state, to) : changedPaths(state, from, to);
  for (const { path } of paths) {
    const [then, now] = [before(path), after(path)];
    if (then?.layer === now?.layer && then?.since === now?.since) continue;
    const change = then === undefined ? "added" : now === undefined ? "deleted" : "changed";
    yield { change, path };
  }
}
