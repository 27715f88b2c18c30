/** The real program, run from its sources in a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { COMPILE_CACHE, FROM_SOURCES, toldOfLanes } from "./from-sources.ts";

export const PROGRAM = fileURLToPath(new URL("../../packages/cli/src/bin.ts", import.meta.url));

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Directory that `~` means; nothing of the user's own is ever read. */
  readonly home?: string;
  /** A program that starts it, with arguments: `nsenter`, `setpriv`. */
  readonly by?: readonly string[];
  /** Flags of Node. */
  readonly flags?: readonly string[];
}

export interface Outcome {
  readonly code: number | null;
  readonly signal?: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process that was started, and how it ended. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Outcome>;
}

export function startPannier(args: readonly string[], options: RunOptions = {}): Running {
  const node = [process.execPath, ...FROM_SOURCES, ...(options.flags ?? [])];
  const command = [...(options.by ?? []), ...node, PROGRAM, ...args];
  const child = spawn(command[0] as string, command.slice(1), {
    cwd: options.cwd,
    env: {
      PATH: process.env["PATH"],
      HOME: options.home ?? "/nonexistent",
      LANG: "C.UTF-8",
      NO_PROXY: "127.0.0.1",
      ...COMPILE_CACHE,
      ...toldOfLanes(),
      ...options.env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const ended = once(child, "close").then(([code, signal]) => ({
    code: code as number | null,
    signal: signal as NodeJS.Signals | null,
    stdout,
    stderr,
  }));
  return { child, ended };
}

export function runPannier(args: readonly string[], options?: RunOptions): Promise<Outcome> {
  return startPannier(args, options).ended;
}

/** Runs the program and throws, with what it said, unless it ends with 0. */
export async function runPannierOk(
  args: readonly string[],
  options?: RunOptions,
): Promise<Outcome> {
  const outcome = await runPannier(args, options);
  if (outcome.code !== 0) throw new Error(`pannier ${args.join(" ")}: ${describeOutcome(outcome)}`);
  return outcome;
}

/** The JSON lines of a process, one at a time; throws when it ends before the one that is waited for. */
export function jsonLines({ child, ended }: Running) {
  if (child.stdout === null) throw new Error("no standard output");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async until(wanted: (event: Record<string, unknown>) => boolean) {
      for (;;) {
        const { value, done } = await lines.next();
        if (done === true) throw new Error(`pannier ended: ${describeOutcome(await ended)}`);
        const event = JSON.parse(value) as Record<string, unknown>;
        if (wanted(event)) return event;
      }
    },
  };
}

export function describeOutcome({ code, signal, stdout, stderr }: Outcome): string {
  return `exit ${code ?? signal}\n${stderr.slice(-2000)}${stdout.slice(-500)}`;
}
