/** A hook that is a signal to a program of another container, in a process namespace that both share. */
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import type { SignalConfig } from "../config/config.ts";
import { HookFailure } from "./command.ts";

interface Process {
  readonly pid: number;
  readonly parent: number;
}

/**
 * Sends the signal to each process of that name whose parent is none: the master of a server, not its workers.
 *
 * @throws HookFailure
 */
export function sendSignal({ signal, process: name }: SignalConfig): void {
  const found = processesNamed(name);
  const pids = new Set(found.map(({ pid }) => pid));
  const chosen = found.filter(({ parent }) => !pids.has(parent));
  if (chosen.length === 0)
    throw new HookFailure(
      `there is no process "${name}"; in Kubernetes, the pod needs shareProcessNamespace: true`,
    );
  for (const { pid } of chosen) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ESRCH") continue;
      throw new HookFailure(
        code === "EPERM"
          ? `process "${name}" belongs to another user; run both as the same one`
          : `process "${name}" cannot be sent ${signal} (${code})`,
        { cause: error },
      );
    }
  }
}

/** By the name that the kernel keeps (15 bytes of it) or that it was started by. See proc(5). */
function processesNamed(name: string): Process[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .flatMap((entry) => {
      try {
        const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
        const end = stat.lastIndexOf(")");
        const kernelName = stat.slice(stat.indexOf("(") + 1, end);
        const [started = ""] = readFileSync(`/proc/${entry}/cmdline`, "utf8").split(/[\0 ]/);
        const [state, parent] = stat.slice(end + 2).split(" ");
        const isMeant =
          kernelName === name.slice(0, 15) || basename(started).replace(/:$/, "") === name;
        return isMeant && state !== "Z" ? [{ pid: Number(entry), parent: Number(parent) }] : [];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
}
