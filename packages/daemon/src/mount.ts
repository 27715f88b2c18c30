/** One mount at work: the engine's loop, and what is known of it. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  type Credentials,
  historyAndHeld,
  type HistoryEntry,
  type LayerSpec,
  startTimer,
  UsageError,
} from "@pannier/core";
import type { MountConfig, MountOptions } from "./config/config.ts";
import { createMountHooks } from "./hooks/mount-hooks.ts";
import { applyEvent, type MountState, newState, type Recorded } from "./mount-state.ts";
import { createAutoResetEvent } from "./auto-reset-event.ts";
import { startLoop } from "./mount-loop.ts";
import { createOutcomes, type Outcome } from "./outcomes.ts";
import { endsWithin, SLACK } from "./within.ts";
import type { DaemonInit } from "./daemon-init.ts";
import type { MountEvent } from "./events.ts";

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

export function startMount(init: MountInit): Mount {
  const { config, layers } = init;
  const syncWanted = createAutoResetEvent();
  const killing = new AbortController();
  const outcomes = createOutcomes();

  const emit = (event: MountEvent) => {
    const { outage } = mount.state;
    applyEvent(mount.state, event, () => read(config.options));
    if (event.type === "published") hooks.published(event);
    if (event.type === "started") outcomes.begun();
    if (event.type === "done") outcomes.ended({ result: event.result });
    if (event.type === "failed") outcomes.ended({ error: event.error });
    init.onEvent(mount, event);
    if (event.type !== "done" || outage === undefined) return;
    const { failures: failed, busy: tookOver } = outage;
    const duration = performance.now() - outage.since.at;
    init.onEvent(mount, { type: "recovered", failures: failed, duration, tookOver });
  };
  const hooks = createMountHooks(init, emit, killing.signal);
  const loop = startLoop({ ...init, hooks, syncWanted, emit });

  const mount: Mount = {
    config,
    layers,
    state: newState(read(config.options)),
    isResting: false,
    trigger() {
      // Whoever asks wants to know what the hook says now.
      hooks.prePublish?.forget();
      syncWanted.set();
    },
    nextOutcome: () => outcomes.next(),
    rollback: (revision) => loop.rollback(revision),
    ended: loop.ended,
    async stop(grace) {
      loop.stop();
      outcomes.stop();
      const clock = startTimer(() => killing.abort(), grace);
      const ended = Promise.all([mount.ended, hooks.stop(grace)]);
      return endsWithin(ended, grace + SLACK).finally(() => clearTimeout(clock));
    },
  };
  return mount;
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

/**
 * What is published at its head. A history that cannot be read is none: the next sync builds the state again. Nor is one whose trees somebody
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
