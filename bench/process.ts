/** Processes while they run, as /proc shows them; see proc(5). */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Command } from "./measure.ts";

export interface Moment {
  /** Bytes given to storage. */
  readonly written: number;
  /** MiB. */
  readonly resident: number;
  /** Seconds, with those of ended children. */
  readonly cpu: number;
  readonly descriptors: number;
}

export function observe(pid: number): Moment {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const io = readFileSync(`/proc/${pid}/io`, "utf8");
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // After the name, which may hold anything: state is field 3; 14 to 17 are times in hundredths of a second.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return {
    written: Number(/^write_bytes: (\d+)/m.exec(io)?.[1]),
    resident: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024,
    cpu: ticks / 100,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  };
}

/** Of a process with those that it started: what they took together. */
export function observeAll(pid: number): Pick<Moment, "cpu" | "resident"> {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
  const all = [pid, ...children.filter((child) => child !== "").map(Number)].map(observe);
  return {
    cpu: all.reduce((sum, { cpu }) => sum + cpu, 0),
    resident: all.reduce((sum, { resident }) => sum + resident, 0),
  };
}

/** Runs a program for as long as somebody asks for more: gives its process id at each line of its log that has the mark. @throws when it ends */
export async function* marksOf(command: Command, mark: RegExp): AsyncGenerator<number> {
  const child = spawn(command.program, command.args, {
    env: { ...process.env, ...command.env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const exit = once(child, "exit");
  try {
    for await (const line of createInterface({ input: child.stderr })) {
      if (mark.test(line)) yield child.pid as number;
    }
    throw new Error(`${command.program} ${command.args.join(" ")} ended: ${await exit}`);
  } finally {
    child.kill("SIGTERM");
    child.stderr.resume();
    await exit;
  }
}
