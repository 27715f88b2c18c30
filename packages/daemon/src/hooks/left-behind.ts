/**
 * What a hook started and did not wait for, in whatever process group or session it is by now: it is known by a variable that all that
 * a hook starts inherits. (Node can neither adopt orphans nor make a cgroup; what cleans its environment is not found.)
 */
import { readdir, readFile } from "node:fs/promises";

export const MARK = "PANNIER_HOOK_RUN";

/** What is being killed may be starting another one. */
const ROUNDS = 20;
const ROUND_PAUSE_MS = 10;

/** Kills what carries this mark. Never throws. */
export async function endLeftBehind(mark: string): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const pids = await findMarked(`${MARK}=${mark}`);
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended meanwhile.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, ROUND_PAUSE_MS));
  }
}

async function findMarked(variable: string): Promise<number[]> {
  const found: number[] = [];
  const names = await readdir("/proc").catch(() => []);
  for (const name of names) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    // Those of other users are not to be read; one that has ended has no environment.
    const variables = await readFile(`/proc/${name}/environ`, "latin1").catch(() => "");
    if (variables.split("\0").includes(variable)) found.push(Number(name));
  }
  return found;
}
