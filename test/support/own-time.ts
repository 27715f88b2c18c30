/** Time as a process had it: on a busy machine, it also waits for a processor, which is not its fault. */
import { readdirSync, readFileSync } from "node:fs";

/** Milliseconds that the threads of a process have waited for a processor, where the kernel tells: sched-stats in its documentation. */
function waitedForProcessor(pid: number): number {
  let waited = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const [, queued] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ");
      waited += Number(queued) / 1e6;
    }
  } catch {
    // The thread has ended, or this is another kernel.
  }
  return waited;
}

/** @returns milliseconds since then, less those for which one of the processes waited for a processor: this one, unless others are named */
export function ownTime(...pids: readonly number[]): () => number {
  const processes = pids.length > 0 ? pids : [process.pid];
  const waited = () => processes.reduce((sum, pid) => sum + waitedForProcessor(pid), 0);
  const began = performance.now();
  const before = waited();
  return () => performance.now() - began - Math.max(0, waited() - before);
}
