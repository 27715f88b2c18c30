/** The git program: what it is run with, and what its failures mean. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { NoRoomError, SourceError } from "@pannier/core/adapter";
import { killGroup, lastWords } from "../remote/process.ts";
import { CacheDamaged } from "./store.ts";

/**
 * Nothing that git does may need memory by the size of a file: what is larger than the threshold it streams, and makes no
 * deltas of. The rest bounds what it keeps beside: bases of deltas, windows of packs, threads. As arguments, for
 * variables that do this are younger than the oldest git that serves.
 */
export const GIT_LIMITS: readonly string[] = [
  "core.bigFileThreshold=8m",
  "core.deltaBaseCacheLimit=16m",
  "core.packedGitWindowSize=16m",
  "core.packedGitLimit=64m",
  "pack.threads=1",
  "pack.windowMemory=16m",
].flatMap((setting) => ["-c", setting]);

/**
 * What git may ask for in one piece (in bytes), so that a server cannot make it ask for everything. A large file that comes
 * whole is streamed; it is one that comes as a delta that has to be in memory, with its base. What large servers
 * take in is below this.
 */
const MOST_AT_ONCE = 101 * 1024 * 1024;

/**
 * The environment of every git process: nothing of the user's or the system's configuration, no network, no prompt, no hooks,
 * no objects from elsewhere.
 */
export function gitEnvironment(gitDir: string | undefined): NodeJS.ProcessEnv {
  return {
    PATH: process.env["PATH"],
    LC_ALL: "C",
    // Where no home is, there is no ~/.gitconfig, also for a git too old to know GIT_CONFIG_GLOBAL.
    HOME: "/dev/null",
    XDG_CONFIG_HOME: "/dev/null",
    GIT_DIR: gitDir,
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_ATTR_NOSYSTEM: "1",
    GIT_NO_REPLACE_OBJECTS: "1",
    GIT_NO_LAZY_FETCH: "1",
    GIT_TERMINAL_PROMPT: "0",
    GIT_ALLOW_PROTOCOL: "none",
    GIT_ALLOC_LIMIT: String(MOST_AT_ONCE),
  };
}

export interface Git {
  readonly child: ChildProcessByStdio<Writable | null, Readable, Readable>;
  readonly ended: Promise<void>;
  kill(): void;
  /** What went wrong, once it has ended. */
  failure(): Error | undefined;
}

/** Starts git in a process group of its own, so that what it starts ends with it. */
export function startGit(
  env: NodeJS.ProcessEnv,
  args: readonly string[],
  input: "pipe" | "ignore",
): Git {
  const settings = ["-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", ...GIT_LIMITS];
  const child = spawn("git", [...settings, ...args], {
    env,
    detached: true,
    stdio: [input, "pipe", "pipe"],
  }) as Git["child"];
  let stderr = "";
  let failure: Error | undefined;
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-4096);
  });
  const ended = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      failure = new SourceError("unsupported", "the git program cannot be started", {
        hint: "install git, or set engine=js",
        cause: error,
      });
      resolve();
    });
    child.once("close", (code, signal) => {
      if (code !== 0) failure ??= gitFailure(stderr, signal);
      resolve();
    });
  });
  return {
    child,
    ended,
    kill: () => {
      if (child.exitCode === null && child.signalCode === null) killGroup(child);
      // Output that nobody reads would keep it from being closed.
      child.stdout.destroy();
    },
    failure: () => failure,
  };
}

export function tooLarge(): SourceError {
  return new SourceError(
    "invalid",
    "the repository has an object that is too large to be held in memory",
    {
      hint: "a file that the server sends as a delta may have 100 MiB: serve it with core.bigFileThreshold=50m, or keep it in Git LFS",
    },
  );
}

function gitFailure(stderr: string, signal: NodeJS.Signals | null): Error {
  const words = lastWords(stderr);
  if (/No space left on device|Disk quota exceeded/i.test(stderr))
    return new NoRoomError("no room for the git object cache", {
      hint: "free space on the volume",
    });
  if (/attempting to allocate/.test(stderr)) return tooLarge();
  // Killed from outside, or out of memory: the cache is not to blame.
  if (signal === "SIGKILL" || /[Oo]ut of memory|unable to create thread/.test(stderr))
    return new SourceError("unavailable", `git was ended (${signal ?? words})`, {
      hint: "probably out of memory: raise the limit",
    });
  if (signal !== null) return new SourceError("unavailable", `git was ended (${signal})`);
  if (/Permission denied|Read-only file system/.test(stderr))
    return new SourceError("unavailable", `git cannot use its cache: ${words}`, {
      transient: false,
    });
  return new CacheDamaged(words);
}

export function throwIfFailed(git: Git): void {
  const failure = git.failure();
  if (failure !== undefined) throw failure;
}

/** What a git process prints. Fails where the process fails, and ends the process where nobody reads on. */
export async function* output(git: Git, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  signal.addEventListener("abort", git.kill, { once: true });
  try {
    signal.throwIfAborted();
    for await (const chunk of git.child.stdout) yield chunk as Uint8Array;
    await git.ended;
    signal.throwIfAborted();
    throwIfFailed(git);
  } catch (error) {
    // Why it was stopped tells more than that its output broke off.
    signal.throwIfAborted();
    throw git.failure() ?? error;
  } finally {
    signal.removeEventListener("abort", git.kill);
    git.kill();
  }
}
