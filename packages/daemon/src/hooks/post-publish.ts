/**
 * The hooks that run after a revision was published: each once for a revision, tried again when it fails, and always for the
 * latest: a revision that another one overtook is skipped. What was done is kept beside the state, so that a restart neither
 * repeats nor forgets a hook.
 */
import {
  closeSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import {
  changesBetween,
  history,
  plainOrQuoted,
  sleep,
  startTimer,
  type SyncResult,
} from "@pannier/core";
import type { PostPublishConfig } from "../config/config.ts";
import { callUrl } from "./call.ts";
import { HookFailure, hookEnvironment, type HookSubject, PATIENCE, runCommand } from "./command.ts";
import type { HookTools } from "./pre-publish.ts";
import { sendSignal } from "./signal.ts";

export interface PostPublish {
  /** Told of what is published, after each sync that ended well: runs what has not been run for its revision. */
  settle(published: Published): void;
  /** Resolves when nothing is left to run or to try again. */
  idle(): Promise<void>;
  /** Lets runs under way end within `grace` milliseconds; what is still to be tried again is left to the next start. */
  stop(grace: number): Promise<void>;
}

type Published = Pick<SyncResult, "revision" | "previousRevision" | "path">;

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 60_000;

export function createPostPublish(
  configs: readonly PostPublishConfig[],
  tools: HookTools,
): PostPublish {
  const memory = openMemory(tools.target);
  const workers = configs.map((config, index) =>
    createWorker(config, `${index} ${describeHook(config)}`, memory, tools),
  );
  return {
    settle: (result) => workers.forEach((worker) => worker.settle(result)),
    idle: async () => void (await Promise.all(workers.map((worker) => worker.idle()))),
    stop: async (grace) => void (await Promise.all(workers.map((worker) => worker.stop(grace)))),
  };
}

function createWorker(
  config: PostPublishConfig,
  key: string,
  memory: Memory,
  tools: HookTools,
): PostPublish {
  let wanted: Published | undefined;
  let working: Promise<void> | undefined;
  let givenUp: string | undefined;
  /** Whether a run has failed since one last succeeded: what that one did may be undone by half. */
  let isHalfDone = false;
  /** Ends the wait for the next try. */
  let wake: (() => void) | undefined;
  const abort = new AbortController();
  const stopping = new AbortController();

  async function work(): Promise<void> {
    while (wanted !== undefined && !stopping.signal.aborted) {
      const now = wanted;
      for (let tries = 1; wanted === now && !stopping.signal.aborted; tries++) {
        const failure = await attempt(now, tries);
        if (abort.signal.aborted) return;
        isHalfDone = failure !== undefined;
        if (failure === undefined) {
          memory.write(key, now.revision);
          givenUp = undefined;
        } else if (tries > config.retries) givenUp = now.revision;
        if (failure === undefined || tries > config.retries) {
          if (wanted === now) wanted = undefined;
          break;
        }
        // One that came during the try waits for nothing.
        if (wanted === now) await pause(failure);
      }
    }
  }

  /** @returns how long to wait for the next try, or `undefined` after success */
  async function attempt(result: Published, tries: number): Promise<number | undefined> {
    const started = performance.now();
    const told = {
      type: "hook",
      hook: "postPublish",
      what: describeHook(config),
      revision: result.revision,
    } as const;
    try {
      await runHook(config, result, memory.read(key), tools, abort.signal);
      tools.emit({ ...told, result: "success", duration: performance.now() - started });
      return undefined;
    } catch (error) {
      const delay =
        Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tries - 1)) * (0.9 + Math.random() * 0.2);
      if (!abort.signal.aborted)
        tools.emit({
          ...told,
          result: error instanceof HookFailure && error.timedOut ? "timeout" : "failure",
          duration: performance.now() - started,
          message: tools.redact((error as Error).message),
          retry: tries > config.retries || stopping.signal.aborted ? undefined : delay,
        });
      return delay;
    }
  }

  async function pause(delay: number): Promise<void> {
    const waking = new AbortController();
    wake = () => waking.abort();
    if (stopping.signal.aborted) waking.abort();
    await sleep(delay, waking.signal).catch(() => {});
    wake = undefined;
  }

  return {
    settle(result) {
      const { revision } = result;
      if (stopping.signal.aborted || wanted?.revision === revision || givenUp === revision) return;
      if (wanted === undefined && !isHalfDone && memory.read(key) === revision) return;
      wanted = result;
      givenUp = undefined;
      wake?.();
      working ??= work().finally(() => {
        working = undefined;
      });
    },
    idle: async () => working,
    async stop(grace) {
      stopping.abort();
      wake?.();
      // Asked early enough to have ended when the grace is over.
      const patience = Math.max(grace / 2, grace - PATIENCE);
      const timer = startTimer(() => abort.abort(new Error("the process ends")), patience);
      await working;
      clearTimeout(timer);
    },
  };
}

async function runHook(
  config: PostPublishConfig,
  result: Published,
  done: string | undefined,
  { mount, target, env, kill }: HookTools,
  signal: AbortSignal,
): Promise<void> {
  const { revision, path } = result;
  const previousRevision = [done, result.previousRevision].find(
    (before) => before !== undefined && before !== revision,
  );
  const subject: HookSubject = { mount, revision, previousRevision, path, changes: "" };
  if ("process" in config) return sendSignal(config);
  if ("url" in config) return callUrl(config, subject, signal);
  // Beside the state, where a killed process's leftovers are swept away; a container's /tmp may be read-only.
  const changes = join(target, ".pannier", `changes-${randomBytes(8).toString("hex")}`);
  try {
    writeChanges(changes, target, revision, previousRevision);
    await runCommand({
      command: config.command,
      cwd: path,
      env: hookEnvironment(env, { ...subject, changes }, config.env),
      own: config.env,
      timeout: config.timeout,
      signal,
      kill,
    });
  } finally {
    rmSync(changes, { force: true });
  }
}

const LETTERS = { added: "A", changed: "M", deleted: "D" };

/** Where it is not known what changed, everything counts as added. */
function writeChanges(
  file: string,
  target: string,
  revision: string,
  from: string | undefined,
): void {
  const entries = history(target);
  const to = entries.find((entry) => entry.revision === revision)?.id ?? 0;
  const before = entries.find((entry) => entry.revision === from && entry.id < to)?.id;
  const changes = changesBetween(target, before, to) ?? changesBetween(target, undefined, to) ?? [];
  const out = openSync(file, "wx");
  try {
    let lines = "";
    for (const { change, path } of changes) {
      lines += `${LETTERS[change]}\t${plainOrQuoted(path)}\n`;
      if (lines.length < 1 << 16) continue;
      writeSync(out, lines);
      lines = "";
    }
    writeSync(out, lines);
  } finally {
    closeSync(out);
  }
}

/** What a hook is called in logs and metrics: without arguments, user, password and query, which may be secret. */
function describeHook(config: PostPublishConfig): string {
  if ("command" in config) return config.command[0] as string;
  if ("process" in config) return `${config.signal} to ${config.process}`;
  const { protocol, host, pathname } = new URL(config.url);
  return `${protocol}//${host}${pathname}`;
}

/** Which revision each hook was last run for. */
interface Memory {
  read(key: string): string | undefined;
  write(key: string, revision: string): void;
}

function openMemory(target: string): Memory {
  const file = join(target, ".pannier", "hooks.json");
  let known: Record<string, string> | undefined;
  const load = () => (known ??= readMemory(file));
  return {
    read: (key) => load()[key],
    write(key, revision) {
      load()[key] = revision;
      const temporary = join(target, ".pannier", `hooks-${randomBytes(8).toString("hex")}`);
      try {
        writeFileSync(temporary, JSON.stringify(known), { flag: "wx" });
        renameSync(temporary, file);
      } catch {
        // Then a restart runs the hook once more.
        rmSync(temporary, { force: true });
      }
    },
  };
}

function readMemory(file: string): Record<string, string> {
  try {
    const known = JSON.parse(readFileSync(file, "utf8")) as unknown;
    if (typeof known === "object" && known !== null)
      return Object.fromEntries(
        Object.entries(known).filter(([, revision]) => typeof revision === "string"),
      ) as Record<string, string>;
  } catch {
    // None yet, or not ours.
  }
  return {};
}
