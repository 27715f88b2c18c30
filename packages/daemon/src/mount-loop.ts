/** The loop of a mount: follows its sources, and rolls back when asked to. */
import {
  backoff,
  type Credentials,
  follow,
  type HistoryEntry,
  type LayerSpec,
  rollback,
  sleep,
  UsageError,
} from "@pannier/core";
import type { AutoResetEvent } from "./auto-reset-event.ts";
import type { MountConfig } from "./config/config.ts";
import type { MountEvent } from "./events.ts";
import type { MountHooks } from "./hooks/mount-hooks.ts";

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 60_000;

export interface MountLoop {
  /** Resolves when the loop has ended by itself (`once`) or by {@link MountLoop.stop}. */
  readonly ended: Promise<void>;
  /** Rolls back in the place of whatever is under way. */
  rollback(revision: string | undefined): Promise<HistoryEntry>;
  /** Abandons what is under way. */
  stop(): void;
}

export interface LoopInit {
  readonly config: MountConfig;
  readonly layers: readonly LayerSpec[];
  readonly credentials: Credentials;
  readonly once: boolean;
  /** Runs a sync when its turn comes. */
  readonly turn: (work: () => Promise<void>, signal: AbortSignal) => Promise<void>;
  readonly hooks: MountHooks;
  readonly syncWanted: AutoResetEvent;
  readonly emit: (event: MountEvent) => void;
}

interface Rollback {
  readonly revision: string | undefined;
  readonly resolve: (published: HistoryEntry) => void;
  readonly reject: (reason: unknown) => void;
}

export function startLoop(init: LoopInit): MountLoop {
  const { config, layers, credentials, hooks, syncWanted, emit } = init;
  const stopping = new AbortController();
  /** Ends what is under way: the mount is to end, or somebody else needs its target. */
  let current = new AbortController();
  const rollbacks: Rollback[] = [];
  /** To open the target, in a row. */
  let failures = 0;

  const turn: LoopInit["turn"] = (work, until) => {
    emit({ type: "queued" });
    return init.turn(work, until);
  };

  async function run(): Promise<void> {
    // So that the mount is there before the first event.
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
      const asked = { ...options, sources: layers, credentials };
      const { signal } = stopping;
      resolve(
        await rollback(config.options.target, revision, { signal, onEvent: emit, mount: asked }),
      );
    } catch (error) {
      reject(error);
    }
  }

  async function followOnce(signal: AbortSignal): Promise<void> {
    const events = follow(
      {
        ...config.options,
        sources: layers,
        credentials,
        prePublish: hooks.prePublish?.ask,
      },
      { signal, triggers: syncWanted, turn },
    );
    for await (const event of events) {
      // Told by `emit`, which also knows of failures before the target could be opened.
      if (event.type === "recovered") continue;
      emit(event);
      if (event.type !== "done") continue;
      failures = 0;
      hooks.published(event.result);
      if (!init.once) continue;
      await hooks.idle();
      return;
    }
  }

  /** The target cannot be opened: another process holds it, the volume is not there yet. That may mend itself. */
  async function waitAfter(failure: Error, signal: AbortSignal): Promise<void> {
    failures++;
    const delay = backoff(failures, FIRST_WAIT, Math.max(LONGEST_WAIT, config.options.period));
    emit({ type: "started" });
    emit({ type: "failed", error: failure, received: 0, failures, repeated: false, delay });
    await sleepOrWake(delay, syncWanted, signal);
  }

  return {
    ended: run(),
    rollback: (revision) =>
      new Promise((resolve, reject) => {
        if (stopping.signal.aborted) return reject(ending());
        rollbacks.push({ revision, resolve, reject });
        current.abort();
      }),
    stop() {
      stopping.abort();
      current.abort();
      for (const { reject } of rollbacks) reject(ending());
    },
  };
}

const ending = () => new UsageError("the mount is about to end");

/** Waits, until the event is set, or the signal aborted. */
async function sleepOrWake(
  delay: number,
  event: AutoResetEvent,
  signal: AbortSignal,
): Promise<void> {
  const waking = new AbortController();
  const wake = () => waking.abort();
  signal.addEventListener("abort", wake, { once: true });
  if (signal.aborted) wake();
  void event.wait(waking.signal).then(wake);
  await sleep(delay, waking.signal).catch(() => {});
  wake();
  signal.removeEventListener("abort", wake);
}
