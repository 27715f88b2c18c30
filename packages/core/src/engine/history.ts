/** Looking at a target: what is published, and what is kept. */
import { statSync } from "node:fs";
import { join, resolve } from "node:path";
import { TargetError } from "../errors.ts";
import { UsageError } from "../source/errors.ts";
import { isBroken, isOfDamage } from "../state/damaged.ts";
import { HOME, type Layout, layoutOf } from "../volume/layout.ts";
import { toTargetError } from "../volume/target-error.ts";
import { type Generation, generations } from "../state/generations.ts";
import type { CheckedSignature } from "../source/contract.ts";
import { getMeta } from "../state/meta.ts";
import { hasTables, openState, type State } from "../state/state.ts";

/** One generation of a target's history. */
export interface HistoryEntry {
  /** Names this entry: a revision may be published more than once. Later ones have greater ids. */
  readonly id: number;
  readonly revision: string;
  /** When it was published, in milliseconds since the epoch. */
  readonly time: number;
  readonly added: number;
  readonly changed: number;
  readonly deleted: number;
  readonly files: number;
  readonly bytes: number;
  /** True for the one that is visible. */
  readonly published: boolean;
  /** Absolute path of its tree while it is kept, i.e. can be rolled back to. */
  readonly path: string | undefined;
  /** Its sources, redacted. */
  readonly sources: readonly {
    readonly url: string;
    readonly adapter: string;
    readonly into: string;
    readonly revision: string;
    /** The signature that was checked before it was listed; not there where nobody had to sign. */
    readonly signature?: CheckedSignature | undefined;
  }[];
}

export interface TargetStatus extends HistoryEntry {
  readonly publish: "swap" | "mirror";
  /** Name of the link, with `swap`. */
  readonly link: string;
  /** True after a rollback, while the sources are held back as they were before it. */
  readonly held: boolean;
}

/** What is published at a target; `undefined` when nothing ever was. May be called beside a running sync. */
export function status(target: string): TargetStatus | undefined {
  return readTarget(target, (state, root) => {
    const [latest] = generations(state);
    if (latest === undefined) return undefined;
    const publish = publishMode(state);
    return {
      ...toHistory(latest, true, root, publish),
      publish,
      link: getMeta(state, "link") ?? "current",
      held: getMeta(state, "held") !== undefined,
    };
  });
}

/** The generations of a target, the newest first. May be called beside a running sync. */
export function history(target: string): HistoryEntry[] {
  return historyAndHeld(target).history;
}

/** The same, and whether the sources are held back after a rollback: one reading of the state for both. */
export function historyAndHeld(target: string): {
  readonly history: HistoryEntry[];
  readonly held: boolean;
} {
  const found = readTarget(target, (state, root) => ({
    history: generations(state).map((generation, index) =>
      toHistory(generation, index === 0, root, publishMode(state)),
    ),
    held: getMeta(state, "held") !== undefined,
  }));
  return found ?? { history: [], held: false };
}

/** @returns `undefined` where nothing ever was synced */
export function readTarget<Result>(
  target: string,
  read: (state: State, root: string) => Result,
): Result | undefined {
  const layout = layoutOf(resolve(target));
  if (!hasState(layout)) return undefined;
  const state = openForReading(layout);
  try {
    return hasTables(state) ? read(state, layout.target) : undefined;
  } catch (error) {
    throw isOfDamage(error, state) ? unreadable(layout, error) : error;
  } finally {
    state.close();
  }
}

/** @throws TargetError where we may not look */
export function hasState({ state, target }: Layout): boolean {
  try {
    return statSync(state, { throwIfNoEntry: false }) !== undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOTDIR") return false;
    throw toTargetError(error, target);
  }
}

/** @throws TargetError when it is no state, or may not be read */
export function openForReading(layout: Layout): State {
  try {
    return openState(layout.state, true);
  } catch (error) {
    throw isBroken(error) ? unreadable(layout, error) : toTargetError(error, layout.target);
  }
}

export function unreadable({ state }: Layout, cause: unknown): TargetError {
  return new TargetError(`the state ${state} cannot be read`, {
    cause,
    hint: "sync again, which rebuilds it",
  });
}

export function publishMode(state: State): "swap" | "mirror" {
  return getMeta(state, "publish") === "mirror" ? "mirror" : "swap";
}

export function toHistory(
  generation: Generation,
  published: boolean,
  root: string,
  publish: "swap" | "mirror",
): HistoryEntry {
  const { id, revision, created, added, changed, deleted, files, bytes, tree, layers } = generation;
  const path =
    tree !== null
      ? join(root, HOME, "generations", tree)
      : publish === "mirror" && published
        ? root
        : undefined;
  const sources = layers.map(({ url, adapter, into, revision: own, signature }) => {
    const source = { url, adapter, into, revision: own };
    if (signature === undefined) return source;
    const { trusted: _, ...checked } = signature;
    return { ...source, signature: checked };
  });
  return {
    id,
    revision,
    time: created,
    added,
    changed,
    deleted,
    files,
    bytes,
    published,
    path,
    sources,
  };
}

export function nothingPublished(target: string): UsageError {
  return new UsageError(`nothing was published at ${target}`, "sync to it first");
}
