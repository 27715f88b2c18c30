/**
 * The hooks that run after a revision was published, one after the other: each once for a revision, tried again when it fails,
 * and always for the latest: a revision that another one overtook is skipped. One that failed for good does not keep the next
 * from running. What was done is kept beside the state, so that a restart neither repeats nor forgets a hook.
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
  inHome,
  PannierError,
  parseLocation,
  plainOrQuoted,
  redact,
  sleep,
  startTimer,
  type SyncResult,
} from "@pannier/core";
import type { PostPublishConfig } from "../config/config.ts";
import { callUrl } from "./call.ts";
import {
  HookFailure,
  hookEnvironment,
  type HookSubject,
  KILL_AFTER_MS,
  runCommand,
} from "./command.ts";
import type { HookTools } from "./pre-publish.ts";
import { sendSignal } from "./signal.ts";

export interface PostPublish {
  /** Told of what is published, after each sync that ended well: runs what has not been run for its revision. */
  published(published: Published): void;
  /** Resolves when nothing is left to run or to try again. */
  idle(): Promise<void>;
  /** Lets runs under way end within `grace` milliseconds; what is still to be tried again is left to the next start. */
  stop(grace: number): Promise<void>;
}

/** The content is published, and a hook after it failed for good. */
export class PostPublishError extends PannierError {
  override readonly name = "PostPublishError";
  readonly code = "post-publish";
  readonly exitCode = 9;
}

type Published = Pick<SyncResult, "revision" | "previousRevision" | "path">;

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 60_000;

interface PostPublishTools extends HookTools {
  readonly memory: Memory;
  /** Position of the first. Default 0. */
  readonly first?: number;
  /** Whether a run that goes on failing is tried until it succeeds or is overtaken; that it fails is told all the same. Default false. */
  readonly endless?: boolean;
}

export function createPostPublish(
  configs: readonly PostPublishConfig[],
  { memory, first = 0, endless = false, ...tools }: PostPublishTools,
): PostPublish {
  const abort = new AbortController();
  const stopping = new AbortController();
  const hooks = configs.map((config, position) =>
    createHook({
      config,
      position: first + position,
      endless,
      memory,
      tools,
      abort: abort.signal,
      stopping: stopping.signal,
    }),
  );
  let wanted: Published | undefined;
  let working: Promise<void> | undefined;
  /** Ends the wait for the next try. */
  let wake: (() => void) | undefined;

  /** In the order of the list: what one prepares, the next may need. A newer revision begins it anew. */
  async function work(): Promise<void> {
    // So that `working` is set before this can end.
    await Promise.resolve();
    try {
      while (wanted !== undefined && !stopping.signal.aborted) {
        const now = wanted;
        const isWanted = () => wanted === now && !stopping.signal.aborted;
        for (const hook of hooks)
          if (isWanted() && hook.isDue(now.revision)) await hook.run(now, isWanted, pause);
        if (wanted === now) wanted = undefined;
      }
    } finally {
      // At once: what is wanted a moment later begins anew.
      working = undefined;
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
    published(result) {
      const { revision } = result;
      if (stopping.signal.aborted || wanted?.revision === revision) return;
      // Not asked where another revision is at work: that one may get to the hook before it is stopped.
      if (wanted === undefined && !hooks.some((hook) => hook.isDue(revision))) return;
      wanted = result;
      wake?.();
      working ??= work();
    },
    idle: async () => working,
    async stop(grace) {
      stopping.abort();
      wake?.();
      // Asked early enough to have ended when the grace is over.
      const patience = Math.max(grace / 2, grace - KILL_AFTER_MS);
      const timer = startTimer(() => abort.abort(new Error("the process ends")), patience);
      await working;
      clearTimeout(timer);
    },
  };
}

interface Hook {
  /** Whether it has to run for this revision: it was not run for it, or was undone by half, and was not given up. */
  isDue(revision: string): boolean;
  /** Runs it, and tries again while the revision is wanted, until it succeeds or is given up. */
  run(
    result: Published,
    isWanted: () => boolean,
    pause: (delay: number) => Promise<void>,
  ): Promise<void>;
}

function createHook({
  config,
  position,
  endless,
  memory,
  tools,
  abort,
  stopping,
}: {
  readonly config: PostPublishConfig;
  readonly position: number;
  readonly endless: boolean;
  readonly memory: Memory;
  readonly tools: HookTools;
  readonly abort: AbortSignal;
  readonly stopping: AbortSignal;
}): Hook {
  const what = describeHook(config);
  const key = `${position} ${what}`;
  let givenUp: string | undefined;
  /** Whether a run has failed since one last succeeded: what that one did may be undone by half. */
  let isHalfDone = false;

  /** @returns how long to wait for the next try, or `undefined` after success */
  async function attempt(result: Published, tries: number): Promise<number | undefined> {
    const started = performance.now();
    const { revision } = result;
    const told = { type: "hook", hook: "postPublish", position, what, revision } as const;
    try {
      await runHook(config, result, memory.read(key), tools, abort);
      tools.emit({ ...told, result: "success", duration: performance.now() - started });
      return undefined;
    } catch (error) {
      const delay =
        Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tries - 1)) * (0.9 + Math.random() * 0.2);
      if (!abort.aborted)
        tools.emit({
          ...told,
          result: error instanceof HookFailure && error.timedOut ? "timeout" : "failure",
          duration: performance.now() - started,
          message: tools.redact((error as Error).message),
          retry: tries > config.retries || stopping.aborted ? undefined : delay,
        });
      return delay;
    }
  }

  return {
    isDue: (revision) => givenUp !== revision && (isHalfDone || memory.read(key) !== revision),
    async run(result, isWanted, pause) {
      givenUp = undefined;
      for (let tries = 1; isWanted(); tries++) {
        const delay = await attempt(result, tries);
        if (abort.aborted) return;
        isHalfDone = delay !== undefined;
        if (delay === undefined) memory.write(key, result.revision);
        const isOver = delay === undefined || (tries > config.retries && !endless);
        if (delay !== undefined && isOver) givenUp = result.revision;
        if (isOver) return;
        // One that came during the try waits for nothing.
        if (isWanted()) await pause(delay);
      }
    },
  };
}

async function runHook(
  config: PostPublishConfig,
  result: Published,
  done: string | undefined,
  { mount, target, owner, env, push, kill }: HookTools,
  signal: AbortSignal,
): Promise<void> {
  const { revision, path } = result;
  const previousRevision = [done, result.previousRevision].find(
    (before) => before !== undefined && before !== revision,
  );
  const subject: HookSubject = { mount, revision, previousRevision, path, changes: "" };
  if ("push" in config) {
    // What is published by now: a revision that was overtaken meanwhile is not pushed over it.
    const { push: destination, layers, credentials } = config;
    await push.run({ target, destination, layers, credentials, signal });
    return;
  }
  if ("process" in config) return sendSignal(config);
  if ("url" in config) return callUrl(config, subject, signal);
  // Beside the state, where a killed process's leftovers are swept away; a container's /tmp may be read-only.
  const name = `changes-${randomBytes(8).toString("hex")}`;
  const changes = join(target, ".pannier", name);
  try {
    inHome(target, owner, (home) =>
      writeChanges(join(home, name), target, revision, previousRevision),
    );
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
    removeFile(target, owner, name);
  }
}

/** What cannot be removed is swept away when the target is opened next. */
function removeFile(target: string, owner: HookTools["owner"], name: string): void {
  try {
    inHome(target, owner, (home) => rmSync(join(home, name), { force: true }));
  } catch {
    // The target was taken away, or is somebody else's by now.
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
  if ("push" in config) return redact(parseLocation(config.push));
  const { protocol, host, pathname } = new URL(config.url);
  return `${protocol}//${host}${pathname}`;
}

/** Which revision each hook was last run for. */
interface Memory {
  read(key: string): string | undefined;
  write(key: string, revision: string): void;
}

export function openMemory({ target, owner }: Pick<HookTools, "target" | "owner">): Memory {
  const file = "hooks.json";
  let known: Record<string, string> | undefined;
  const load = () =>
    (known ??= readMemory((read) => inHome(target, owner, (home) => read(join(home, file)))));
  return {
    read: (key) => load()[key],
    write(key, revision) {
      load()[key] = revision;
      const temporary = `hooks-${randomBytes(8).toString("hex")}`;
      try {
        inHome(target, owner, (home) => {
          writeFileSync(join(home, temporary), JSON.stringify(known), { flag: "wx" });
          renameSync(join(home, temporary), join(home, file));
        });
      } catch {
        // Then a restart runs the hook once more.
        removeFile(target, owner, temporary);
      }
    },
  };
}

function readMemory(inPlace: (read: (file: string) => string) => string): Record<string, string> {
  try {
    const known = JSON.parse(inPlace((file) => readFileSync(file, "utf8"))) as unknown;
    if (typeof known === "object" && known !== null)
      return Object.fromEntries(
        Object.entries(known).filter(([, revision]) => typeof revision === "string"),
      ) as Record<string, string>;
  } catch {
    // None yet, or not ours.
  }
  return {};
}
