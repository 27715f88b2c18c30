/** The plan as its readers see it. */
import type { State } from "../state/state.ts";
import type { Change } from "./change.ts";
import { type EntryRow, FILE } from "../state/row.ts";

const WORDS = { A: "added", M: "changed", D: "deleted" } as const;

/**
 * The paths that the plan changes in the tree, in order.
 *
 * @param versionOf {@link Change.version} of a file that is put
 */
export function* plannedChanges(
  state: State,
  versionOf: (row: EntryRow) => string | undefined = () => undefined,
): Generator<Change> {
  for (const row of state
    .prepare(
      "SELECT change, path, layer, kind, size, mode, mtime, fingerprint, ref, sha256 FROM plan WHERE wins = 1 AND change IN ('A', 'M', 'D') ORDER BY path",
    )
    .iterate()) {
    yield {
      change: WORDS[row["change"] as keyof typeof WORDS],
      path: row["path"] as string,
      kind: row["kind"] === FILE ? "file" : "symlink",
      size: (row["size"] as number | null) ?? undefined,
      source: row["layer"] as number,
      version:
        row["kind"] === FILE && row["change"] !== "D"
          ? versionOf(row as unknown as EntryRow)
          : undefined,
    };
  }
}
