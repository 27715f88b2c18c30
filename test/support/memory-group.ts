/** Groups of processes that may use so much memory and no more, as a container's: cgroups of version 1 or 2. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

export interface MemoryGroup {
  /** A command line that starts a program in the group. */
  readonly by: readonly string[];
  /** How many processes the kernel has killed in it for want of memory. */
  kills(): number;
  /** Bytes that were in use at most; up to the limit, pages of files count too. */
  peak(): number;
  /** Ends what is left in it. */
  remove(): Promise<void>;
}

let made = 0;

const V1 = "/sys/fs/cgroup/memory";
const V2 = "/sys/fs/cgroup";

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

/** `undefined` where this process may make none. */
export function makeMemoryGroup(name: string, bytes: number): MemoryGroup | undefined {
  const isV1 = existsSync(join(V1, "memory.limit_in_bytes"));
  const dir = join(isV1 ? V1 : V2, `${name}-${process.pid}-${made++}`);
  try {
    mkdirSync(dir);
  } catch {
    return undefined;
  }
  const read = (file: string) => readFileSync(join(dir, file), "utf8");
  try {
    writeFileSync(join(dir, isV1 ? "memory.limit_in_bytes" : "memory.max"), String(bytes));
    if (!isV1) writeFileSync(join(dir, "memory.swap.max"), "0");
  } catch {
    rmdirSync(dir);
    return undefined;
  }
  return {
    by: ["sh", "-c", `echo $$ > '${join(dir, "cgroup.procs")}' && exec "$@"`, "sh"],
    kills: () =>
      Number(/^oom_kill (\d+)/m.exec(read(isV1 ? "memory.oom_control" : "memory.events"))?.[1]),
    peak: () => Number(read(isV1 ? "memory.max_usage_in_bytes" : "memory.peak")),
    async remove() {
      for (;;) {
        const left = read("cgroup.procs")
          .split("\n")
          .filter((line) => line !== "");
        for (const pid of left) kill(Number(pid));
        try {
          rmdirSync(dir);
          return;
        } catch (error) {
          // The kernel takes a moment to forget a process that has ended.
          if ((error as NodeJS.ErrnoException).code !== "EBUSY") throw error;
          await setTimeout(10);
        }
      }
    },
  };
}
