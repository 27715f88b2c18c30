/** The program in this process, with everything it says. */
import { EventEmitter } from "node:events";
import { main } from "../src/main.ts";
import type { Output } from "../src/process-context.ts";

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly signals?: EventEmitter;
  /** Whether standard error is a terminal. */
  readonly terminal?: boolean;
  /** Told of each piece as it is written. */
  readonly onOutput?: (text: string) => void;
}

export async function run(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const said = { stdout: "", stderr: "" };
  const output = (name: "stdout" | "stderr"): Output => ({
    isTTY: name === "stderr" && options.terminal === true,
    write(text) {
      said[name] += text;
      options.onOutput?.(text);
      return true;
    },
    once() {},
  });
  const code = await main(args, {
    env: options.env ?? {},
    cwd: options.cwd ?? import.meta.dirname,
    stdout: output("stdout"),
    stderr: output("stderr"),
    signals: options.signals ?? new EventEmitter(),
  });
  return { code, ...said };
}
