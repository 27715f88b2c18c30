/**
 * What a hook started and did not wait for, in whatever process group or session it is by now: it is known by a variable that all that
 * a hook starts inherits. (Node can neither adopt orphans nor make a cgroup; what cleans its environment is not found.)
 */
import { readdir, readFile } from "node:fs/promises";

export const MARK = "PANNIER_HOOK_RUN";

/** What is being killed may be starting another one. */
const ROUNDS = 20;
const ROUND_PAUSE_MS = 10;

/** The processes that there are, by their numbers. */
export async function listProcesses(): Promise<ReadonlySet<string>> {
  const names = await readdir("/proc").catch(() => []);
  return new Set(names.filter((name) => /^\d+$/.test(name)));
}

/**
 * Kills what carries this mark. Never throws.
 *
 * @param before those that there were before the hook began, which are none of its. Looking at each costs what a machine with many
 * processes and mounts would feel: only what came since is looked at. (A number comes again only after all others of the system.)
 */
export async function endLeftBehind(mark: string, before: ReadonlySet<string>): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const pids = await findMarked(`${MARK}=${mark}`, before);
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

async function findMarked(variable: string, before: ReadonlySet<string>): Promise<number[]> {
  const found: number[] = [];
  for (const name of await listProcesses()) {
    if (before.has(name)) continue;
    // Those of other users are not to be read; one that has ended has no environment.
    const variables = await readFile(`/proc/${name}/environ`, "latin1").catch(() => "");
    if (variables.split("\0").includes(variable)) found.push(Number(name));
  }
  return found;
}
