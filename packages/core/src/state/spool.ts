/** Listings that are too long to be sorted in memory pass through here. */
import type { Entry } from "../source/contract.ts";
import type { State } from "./state.ts";

/** Of several with one path the last one stays. */
export function spoolEntry(state: State, entry: Entry): void {
  state
    .sql("INSERT OR REPLACE INTO spool (path, entry) VALUES (?, ?)")
    .run(entry.path, JSON.stringify(entry));
}

export function spooledAt(state: State, path: string): Entry | undefined {
  const row = state.sql("SELECT entry FROM spool WHERE path = ?").get(path);
  return row === undefined ? undefined : (JSON.parse(row["entry"] as string) as Entry);
}

/** Takes away the first entries, in the order of their paths. */
export function takeSpooled(state: State, count: number): Entry[] {
  const entries = state
    .sql("SELECT entry FROM spool ORDER BY path LIMIT ?")
    .all(count)
    .map((row) => JSON.parse(row["entry"] as string) as Entry);
  const last = entries.at(-1);
  if (last !== undefined) state.sql("DELETE FROM spool WHERE path <= ?").run(last.path);
  return entries;
}

/** @returns whether there was anything left to delete */
export function deleteSpooled(state: State, count: number): boolean {
  const { changes } = state
    .sql("DELETE FROM spool WHERE path IN (SELECT path FROM spool LIMIT ?)")
    .run(count);
  return changes > 0;
}
