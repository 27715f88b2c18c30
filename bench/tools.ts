/** The programs that are measured. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BUILT_IN } from "../packages/cli/src/adapters.ts";
import { findProgram } from "../test/real/servers/process.ts";
import type { Command } from "./measure.ts";

const CLI = fileURLToPath(new URL("../packages/cli/bin/pannier.js", import.meta.url));
const CHECKOUT = fileURLToPath(new URL("checkout.sh", import.meta.url));

let ours = CLI;

/** Makes the program as an image has it, in one piece, which is what is measured from then on. */
export function bundleInto(directory: string): void {
  const adapters = BUILT_IN.map(({ name }) => name).join(",");
  const bundle = [CLI, "bundle", "--adapters", adapters, "--out", directory];
  execFileSync(process.execPath, bundle, { stdio: ["ignore", "ignore", "inherit"] });
  ours = join(directory, "bin/pannier.js");
}

export function pannier(...args: string[]): Command {
  return { program: process.execPath, args: [ours, ...args] };
}

/** For rclone: one listing instead of one a directory, and as many transfers as helped. */
export const RCLONE_TUNED = ["--fast-list", "--transfers=64", "--checkers=64"];

/** rclone, without a configuration of its own. @param env describes the remote */
export function rclone(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Command {
  const program = findProgram("rclone");
  if (program === undefined) throw new Error("rclone has to be in the path or in .tools/bin");
  return { program, args, env: { RCLONE_CONFIG: "/dev/null", ...env } };
}

export interface GitPeer {
  readonly name: string;
  /** Brings the branch `main` of the repository at `url` below `root`, visible as `root/current`. */
  command(url: string, root: string): Command;
}

/** git-sync that follows the branch `main`, where it is installed. */
export function gitSync(url: string, root: string): Command | undefined {
  const program = installedGitSync();
  if (program === undefined) return undefined;
  return {
    program,
    args: [
      `--repo=${url}`,
      "--ref=main",
      `--root=${root}`,
      "--link=current",
      "--depth=1",
      "--period=50ms",
      "-v=2",
    ],
    env: { HOME: root },
  };
}

function installedGitSync(): string | undefined {
  return (process.env["PATH"] ?? "")
    .split(delimiter)
    .map((directory) => join(directory, "git-sync"))
    .find((path) => existsSync(path));
}

/** git-sync where it is installed, or else what it does, as a script of git commands. */
export function gitPeer(): GitPeer {
  const program = installedGitSync();
  if (program === undefined) {
    return {
      name: "git fetch, worktree add, reset --hard, link",
      command: (url, root) => ({ program: "bash", args: [CHECKOUT, url, root] }),
    };
  }
  return {
    name: "git-sync",
    command: (url, root) => ({
      program,
      args: [
        `--repo=${url}`,
        "--ref=main",
        `--root=${root}`,
        "--link=current",
        "--depth=1",
        "--one-time",
      ],
      env: { HOME: root },
    }),
  };
}
