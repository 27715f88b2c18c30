/** The plan as its readers see it. */
import { changedRows } from "../state/plan-paths.ts";
import type { State } from "../state/state.ts";
import type { Change } from "./change.ts";
import { type EntryRow, FILE } from "../state/row.ts";

/**
 * The paths that the plan changes in the tree, in order.
 *
 * @param versionOf {@link Change.version} of a file that is put
 */
export function* plannedChanges(
  state: State,
  versionOf: (row: EntryRow) => string | undefined = () => undefined,
): Generator<Change> {
  for (const row of changedRows(state)) {
    const { change, path, layer, kind, size } = row;
    yield {
      change,
      path,
      kind: kind === FILE ? "file" : "symlink",
      size: size ?? undefined,
      source: layer,
      version: kind === FILE && change !== "deleted" ? versionOf(row) : undefined,
    };
  }
}
