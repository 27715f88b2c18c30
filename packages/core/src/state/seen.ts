/** A set of paths that work under way has seen: those that are damaged, or those that are as recorded. */
import { empty, type State } from "./state.ts";

export function noteSeen(state: State, path: string): void {
  state.sql("INSERT OR IGNORE INTO seen (path) VALUES (?)").run(path);
}

export function clearSeen(state: State): void {
  empty(state, "seen");
}
