/** Directories of the trees on the volume, as they were left: a changed one was meddled with. */
import type { Pause } from "../timing/slices.ts";
import { ROWS } from "./ranges.ts";
import type { State } from "./state.ts";

export interface DirectoryFacts {
  readonly ino: number;
  readonly ctime: number;
}

/** @param slot what names the tree */
export function directoriesOf(
  state: State,
  slot: number,
): Iterable<DirectoryFacts & { readonly path: string }> {
  return state
    .prepare("SELECT path, ino, ctime FROM directories WHERE slot = ?")
    .iterate(slot) as unknown as Iterable<DirectoryFacts & { readonly path: string }>;
}

/** Notes how a directory was left, or that it is gone. */
export function noteDirectory(
  state: State,
  slot: number,
  path: string,
  facts: DirectoryFacts | undefined,
): void {
  if (facts === undefined)
    state.sql("DELETE FROM directories WHERE slot = ? AND path = ?").run(slot, path);
  else
    state
      .sql("INSERT OR REPLACE INTO directories (slot, path, ino, ctime) VALUES (?, ?, ?, ?)")
      .run(slot, path, facts.ino, facts.ctime);
}

const DELETE_DIRECTORIES = `DELETE FROM directories WHERE (slot, path) IN
  (SELECT slot, path FROM directories WHERE slot = ? LIMIT ${ROWS})`;

export async function deleteDirectories(state: State, slot: number, pause: Pause): Promise<void> {
  while (state.sql(DELETE_DIRECTORIES).run(slot).changes > 0) await pause();
}
