/** Statements that would go through many rows, in slices: the main thread has to stay free, however many entries there are. */
import { comparePaths } from "../source/path.ts";
import type { Pause } from "../timing/slices.ts";
import { DamagedState } from "./damaged.ts";
import type { State } from "./state.ts";

/** Rows that a statement goes through in one go: some milliseconds. */
export const ROWS = 1000;

/** Paths after one, up to another: for the last two parameters of a statement that has {@link IN_RANGE}. */
export type Range = readonly [after: string, upTo: string | Uint8Array];

export const IN_RANGE = "path > ? AND path <= ?";

/** To SQLite, bytes come after any text. */
const END = Uint8Array.of(0xff, 0xff);

/**
 * The paths of a table, in order, in ranges of {@link ROWS} rows and the rows beyond that share the last path. What is changed in a
 * range that was given out is not seen again.
 */
export async function* ranges(
  state: State,
  table: "plan" | "entries" | "overlay" | "seen",
  pause: Pause,
): AsyncGenerator<Range> {
  const end = state.sql(
    `SELECT path FROM ${table} WHERE path > ? ORDER BY path LIMIT 1 OFFSET ${ROWS - 1}`,
  );
  let after = "";
  for (;;) {
    const upTo = end.get(after)?.["path"] as string | undefined;
    // Bytes that are no text are read as others than they are.
    if (upTo !== undefined && comparePaths(upTo, after) <= 0)
      throw new DamagedState(`the paths of ${table} are in no order`);
    yield [after, upTo ?? END];
    if (upTo === undefined) return;
    after = upTo;
    await pause();
  }
}

/** Runs a statement whose last two parameters are those of {@link IN_RANGE} for one range after another. */
export async function runInRanges(
  state: State,
  table: Parameters<typeof ranges>[1],
  pause: Pause,
  sql: string,
  ...values: readonly (string | number | null)[]
): Promise<void> {
  const statement = state.sql(sql);
  for await (const range of ranges(state, table, pause)) statement.run(...values, ...range);
}

/** Empties one of the tables that hold work under way. Writes nothing where it is empty. */
export async function clearTable(
  state: State,
  table: "plan" | "overlay" | "seen",
  pause: Pause,
): Promise<void> {
  if (state.sql(`SELECT 1 FROM ${table} LIMIT 1`).get() === undefined) return;
  await runInRanges(state, table, pause, `DELETE FROM ${table} WHERE ${IN_RANGE}`);
}
