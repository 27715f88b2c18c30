/** Starting and ending server programs, on 127.0.0.1 and free ports. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { delimiter, isAbsolute, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../../support/free-port.ts";

/** Where the servers keep what they need, and which processes are to be ended in the end. */
export interface Ground {
  /** A temporary directory that all servers share: each makes its own below it. */
  readonly base: string;
  readonly children: ChildProcess[];
}

/** Where `../run` installs what is no Debian package. */
export const TOOLS = join(import.meta.dirname, "../../../.tools");

export function findProgram(name: string): string | undefined {
  if (isAbsolute(name)) return existsSync(name) ? name : undefined;
  const directories = [
    join(TOOLS, "bin"),
    join(TOOLS, "node_modules/.bin"),
    join(TOOLS, "proftpd/usr/sbin"),
    ...(process.env["PATH"] ?? "").split(delimiter),
    // Servers live in sbin, which is not in every user's path.
    "/usr/sbin",
    "/sbin",
  ];
  return directories.map((directory) => join(directory, name)).find((path) => existsSync(path));
}

/** In a process group of its own: fcgiwrap does not end its workers, so {@link end} signals the group. */
export function run(
  program: string,
  args: readonly string[],
  /** `quiet`: what it says of each request is not shown. `env` is added to ours. */
  { quiet = false, env }: { quiet?: boolean; env?: Readonly<Record<string, string>> } = {},
): ChildProcess {
  return spawn(program, args, {
    stdio: ["ignore", "ignore", quiet ? "ignore" : "inherit"],
    detached: true,
    // Java cannot read names that are not ASCII where the environment has no language.
    env: { ...process.env, LC_ALL: "C.UTF-8", ...env },
  });
}

/** Starts a server on free ports until all of them answer; a port may be taken in between, so not only once. */
export async function listening(
  name: string,
  count: number,
  start: (ports: readonly number[]) => Promise<ChildProcess>,
  patience?: number,
): Promise<{ child: ChildProcess; ports: number[] }> {
  for (let attempt = 1; ; attempt++) {
    const ports = await Promise.all(Array.from({ length: count }, freePort));
    const child = await start(ports);
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null;
    const answer = async () => hasEnded() || (await Promise.all(ports.map(answers))).every(Boolean);
    try {
      await until(name, answer, patience);
    } catch (error) {
      await end(child);
      throw error;
    }
    if (!hasEnded()) return { child, ports };
    if (attempt === 3) throw new Error(`${name} ended with ${child.exitCode ?? child.signalCode}`);
  }
}

/**
 * Waits for a condition. The patience is for a machine that is busy with much else, and less than the time-out of a test,
 * which would not say what was waited for.
 */
export async function until(
  name: string,
  done: () => Promise<boolean>,
  patience = 240_000,
): Promise<void> {
  const deadline = Date.now() + patience;
  while (!(await done())) {
    if (Date.now() > deadline) throw new Error(`waited ${patience / 1000} s for ${name}`);
    await delay(25);
  }
}

/** Those that somebody listens on in the network namespace of a process, once for each address: proc_net_tcp in the kernel's documentation. */
export async function listeningPorts(pid: number): Promise<number[]> {
  const LISTEN = "0A";
  const tables = await Promise.all(
    ["tcp", "tcp6"].map((name) => readFile(`/proc/${pid}/net/${name}`, "utf8").catch(() => "")),
  );
  const rows = tables.flatMap((table) => table.split("\n")).map((row) => row.trim().split(/\s+/));
  return rows
    .filter(([, , , state]) => state === LISTEN)
    .map(([, local = ""]) => Number.parseInt(local.split(":")[1] as string, 16));
}

/** Signals a process and all that descends from it, also where a child left its group, as a session of sshd does. */
export function signalTree(pid: number, signal: NodeJS.Signals): void {
  const parents = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      // After the name, which may hold anything: proc_pid_stat(5).
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      parents.set(parent, [...(parents.get(parent) ?? []), Number(name)]);
    } catch {
      // It has ended since.
    }
  }
  const tree = [pid];
  for (let at = 0; at < tree.length; at++) tree.push(...(parents.get(tree[at] as number) ?? []));
  for (const one of tree) {
    try {
      process.kill(one, signal);
    } catch {
      // It has ended since.
    }
  }
}

export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const group = -(child.pid as number);
  const exit = once(child, "exit");
  process.kill(group, "SIGTERM");
  const stubborn = setTimeout(() => process.kill(group, "SIGKILL"), 5_000);
  await exit;
  clearTimeout(stubborn);
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}
