/** One source of a mount, open. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { lockedRevision } from "./lock-file.ts";
import { CONCURRENCY, type MountSettings } from "./settings.ts";
import type { SyncEvent } from "../events.ts";
import type { LayerSpec, SyncOptions } from "./sync-options.ts";
import { unsafePath } from "../source/path.ts";
import type { Signer, Source, SourceSpec } from "../source/contract.ts";
import { UsageError } from "../source/errors.ts";
import { retryPart, sourceContext } from "./source-context.ts";
import { describeSource } from "../source/registry.ts";
import { createLimiter, type Limiter } from "../transfer/limiter.ts";
import type { Volume } from "../volume/volume.ts";
import { untilAborted } from "../timing/sleep.ts";

export interface Layer {
  readonly position: number;
  readonly source: Source;
  readonly adapter: string;
  /** Redacted. */
  readonly url: string;
  readonly into: string;
  /** See LayerRecord. */
  readonly identity: string;
  readonly view: string;
  readonly settings: string;
  /** As {@link SyncOptions} have it. */
  readonly verifyContent: boolean;
  /** Who has to have signed it; nobody where empty. */
  readonly signers: readonly Signer[];
  /** Bounds the reads of this source. */
  readonly limiter: Limiter;
  /** Counts a request and tells of it, as `SourceContext.request`. */
  request(operation: string): void;
}

/** What a layer has of its mount. */
interface LayerInit {
  readonly volume: Volume;
  /** Name of its scratch directory. */
  readonly scratch: string;
  /** Requests made to the sources so far, and bytes received. */
  readonly counters: { requests: number; received: number };
  emit(event: SyncEvent): void;
  readonly signers: readonly Signer[];
  /** Told of the opening, which may go on when nobody waits for it any more. */
  readonly openings: Promise<unknown>[];
  readonly deadline: AbortSignal;
}

export function asLayerSpec(source: SourceSpec | LayerSpec): LayerSpec {
  return "adapter" in source ? { source } : source;
}

export async function openLayer(
  spec: LayerSpec,
  position: number,
  options: SyncOptions,
  settings: MountSettings,
  { volume, scratch, counters, emit, signers, openings, deadline }: LayerInit,
): Promise<Layer> {
  const { adapter, location } = spec.source;
  const into = normaliseInto(spec.into);
  const url = describeSource(spec.source);
  const { lock, locked } = settings;
  let limiter: Limiter | undefined;
  const context = sourceContext({
    credentials: spec.credentials ?? options.credentials ?? {},
    signers,
    locked:
      lock === undefined || !locked
        ? undefined
        : () => lockedRevision(lock, position, { url, into }),
    limits: settings.limits,
    idleTimeout: settings.idleTimeout,
    scratch: () => join(volume.layout.scratch, scratch),
    warn: (message) => emit({ type: "warning", source: position, message }),
    retry: (work, signal) =>
      retryPart(() => limiter?.run(work, signal) ?? work(), {
        attempts: settings.attempts,
        signal,
        onRetry: (error, attempt, delay) =>
          emit({ type: "retry", source: position, what: "list", attempt, delay, error }),
      }),
    request(operation) {
      counters.requests++;
      emit({ type: "request", source: position, operation });
    },
  });
  deadline.throwIfAborted();
  const opening = adapter.open(location, spec.source.options as never, context);
  let isLate = false;
  // Nobody waits for a late one any more. Why one fails is told below.
  const closeLate = (opened: Source) => (isLate ? opened.close() : undefined);
  openings.push(opening.then(closeLate).catch(() => {}));
  const source = await untilAborted(opening, deadline, () => {
    isLate = true;
  });
  limiter = createLimiter(() => atOnce(settings, source));
  const { options: own } = spec.source;
  return {
    position,
    source,
    adapter: adapter.name,
    url,
    into,
    // Without the values that the URL hides: a signature recreated is no other source.
    identity: digest(adapter.name, ...(source.contentAddressed === true ? [] : [url, own])),
    view: digest(
      url,
      location.rawQuery,
      own,
      into,
      options.include ?? [],
      options.exclude ?? [],
      settings.symlinks,
      settings.mode ?? null,
      settings.tree,
    ),
    settings: digest(
      options.include ?? [],
      options.exclude ?? [],
      settings.symlinks,
      settings.mode ?? null,
      settings.tree,
    ),
    verifyContent: settings.verifyContent,
    signers,
    limiter,
    request: context.request,
  };
}

/** Reads at once: as many as suit the source, fewer where the user says so. */
function atOnce({ concurrency }: MountSettings, source: Source): number {
  const most = source.concurrency ?? concurrency ?? CONCURRENCY;
  return Math.min(concurrency ?? most, most);
}

/** @throws UsageError */
export function normaliseInto(into: string | undefined): string {
  const path = (into ?? "").replace(/^\.?\/+|\/+$/g, "");
  if (path === "" || path === ".") return "";
  const problem = unsafePath(path);
  if (problem !== undefined)
    throw new UsageError(
      `into ${JSON.stringify(into)} ${problem}`,
      "name a directory below the target",
    );
  return path;
}

/**
 * Names of the scratch directories of a mount's sources, in their order. One for each URL with its options: two archives may differ by
 * their query alone. A source that is there twice has two: each takes what it finds there for its own, and clears it away.
 */
export function scratchNames(specs: readonly LayerSpec[]): readonly string[] {
  const seen = new Map<string, number>();
  return specs.map(({ source }) => {
    const { adapter, location, options } = source;
    const parts = digest(describeSource(source), location.rawQuery, options);
    const name = `${adapter.name}-${parts.slice(0, 16)}`;
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return count === 1 ? name : `${name}-${count}`;
  });
}

function digest(...parts: unknown[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}
