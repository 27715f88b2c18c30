/** One mount at work: the engine's loop, and what is known of it. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  backoff,
  type Credentials,
  follow,
  historyAndHeld,
  type HistoryEntry,
  type LayerSpec,
  rollback,
  sleep,
  startTimer,
  type SyncResult,
  UsageError,
} from "@pannier/core";
import type { MountConfig, MountOptions } from "./config/config.ts";
import { createPrePublish } from "./hooks/pre-publish.ts";
import { openMemory } from "./hooks/memory.ts";
import { createPostPublish } from "./hooks/post-publish.ts";
import { applyEvent, type MountState, newState, type Recorded } from "./mount-state.ts";
import { createAutoResetEvent } from "./auto-reset-event.ts";
import { endsWithin, SLACK } from "./within.ts";
import type { DaemonInit } from "./daemon-init.ts";
import type { MountEvent } from "./events.ts";

/** How an attempt ended. */
export type Outcome =
  | { readonly result: SyncResult }
  | { readonly error: Error }
  /** The mount was taken away, or the process is to end. */
  | { readonly stopped: true };

export interface Mount {
  readonly config: MountConfig;
  readonly layers: readonly LayerSpec[];
  readonly state: MountState;
  /** See {@link restingMount}. */
  readonly isResting: boolean;
  /** Asks for a sync now; during one, for exactly one more. */
  trigger(): void;
  /**
   * Publishes a kept revision again, in the place of whatever is under way.
   *
   * @param revision or its beginning; default: the one before the published one
   * @throws what the engine's `rollback` throws
   */
  rollback(revision: string | undefined): Promise<HistoryEntry>;
  /** How the next attempt ends that begins from now on. */
  nextOutcome(): Promise<Outcome>;
  /** Resolves when the mount has ended by itself (`once`) or by {@link Mount.stop}. */
  readonly ended: Promise<void>;
  /** Abandons the sync under way and gives hooks under way `grace` milliseconds. @returns whether the mount has ended by then */
  stop(grace: number): Promise<boolean>;
}

export interface MountInit {
  readonly config: MountConfig;
  readonly layers: readonly LayerSpec[];
  readonly credentials: Credentials;
  readonly env: DaemonInit["env"];
  readonly push: DaemonInit["push"];
  readonly once: boolean;
  readonly redact: DaemonInit["redact"];
  /** Runs a sync when its turn comes. */
  readonly turn: (work: () => Promise<void>, signal: AbortSignal) => Promise<void>;
  /** Told of every event, after the state has been brought up to date. */
  readonly onEvent: (mount: Mount, event: MountEvent) => void;
}

interface Rollback {
  readonly revision: string | undefined;
  readonly resolve: (published: HistoryEntry) => void;
  readonly reject: (reason: unknown) => void;
}

export function startMount(init: MountInit): Mount {
  const { config } = init;
  const { target } = config.options;
  const syncWanted = createAutoResetEvent();
  const stopping = new AbortController();
  /** Ends the loop under way: the mount is to end, or somebody else needs its target. */
  let current = new AbortController();
  const rollbacks: Rollback[] = [];
  /** To open the target, in a row. */
  let failures = 0;
  let waiters: { begun: boolean; readonly resolve: (outcome: Outcome) => void }[] = [];
  const resolveWaiters = (outcome: Outcome, which: (waiter: { begun: boolean }) => boolean) => {
    for (const waiter of waiters.filter(which)) waiter.resolve(outcome);
    waiters = waiters.filter((waiter) => !which(waiter));
  };

  const emit = (event: MountEvent) => {
    const { outage } = mount.state;
    applyEvent(mount.state, event, () => read(config.options));
    if (event.type === "published") {
      postPublish.published(event);
      pushed.published(event);
    }
    if (event.type === "started") for (const waiter of waiters) waiter.begun = true;
    if (event.type === "done") resolveWaiters({ result: event.result }, ({ begun }) => begun);
    if (event.type === "failed") resolveWaiters({ error: event.error }, ({ begun }) => begun);
    init.onEvent(mount, event);
    if (event.type !== "done" || outage === undefined) return;
    const { failures: failed, busy: tookOver } = outage;
    const duration = performance.now() - outage.since.at;
    init.onEvent(mount, { type: "recovered", failures: failed, duration, tookOver });
  };
  const killing = new AbortController();
  const { env, push, redact } = init;
  const { owner } = config.options;
  const tools = {
    mount: config.name,
    target,
    owner,
    env,
    push,
    redact,
    emit,
    kill: killing.signal,
  };
  const prePublish = createPrePublish(config.hooks.prePublish, tools);
  const { push: pushTo, postPublish: hooks } = config.hooks;
  const memory = openMemory(tools);
  const postPublish = createPostPublish(hooks, { ...tools, memory });
  const pushed = createPostPublish(pushTo === undefined ? [] : [pushTo], {
    ...tools,
    memory,
    first: hooks.length,
    endless: !init.once,
  });

  const mount: Mount = {
    config,
    layers: init.layers,
    state: newState(read(config.options)),
    isResting: false,
    trigger() {
      // Whoever asks wants to know what the hook says now.
      prePublish?.forget();
      syncWanted.set();
    },
    nextOutcome: () =>
      new Promise((resolve) => {
        if (stopping.signal.aborted) resolve({ stopped: true });
        else waiters.push({ begun: false, resolve });
      }),
    rollback: (revision) =>
      new Promise((resolve, reject) => {
        if (stopping.signal.aborted) return reject(ending());
        rollbacks.push({ revision, resolve, reject });
        current.abort();
      }),
    ended: run(),
    async stop(grace) {
      stopping.abort();
      current.abort();
      for (const { reject } of rollbacks) reject(ending());
      resolveWaiters({ stopped: true }, () => true);
      const clock = startTimer(() => killing.abort(), grace);
      const ended = Promise.all([mount.ended, postPublish.stop(grace), pushed.stop(grace)]);
      return endsWithin(ended, grace + SLACK).finally(() => clearTimeout(clock));
    },
  };
  return mount;

  async function run(): Promise<void> {
    // So that `mount` is there before the first event.
    await Promise.resolve();
    const { signal } = stopping;
    while (!signal.aborted) {
      const asked = rollbacks.shift();
      if (asked !== undefined) {
        await goBack(asked);
        continue;
      }
      current = new AbortController();
      try {
        await followOnce(current.signal);
        if (!current.signal.aborted) return;
      } catch (error) {
        if (!current.signal.aborted) await waitAfter(error as Error, current.signal);
      }
    }
  }

  async function goBack({ revision, resolve, reject }: Rollback): Promise<void> {
    // A whole tree is compared first: that has the deadline of an attempt.
    emit({ type: "started" });
    try {
      const { period: _, ...options } = config.options;
      const asked = { ...options, sources: init.layers, credentials: init.credentials };
      const { signal } = stopping;
      resolve(await rollback(target, revision, { signal, onEvent: emit, mount: asked }));
    } catch (error) {
      reject(error);
    }
  }

  async function followOnce(signal: AbortSignal): Promise<void> {
    const turn = (work: () => Promise<void>, until: AbortSignal) => {
      emit({ type: "queued" });
      return init.turn(work, until);
    };
    const events = follow(
      {
        ...config.options,
        sources: init.layers,
        credentials: init.credentials,
        prePublish: prePublish?.ask,
      },
      { signal, triggers: syncWanted, turn },
    );
    for await (const event of events) {
      // Told by `emit`, which also knows of failures before the target could be opened.
      if (event.type === "recovered") continue;
      emit(event);
      if (event.type !== "done") continue;
      failures = 0;
      postPublish.published(event.result);
      pushed.published(event.result);
      if (!init.once) continue;
      await Promise.all([postPublish.idle(), pushed.idle()]);
      return;
    }
  }

  /** The target cannot be opened: another process holds it, the volume is not there yet. That may mend itself. */
  async function waitAfter(failure: Error, signal: AbortSignal): Promise<void> {
    failures++;
    const delay = backoff(failures, 1000, Math.max(LONGEST_WAIT, config.options.period));
    emit({ type: "started" });
    emit({ type: "failed", error: failure, received: 0, failures, repeated: false, delay });
    const waking = new AbortController();
    const wake = () => waking.abort();
    signal.addEventListener("abort", wake, { once: true });
    if (signal.aborted) wake();
    void syncWanted.wait(waking.signal).then(wake);
    await sleep(delay, waking.signal).catch(() => {});
    wake();
    signal.removeEventListener("abort", wake);
  }
}

/**
 * A mount that is not at work, because its configuration is not known well enough: it shows what is published, and waits to be replaced.
 */
export function restingMount(config: MountConfig): Mount {
  const state = newState(read(config.options));
  state.phase = "waiting";
  state.due = Number.POSITIVE_INFINITY;
  return {
    config,
    layers: [],
    state,
    isResting: true,
    trigger() {},
    nextOutcome: () => Promise.resolve({ stopped: true }),
    rollback: () => Promise.reject(new UsageError("the configuration cannot be read")),
    ended: Promise.resolve(),
    stop: () => Promise.resolve(true),
  };
}

const LONGEST_WAIT = 60_000;

const ending = () => new UsageError("the mount is about to end");

/**
 * What is published at its head. A history that cannot be read is none: the next sync builds the state anew. Nor is one whose trees somebody
 * took away from beside the state.
 */
function read({ target, publish, link = "current" }: MountOptions): Recorded {
  const nothing = { history: [], held: false };
  if (publish !== "mirror" && !existsSync(join(target, link))) return nothing;
  try {
    return historyAndHeld(target);
  } catch {
    return nothing;
  }
}
