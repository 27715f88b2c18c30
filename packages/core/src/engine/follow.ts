/** The loop around the pipeline: sync, wait, sync again. */
import { lstatSync } from "node:fs";
import { buildAhead } from "./build-ahead.ts";
import { HookError, TargetError } from "../errors.ts";
import type { SyncEvent } from "../events.ts";
import { checkMount } from "../mount/mount.ts";
import { standardOf } from "../mount/options.ts";
import type { SyncOptions } from "../mount/sync-options.ts";
import { syncMount } from "./sync.ts";
import { shrinkCache } from "../state/state.ts";
import { parseDuration } from "../units.ts";
import { createWakeup } from "./wakeup.ts";
import { eventQueue } from "./event-queue.ts";
import { type Session, openSession, listenTo } from "./session.ts";
import { backoff } from "../timing/backoff.ts";

export interface FollowOptions extends Omit<SyncOptions, "signal" | "onEvent" | "dryRun"> {
  /** Time between two polls: milliseconds, or text such as `30s`. Default 60 s. A tenth of it, at random, is added or taken away. */
  readonly period?: number | string | undefined;
  /** Time between two comparisons of every published byte with what was recorded, as above. Default 24 h; 0: never. */
  readonly scrub?: number | string | undefined;
}

export interface FollowControl {
  /** Ends the loop; the iteration then ends without an error. */
  readonly signal?: AbortSignal | undefined;
  /** Each value asks for a sync at once; those that come during a sync ask for exactly one more. */
  readonly triggers?: AsyncIterable<unknown> | undefined;
  /** Runs each sync when its turn comes, for a program that follows more mounts than should be at work at once. */
  readonly turn?: ((work: () => Promise<void>, signal: AbortSignal) => Promise<void>) | undefined;
}

/** Longest wait after failures, unless the period is longer: whoever asks every half minute wants to hear soon that it is over. */
const LONGEST_BACKOFF = 60_000;

const FIRST_BACKOFF = 1000;

/** Milliseconds for which it pays to give back memory. */
const LONG_WAIT = 5000;

/**
 * Keeps the target equal to its sources until aborted, telling what happens. A failed sync is told and tried again
 * later, with growing waits; the target keeps what it has.
 *
 * @throws UsageError or TargetError at the start: what no waiting mends
 */
export async function* follow(
  options: FollowOptions,
  control: FollowControl = {},
): AsyncGenerator<SyncEvent, void> {
  const times = checkTimes(options);
  const events = eventQueue();
  const stop = new AbortController();
  const onAbort = () => stop.abort(control.signal?.reason);
  control.signal?.addEventListener("abort", onAbort, { once: true });
  if (control.signal?.aborted === true) onAbort();
  const running = loop({ ...options, ...times }, times, control, events.push, stop.signal).then(
    () => events.end(),
    (error: unknown) => events.end(stop.signal.aborted ? undefined : error),
  );
  try {
    yield* events.read();
  } finally {
    stop.abort();
    control.signal?.removeEventListener("abort", onAbort);
    await running;
  }
}

/**
 * Checks what can be checked of a mount without touching its target or its sources.
 *
 * @throws UsageError, TargetError
 */
export function checkOptions(options: FollowOptions): void {
  checkMount({ ...options, ...checkTimes(options) });
}

interface Times {
  readonly period: number;
  readonly scrub: number;
}

function checkTimes({ period, scrub }: FollowOptions): Times {
  return {
    period: parseDuration(period ?? standardOf("period")),
    scrub: parseDuration(scrub ?? standardOf("scrub")),
  };
}

async function loop(
  options: FollowOptions,
  times: Times,
  control: FollowControl,
  emit: (event: SyncEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  const wakeup = createWakeup();
  const wasLink = isLink(options.target);
  let session: Session | undefined = await openSession(options, wakeup, emit, signal);
  const listening = listenTo(control.triggers, () => wakeup.wake(), signal).catch(
    (error: unknown) => {
      if (!signal.aborted)
        emit({
          type: "warning",
          message: `no trigger is heard any more: ${(error as Error).message}`,
        });
    },
  );
  const turn = control.turn ?? ((work) => work());
  let failures = 0;
  let failedFirst = 0;
  /** What the hook threw, where that was the last failure. */
  let refusal: unknown;
  let scrubbed = performance.now();
  let delay = 0;
  let before = 0;
  const attempt = async () => {
    emit({ type: "started" });
    before = 0;
    if (session?.mount.volume.isInPlace() === false) {
      await session.close();
      session = undefined;
      emit({
        type: "healed",
        message: `the target ${options.target}, or what Pannier keeps in it, was replaced or removed; it is reopened`,
      });
    }
    if (session === undefined && !wasLink && isLink(options.target))
      throw new TargetError(`the target ${options.target} was replaced by a link`, {
        hint: "remove it; a target that was a link from the start may be one",
      });
    session ??= await openSession(options, wakeup, emit, signal);
    const { mount } = session;
    before = mount.counters.received;
    const verify = times.scrub > 0 && performance.now() - scrubbed >= times.scrub;
    if (verify) scrubbed = performance.now();
    const { immutable } = await syncMount(mount, signal, { verify });
    if (failures > 0)
      emit({
        type: "recovered",
        failures,
        duration: performance.now() - failedFirst,
        tookOver: false,
      });
    failures = 0;
    refusal = undefined;
    // Nothing to poll for; only a scrub, if there is one, is left to do.
    delay = immutable ? times.scrub || Number.POSITIVE_INFINITY : jitter(times.period);
  };
  try {
    for (;;) {
      try {
        await turn(attempt, signal);
      } catch (error) {
        signal.throwIfAborted();
        const refused = error instanceof HookError ? error.cause : undefined;
        const repeated = refused !== undefined && refused === refusal;
        refusal = refused;
        if (failures === 0) failedFirst = performance.now();
        if (!repeated) failures++;
        // A hook that said no is not asked again and again: the next poll comes in its time, and asks if there is something to ask.
        delay = refused === undefined ? waitAfter(failures, times.period) : jitter(times.period);
        const received = (session?.mount.counters.received ?? 0) - before;
        emit({ type: "failed", error: error as Error, received, failures, repeated, delay });
        // The target may have been taken from under us, or another process wants it: it is reopened.
        if (error instanceof TargetError) {
          await session?.close();
          session = undefined;
        }
      }
      const mount = session?.mount;
      if (failures === 0 && mount !== undefined)
        await wakeup.during((woken) => buildAhead(mount, woken), signal);
      if (mount !== undefined && delay >= LONG_WAIT) shrinkCache(mount.volume.state);
      emit({ type: "waiting", delay });
      await wakeup.wait(delay, signal);
    }
  } finally {
    await listening;
    await session?.close();
  }
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

/** So that many followers of one server do not ask it all at once. */
function jitter(period: number): number {
  return period * (0.9 + Math.random() * 0.2);
}

function waitAfter(failures: number, period: number): number {
  const first = Math.max(FIRST_BACKOFF, Math.min(period, 10_000));
  return backoff(failures, first, Math.max(period, LONGEST_BACKOFF));
}
