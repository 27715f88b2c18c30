/** A set of paths that work under way has seen: those that are damaged, or those that are as recorded. */
import type { Pause } from "../timing/slices.ts";
import { clearTable } from "./ranges.ts";
import type { State } from "./state.ts";

export function noteSeen(state: State, path: string): void {
  state.sql("INSERT OR IGNORE INTO seen (path) VALUES (?)").run(path);
}

export async function clearSeen(state: State, pause: Pause): Promise<void> {
  await clearTable(state, "seen", pause);
}
