/** What the revisions of a target changed, read from its state. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { hasTables, openForReading } from "./history.ts";
import { entryAt } from "./volume/entries.ts";
import { layoutOf } from "./volume/layout.ts";
import { generations, type State } from "./volume/state.ts";

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
  if (!existsSync(layout.state)) return undefined;
  const state = openForReading(layout);
  const known = hasTables(state) && isKnown(state, from, to);
  if (!known) state.close();
  return known ? differences(state, from, to) : undefined;
}

/** Rows and deltas are kept from the oldest tree on, see collect.ts. */
function isKnown(state: State, from: number | undefined, to: number): boolean {
  const ids = generations(state).map(({ id }) => id);
  if (!ids.includes(to)) return false;
  if (from === undefined) return to === ids[0] || isSince(state, to);
  return from === to || isSince(state, from);
}

function isSince(state: State, id: number): boolean {
  const first = state.sql("SELECT MIN(generation) AS first FROM deltas").get()?.["first"];
  return typeof first === "number" && id >= first - 1;
}

function* differences(
  state: State,
  from: number | undefined,
  to: number,
): Generator<ChangedPath, void> {
  try {
    const before = from === undefined ? () => undefined : entryAt(state, from);
    const after = entryAt(state, to);
    const paths =
      from === undefined
        ? state
            .prepare(
              "SELECT DISTINCT path FROM entries WHERE since <= ? AND (until IS NULL OR until > ?) ORDER BY path",
            )
            .iterate(to, to)
        : state
            .prepare(
              "SELECT DISTINCT path FROM deltas WHERE generation > ? AND generation <= ? ORDER BY path",
            )
            .iterate(from, to);
    for (const row of paths) {
      const path = row["path"] as string;
      const [then, now] = [before(path), after(path)];
      if (then?.layer === now?.layer && then?.since === now?.since) continue;
      const change = then === undefined ? "added" : now === undefined ? "deleted" : "changed";
      yield { change, path };
    }
  } finally {
    state.close();
  }
}
