/**
 * The hooks that run after a revision was published, one after the other: each once for a revision, tried again when it fails,
 * and always for the latest: a revision that another one overtook is skipped. One that failed for good does not keep the next
 * from running. What was done is kept beside the state, so that a restart neither repeats nor forgets a hook.
 */
import { backoff, PannierError, sleep, startTimer } from "@pannier/core";
import type { PostPublishConfig } from "../config/config.ts";
import { HookFailure, KILL_AFTER_MS } from "./command.ts";
import type { HookTools } from "./pre-publish.ts";
import type { Memory } from "./memory.ts";
import { type Published, runHook, describeHook } from "./run-hook.ts";

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

  /** In the order of the list: what one prepares, the next may need. A newer revision starts it over. */
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
      // At once: what is wanted a moment later starts over.
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
      const delay = backoff(tries, FIRST_WAIT, LONGEST_WAIT);
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
