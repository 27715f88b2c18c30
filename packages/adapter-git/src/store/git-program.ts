/** The git program: what it is run with, and what its failures mean. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { NoRoomError, SourceError } from "@pannier/core/adapter";
import { killGroup, lastWords } from "../remote/process.ts";
import { GIT_SETTINGS } from "./git-settings.ts";
import { CacheDamaged } from "./store.ts";

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
  const child = spawn("git", [...GIT_SETTINGS, ...args], {
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
