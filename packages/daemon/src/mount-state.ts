/** What is known of a mount, told by its events. Spans are measured by the monotonic clock: a clock that is set changes none of them. */
import {
  describeFailure,
  type Failure,
  type HistoryEntry,
  type Step,
  type SyncEvent,
  type SyncResult,
} from "@pannier/core";
import { type Attempt, type Moment, noteAttempt } from "./attempts.ts";
import type { MountEvent } from "./events.ts";

interface Progress {
  readonly files: number;
  readonly bytes: number;
  readonly totalFiles: number;
  readonly totalBytes: number;
}

interface Outage {
  readonly since: Moment;
  readonly failures: number;
  /** Whether the last of them was that another process is at work on the target. */
  readonly busy: boolean;
}

interface FailedHook {
  readonly position: number;
  /** What was run, without secrets. */
  readonly hook: string;
  readonly revision: string;
  readonly message: string;
}

export interface MountState {
  phase: "waiting" | "queued" | "syncing";
  /** When the phase began. */
  since: Moment;
  /** When the wait will be over; infinite where the sources cannot change, `undefined` while the tree of the next change is built before it. */
  due: number | undefined;
  step: Step | undefined;
  progress: Progress | undefined;
  /** How the last attempt ended; none: none has ended yet. */
  attempt:
    | {
        readonly ended: Moment;
        readonly result: "published" | "unchanged" | "failed";
        /** Milliseconds. */
        readonly duration: number;
      }
    | undefined;
  success: Moment | undefined;
  /** In a row. */
  failures: number;
  failure: Failure | undefined;
  /** Since a sync last ended well. */
  outage: Outage | undefined;
  /** Hooks after publishing that failed for good, in the order of their list, until they succeed for a later revision. */
  failedHooks: readonly FailedHook[];
  /** Nothing to follow: every source names what cannot change. */
  immutable: boolean;
  /** The newest first; what is published, if anything, is at its head. */
  history: readonly HistoryEntry[];
  /** Whether somebody rolled back, and the sources are held back since. */
  held: boolean;
  /** Since the process started, the newest first. */
  attempts: readonly Attempt[];
  /** Whether the sync under way, or the last one, found something to list. */
  listed: boolean;
}

/** What a target's state tells. */
export interface Recorded {
  readonly history: readonly HistoryEntry[];
  readonly held: boolean;
}

function now(): Moment {
  return { wall: Date.now(), at: performance.now() };
}

export function newState({ history, held }: Recorded): MountState {
  return {
    // The sources are being opened, which has its deadline as well.
    phase: "syncing",
    since: now(),
    due: undefined,
    step: undefined,
    progress: undefined,
    attempt: undefined,
    success: undefined,
    failures: 0,
    failure: undefined,
    outage: undefined,
    failedHooks: [],
    immutable: false,
    history,
    held,
    attempts: [],
    listed: false,
  };
}

/** Brings the state up to date. `read` is called when something was published, or may have come to light again. */
export function applyEvent(state: MountState, event: MountEvent, read: () => Recorded): void {
  switch (event.type) {
    case "queued":
      enter(state, "queued");
      return;
    case "started":
      enter(state, "syncing");
      state.listed = false;
      // The target has been opened, which puts back a link that was lost.
      if (state.history.length === 0) Object.assign(state, read());
      return;
    case "step":
      state.step = event.step;
      state.listed ||= event.step === "list";
      return;
    case "progress": {
      const { files, bytes, totalFiles, totalBytes } = event;
      state.progress = { files, bytes, totalFiles, totalBytes };
      return;
    }
    case "published":
      Object.assign(state, read());
      return;
    case "done":
      // A sync that finds the sources changed, or as what was gone back to, ends the holding back.
      if (state.history.length === 0 || state.held || mayHaveMoved(state))
        Object.assign(state, read());
      succeed(state, event.result);
      return;
    case "failed":
      fail(state, event);
      return;
    case "waiting":
      if (state.phase !== "waiting") enter(state, "waiting");
      state.due = performance.now() + event.delay;
      return;
    case "hook":
      if (event.hook === "postPublish") noteHook(state, event);
      return;
    default:
  }
}

function noteHook(state: MountState, event: Extract<MountEvent, { type: "hook" }>): void {
  const { position = 0, what: hook, revision, message = "" } = event;
  const failed = isGivenUp(event);
  // While it is tried again, what was known of it stands.
  if (!failed && event.result !== "success") return;
  const others = state.failedHooks.filter((one) => one.position !== position);
  state.failedHooks = failed
    ? [...others, { position, hook, revision, message }].toSorted((a, b) => a.position - b.position)
    : others;
}

/** Whether a hook after publishing failed, and is not tried again for this revision. */
export function isGivenUp(event: Extract<MountEvent, { type: "hook" }>): boolean {
  return event.hook === "postPublish" && event.result !== "success" && event.retry === undefined;
}

/** A source that names its revisions may have another one by now, although no published file changed. */
function mayHaveMoved({ listed, history: [latest] }: MountState): boolean {
  return listed && latest?.sources.some(({ revision }) => revision !== "") === true;
}

function enter(state: MountState, phase: MountState["phase"]): void {
  state.phase = phase;
  state.since = now();
  state.step = undefined;
  state.progress = undefined;
}

function succeed(state: MountState, { result, immutable }: SyncResult): void {
  const ended = now();
  const duration = ended.at - state.since.at;
  state.attempt = { ended, result: result === "published" ? "published" : "unchanged", duration };
  state.success = ended;
  if (state.held) noteHeld(state, ended);
  state.failures = 0;
  state.failure = undefined;
  state.outage = undefined;
  state.immutable = immutable;
  enter(state, "waiting");
  state.due = undefined;
}

/** It is one attempt that goes on, as long as nothing failed and nobody rolled back again in between. */
function noteHeld(state: MountState, at: Moment): void {
  const since = state.history[0]?.time ?? 0;
  const goesOn = state.failures === 0 && (state.attempts[0]?.last.wall ?? 0) >= since;
  state.attempts = noteAttempt(state.attempts, undefined, at, goesOn);
}

function fail(state: MountState, event: Extract<SyncEvent, { type: "failed" }>): void {
  const ended = now();
  state.attempt = { ended, result: "failed", duration: ended.at - state.since.at };
  const failure = describeFailure(event.error, "variables");
  const goesOn = state.outage !== undefined;
  state.attempts = noteAttempt(state.attempts, failure, ended, goesOn);
  state.failures = event.failures;
  state.outage = {
    since: state.outage?.since ?? ended,
    failures: (state.outage?.failures ?? 0) + (event.repeated ? 0 : 1),
    busy: (event.error as { readonly busy?: boolean }).busy === true,
  };
  state.failure = failure;
  enter(state, "waiting");
  state.due = ended.at + event.delay;
}

/** More than the deadline itself: ending an attempt takes a moment, and so does a machine that is busy. */
const SLACK = 60_000;

/** Whether the mount's work has come to a stop: an attempt that did not end by its deadline, or one that did not begin. */
export function isStuck(state: MountState, timeout: number, at = performance.now()): boolean {
  switch (state.phase) {
    case "syncing":
      return at - state.since.at > timeout + SLACK;
    case "waiting":
      return at > (state.due ?? state.since.at + timeout) + SLACK;
    case "queued":
      // Those that hold the turns are stuck then, if anything is.
      return false;
  }
}

/**
 * Whether what is published is no older than `maxAge` milliseconds, that is: was found to be what the sources hold.
 * After a restart, before the first sync has ended, the time of publishing has to do.
 */
export function isFresh(state: MountState, maxAge: number): boolean {
  if (state.immutable && state.success !== undefined) return true;
  if (state.success !== undefined) return performance.now() - state.success.at <= maxAge;
  const [latest] = state.history;
  return latest !== undefined && Math.abs(Date.now() - latest.time) <= maxAge;
}
