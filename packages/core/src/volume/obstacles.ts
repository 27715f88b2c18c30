/** `--publish mirror`: what others put where the plan needs room. */
import { statSync } from "node:fs";
import { RefusedError, TargetError } from "../errors.ts";
import { parentOf, quotePath } from "../source/path.ts";
import { plannedPuts } from "../state/plan-paths.ts";
import { hasPlannedBelow, plannedEntry } from "../state/plan.ts";
import type { State } from "../state/state.ts";
import type { Pause } from "../timing/slices.ts";
import { HOME } from "./layout.ts";
import type { Tree } from "./tree.ts";

/** Found before anything is fetched: what somebody else put where the plan needs room. */
export async function refuseObstacles(state: State, tree: Tree, pause: Pause): Promise<void> {
  const planned = plannedEntry(state);
  const device = statSync(tree.root).dev;
  for (const { path, change } of plannedPuts(state)) {
    await pause();
    if (change !== "added" && change !== "changed") continue;
    if (path === HOME || path.startsWith(`${HOME}/`))
      throw new RefusedError(`${quotePath(path)} would lie in Pannier's own directory`, {
        hint: "exclude it, or use --publish swap",
      });
    if (tree.stat(path)?.isDirectory() === true && !hasPlannedBelow(state, path, "gone"))
      throw blocked(path, "a directory");
    for (let directory = parentOf(path); directory !== ""; directory = parentOf(directory)) {
      const stats = tree.stat(directory);
      if (stats?.isDirectory() === true) {
        // What was decided must be possible: a rename that fails half way would fail in every later run.
        if (stats.dev !== device) throw otherDevice(directory);
        break;
      }
      if (stats !== undefined && planned(directory)?.change !== "deleted")
        throw blocked(directory, stats.isSymbolicLink() ? "a symlink" : "a file");
    }
  }
}

export function blocked(path: string, what: string): RefusedError {
  return new RefusedError(
    `${what} that Pannier did not put there is in the way at ${quotePath(path)} in the target`,
    { hint: "move it away" },
  );
}

function otherDevice(directory: string): TargetError {
  return new TargetError(
    `${quotePath(directory)} in the target is on another device, so nothing can be moved into it at once`,
    { hint: "unmount it, or exclude what lies in it" },
  );
}
