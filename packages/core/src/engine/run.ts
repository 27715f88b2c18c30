/** One sync under way: its clock, its signal, and how its result is put together. */
import { join } from "node:path";
import { withTimeout } from "../mount/sync-timeout.ts";
import { MountSourceError } from "../errors.ts";
import type { Step, SyncResult } from "../events.ts";
import type { Layer } from "../mount/layer.ts";
import type { Mount } from "../mount/mount.ts";
import type { PlanTotals } from "../state/plan-totals.ts";
import { SourceError } from "../source/errors.ts";
import { retry } from "../transfer/retry.ts";
import { untilAborted } from "../timing/sleep.ts";
import type { Generation } from "../state/generations.ts";

export interface Run {
  readonly mount: Mount;
  /** Aborted by the caller or by the mount's timeout. */
  readonly signal: AbortSignal;
  step(step: Step): void;
  /** The last one. */
  readonly current: Step | undefined;
  /** Asks a source, with retries; a failure names the source. */
  ask<Result>(layer: Layer, what: string, work: () => Promise<Result>): Promise<Result>;
  unchanged(published: Generation, immutable: boolean): SyncResult;
  planned(
    next: {
      readonly revision: string;
      readonly published: Generation | undefined;
      readonly totals: PlanTotals;
    },
    immutable: boolean,
  ): SyncResult;
  published(
    generation: Generation,
    previous: Generation | undefined,
    immutable: boolean,
    foreign: readonly string[],
  ): SyncResult;
  /** Stops the clock of the timeout. */
  end(): void;
}

export function startRun(mount: Mount, signal: AbortSignal | undefined): Run {
  const { settings, counters, volume } = mount;
  const started = performance.now();
  const deadline = withTimeout(signal, settings.timeout);
  const before = { ...counters };
  const path =
    settings.publish === "mirror" ? volume.layout.target : join(volume.layout.target, volume.link);
  const common = () => ({
    path,
    received: counters.received - before.received,
    requests: counters.requests - before.requests,
    duration: performance.now() - started,
  });
  let current: Step | undefined;
  const run: Run = {
    mount,
    signal: deadline.signal,
    end: deadline.end,
    get current() {
      return current;
    },
    step(step) {
      current = step;
      mount.emit({ type: "step", step });
    },
    async ask(layer, what, work) {
      try {
        // A source that does not heed the signal must not hold up the sync.
        return await retry(() => untilAborted(work(), run.signal), {
          attempts: settings.attempts,
          signal: run.signal,
          onRetry: (error, attempt, delay) =>
            mount.emit({ type: "retry", source: layer.position, what, attempt, delay, error }),
        });
      } catch (error) {
        throw nameSource(layer, error);
      }
    },
    unchanged: (generation, immutable) => ({
      result: "unchanged",
      revision: generation.revision,
      previousRevision: generation.revision,
      added: 0,
      changed: 0,
      deleted: 0,
      files: generation.files,
      bytes: generation.bytes,
      immutable,
      foreign: [],
      ...common(),
    }),
    planned: ({ revision, published, totals }, immutable) => ({
      result: "planned",
      revision,
      previousRevision: published?.revision,
      added: totals.added,
      changed: totals.changed,
      deleted: totals.deleted,
      files: totals.files,
      bytes: totals.bytes,
      immutable,
      foreign: [],
      ...common(),
    }),
    published(generation, previous, immutable, foreign) {
      const { revision, added, changed, deleted, files, bytes } = generation;
      mount.emit({ type: "published", revision, previousRevision: previous?.revision, path });
      return {
        result: "published",
        revision,
        previousRevision: previous?.revision,
        added,
        changed,
        deleted,
        files,
        bytes,
        immutable,
        foreign,
        ...common(),
      };
    },
  };
  return run;
}

export function nameSource(layer: Layer, error: unknown): unknown {
  return error instanceof SourceError
    ? new MountSourceError(layer.position, layer.url, error)
    : error;
}

/** Whether what was listed is not there any more. Many sources say `not-found` of a file that was listed a moment ago. */
export function isChanged({ current }: Run, error: unknown): boolean {
  const cause = error instanceof MountSourceError ? error.cause : error;
  if (!(cause instanceof SourceError)) return false;
  return cause.code === "changed" || (cause.code === "not-found" && current === "fetch");
}
