/** A mount opened for work: its settings checked, its volume locked, its sources open. */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve, sep } from "node:path";
import { within, withTimeout } from "./deadline.ts";
import { TargetError } from "./errors.ts";
import type { SyncEvent } from "./events.ts";
import type { LayerSpec, SyncOptions } from "./settings.ts";
import { type Filter, makeFilter } from "./snapshot/filter.ts";
import { parseMaxDelete } from "./snapshot/guard.ts";
import { unsafePath } from "./snapshot/path.ts";
import type { Credentials, Limits, Source, SourceContext, SourceSpec } from "./source/contract.ts";
import { SourceError, UsageError } from "./source/errors.ts";
import { type Bandwidth, createBandwidth } from "./transfer/bandwidth.ts";
import { createLimiter, type Limiter } from "./transfer/limiter.ts";
import { retry, type RetryOptions } from "./transfer/retry.ts";
import { untilAborted } from "./transfer/until-aborted.ts";
import { decodedPath } from "./source/location.ts";
import { describeSource } from "./source/registry.ts";
import { HOME } from "./volume/layout.ts";
import { openVolume } from "./volume/open.ts";
import type { Volume } from "./volume/volume.ts";
import { removeTree } from "./volume/remove.ts";
import type { TreeSettings } from "./volume/tree.ts";

/** {@link SyncOptions} with defaults filled in. */
interface MountSettings {
  readonly target: string;
  readonly publish: "swap" | "mirror";
  readonly link: string;
  readonly keep: number;
  readonly maxDelete: string | number | undefined;
  readonly limits: Limits;
  readonly symlinks: NonNullable<SyncOptions["symlinks"]>;
  readonly mode: number | undefined;
  readonly tree: TreeSettings;
  readonly concurrency: number | undefined;
  readonly bandwidth: number | undefined;
  readonly timeout: number | undefined;
  readonly idleTimeout: number;
  readonly attempts: number;
  readonly verifyContent: boolean;
  readonly dryRun: boolean;
  readonly prePublish: SyncOptions["prePublish"];
}

/** One source of a mount, open. */
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
  /** As {@link SyncOptions} have it. */
  readonly verifyContent: boolean;
  /** Bounds the reads of this source. */
  readonly limiter: Limiter;
}

export interface Mount {
  readonly settings: MountSettings;
  readonly filter: Filter | undefined;
  readonly layers: readonly Layer[];
  readonly volume: Volume;
  readonly bandwidth: Bandwidth | undefined;
  /** Requests made to the sources so far. */
  readonly counters: { requests: number; received: number };
  emit(event: SyncEvent): void;
  close(): Promise<void>;
}

/**
 * @throws UsageError for settings that cannot be, TargetError for a target that cannot be used, SourceError from an adapter's `open`,
 * or where that takes longer than a whole sync may; the signal's reason
 */
export async function openMount(options: SyncOptions): Promise<Mount> {
  const settings = checkSettings(options);
  const specs = options.sources.map(asLayerSpec);
  refuseNesting(specs, settings.target);
  const emit = (event: SyncEvent) => options.onEvent?.(event);
  const volume = openVolume({
    target: settings.target,
    publish: settings.publish,
    link: settings.link,
    dryRun: settings.dryRun,
    emit,
  });
  const counters = { requests: 0, received: 0 };
  const layers: Layer[] = [];
  const close = async () => {
    const closing = layers.map(({ source }) => within(settings.idleTimeout, source.close()));
    const closed = await Promise.allSettled(closing);
    volume.close();
    for (const [source, outcome] of closed.entries()) {
      if (outcome.status === "fulfilled") continue;
      // What was synced is synced, and what failed before must not be hidden by this.
      const message = `cannot be closed: ${(outcome.reason as Error).message}`;
      emit({ type: "warning", source, message });
    }
  };
  const deadline = withTimeout(options.signal, settings.timeout);
  const tools = { volume, counters, emit, deadline: deadline.signal };
  try {
    for (const [position, spec] of specs.entries()) {
      layers.push(await openLayer(spec, position, options, settings, tools));
    }
    if (!settings.dryRun) sweepScratch(volume, specs);
    return {
      settings,
      filter: makeFilter(options.include ?? [], options.exclude ?? []),
      layers,
      volume,
      bandwidth: settings.bandwidth === undefined ? undefined : createBandwidth(settings.bandwidth),
      counters,
      emit,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  } finally {
    deadline.end();
  }
}

/** See `checkOptions`, which also looks at what only the loop needs. @throws UsageError, TargetError */
export function checkMount(options: SyncOptions): void {
  const { target } = checkSettings(options);
  const specs = options.sources.map(asLayerSpec);
  for (const { into } of specs) normaliseInto(into);
  refuseNesting(specs, target);
  makeFilter(options.include ?? [], options.exclude ?? []);
}

function asLayerSpec(source: SourceSpec | LayerSpec): LayerSpec {
  return "adapter" in source ? { source } : source;
}

async function openLayer(
  spec: LayerSpec,
  position: number,
  options: SyncOptions,
  settings: MountSettings,
  {
    volume,
    counters,
    emit,
    deadline,
  }: Pick<Mount, "volume" | "counters" | "emit"> & { readonly deadline: AbortSignal },
): Promise<Layer> {
  const { adapter, location } = spec.source;
  const into = normaliseInto(spec.into);
  let limiter: Limiter | undefined;
  const context = sourceContext({
    credentials: spec.credentials ?? options.credentials ?? {},
    limits: settings.limits,
    idleTimeout: settings.idleTimeout,
    scratch: () => join(volume.layout.scratch, scratchName(spec.source)),
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
  const source = await untilAborted(opening, deadline, () => {
    // Nobody waits for it any more.
    void opening.then((late) => late.close()).catch(() => {});
  });
  limiter = createLimiter(atOnce(settings, source));
  const url = describeSource(spec.source);
  const { options: own } = spec.source;
  return {
    position,
    source,
    adapter: adapter.name,
    url,
    into,
    // Without the values that the URL hides: a signature made anew is no other source.
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
    verifyContent: settings.verifyContent,
    limiter,
  };
}

/** Retries a part of something that must not be repeated as a whole for it once more. */
async function retryPart<Result>(
  work: () => Promise<Result>,
  options: RetryOptions,
): Promise<Result> {
  try {
    return await retry(work, options);
  } catch (error) {
    if (!(error instanceof SourceError) || !error.transient) throw error;
    const { code, message, retryAfter, hint, cause } = error;
    throw new SourceError(code, message, { transient: false, retryAfter, hint, cause });
  }
}

/** Reads at once: as many as suit the source, fewer where the user says so. */
function atOnce({ concurrency }: MountSettings, source: Source): number {
  const most = source.concurrency ?? concurrency ?? CONCURRENCY;
  return Math.min(concurrency ?? most, most);
}

/** A context whose scratch directory is made when first asked for. */
function sourceContext(
  parts: Omit<SourceContext, "scratch"> & { readonly scratch: () => string },
): SourceContext {
  let made: string | undefined;
  return {
    ...parts,
    async scratch() {
      if (made === undefined) {
        const path = parts.scratch();
        mkdirSync(path, { recursive: true, mode: 0o700 });
        made = path;
      }
      return made;
    },
  };
}

/** A source opened without a target. */
export interface OpenedSource {
  readonly source: Source;
  /** Runs work on the source as the engine does: what fails for a while is tried again, up to five times in all. */
  retry<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result>;
  /** Closes the source and removes its scratch directory. */
  close(): Promise<void>;
}

/** Opens a source without a target, to look at it (`ls`, `doctor`). Its scratch directory is temporary. */
export async function openSource(
  spec: SourceSpec,
  init: {
    readonly credentials?: Credentials;
    readonly idleTimeout?: number;
    readonly warn?: (message: string) => void;
    readonly request?: (operation: string) => void;
    readonly onRetry?: RetryOptions["onRetry"];
  } = {},
): Promise<OpenedSource> {
  let scratch: string | undefined;
  const context = sourceContext({
    credentials: init.credentials ?? {},
    limits: UNLIMITED,
    idleTimeout: init.idleTimeout ?? IDLE_TIMEOUT,
    scratch: () => (scratch ??= mkdtempSync(join(tmpdir(), "pannier-"))),
    warn: init.warn ?? (() => {}),
    retry: (work, signal) => retryPart(work, { attempts: ATTEMPTS, signal, onRetry: init.onRetry }),
    request: init.request ?? (() => {}),
  });
  const source = await spec.adapter.open(spec.location, spec.options as never, context);
  return {
    source,
    retry: (work, signal) => retry(work, { attempts: ATTEMPTS, signal, onRetry: init.onRetry }),
    async close() {
      await source.close();
      if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true });
    },
  };
}

const UNLIMITED: Limits = {
  maxFiles: Number.POSITIVE_INFINITY,
  maxBytes: Number.POSITIVE_INFINITY,
  maxFileBytes: Number.POSITIVE_INFINITY,
  maxExpansion: 200,
};
const IDLE_TIMEOUT = 30_000;
const ATTEMPTS = 5;
/** Of sources that do not say what suits them. */
const CONCURRENCY = 16;

/** @throws UsageError */
export function longerThanNothing(name: string, milliseconds: number): number {
  if (!(milliseconds > 0)) throw new UsageError(`the ${name} must be longer than nothing`);
  return milliseconds;
}

/** @throws UsageError when a setting is below what makes sense */
function count(name: string, value: number | undefined, standard: number, least = 1): number {
  if (value !== undefined && !(value >= least))
    throw new UsageError(`${name} must be at least ${least}, not ${value}`);
  return value ?? standard;
}

function checkSettings(options: SyncOptions): MountSettings {
  if (options.sources.length === 0) throw new UsageError("no source is given");
  if (options.target === "") throw new UsageError("no target is given");
  const link = options.link ?? "current";
  if (unsafePath(link) !== undefined || link.includes("/") || link === HOME)
    throw new UsageError(
      `the link name ${JSON.stringify(link)} cannot be used`,
      "choose a plain file name",
    );
  parseMaxDelete(options.maxDelete);
  const dirMode = options.dirMode ?? 0o755;
  if ((dirMode & 0o500) !== 0o500)
    throw new UsageError(
      `the directory mode 0${dirMode.toString(8)} keeps Pannier itself out`,
      "let the owner read and enter directories, as 0555 and 0755 do",
    );
  const publish = options.publish ?? "swap";
  if (publish === "mirror" && options.prePublish !== undefined) {
    throw new UsageError(
      "a pre-publish hook needs a complete candidate tree, which mirror does not make",
      "use publish swap",
    );
  }
  return {
    target: resolve(options.target),
    publish,
    link,
    keep: count("keep", options.keep, 2),
    maxDelete: options.maxDelete,
    limits: {
      maxFiles: count("max-files", options.maxFiles, Number.POSITIVE_INFINITY),
      maxBytes: count("max-bytes", options.maxBytes, Number.POSITIVE_INFINITY),
      maxFileBytes: count("max-file-bytes", options.maxFileBytes, Number.POSITIVE_INFINITY),
      maxExpansion: UNLIMITED.maxExpansion,
    },
    symlinks: options.symlinks ?? "inside",
    mode: options.mode,
    tree: {
      dirMode,
      owner: options.owner,
      obstacles: publish === "mirror" ? "refuse" : "replace",
    },
    concurrency:
      options.concurrency === undefined
        ? undefined
        : count("concurrency", options.concurrency, CONCURRENCY),
    bandwidth: options.bandwidth,
    timeout:
      options.timeout === undefined ? undefined : longerThanNothing("timeout", options.timeout),
    idleTimeout: count("idle-timeout", options.idleTimeout, IDLE_TIMEOUT),
    attempts: count("attempts", options.attempts, ATTEMPTS),
    verifyContent: options.verifyContent ?? false,
    dryRun: options.dryRun ?? false,
    prePublish: options.prePublish,
  };
}

function normaliseInto(into: string | undefined): string {
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

/** A target inside its own source would grow without end; a source inside its target would be mistaken for litter. */
function refuseNesting(specs: readonly LayerSpec[], target: string): void {
  for (const { source } of specs) {
    if (source.adapter.name !== "file") continue;
    const path = resolve(decodedPath(source.location));
    if (path === target || target.startsWith(path.endsWith(sep) ? path : path + sep))
      throw new TargetError(`the target ${target} lies inside its source ${path}`, {
        hint: "choose a target outside of it",
      });
    if (path.startsWith(`${target}${sep}`))
      throw new TargetError(`the source ${path} lies inside the target ${target}`, {
        hint: "choose another target",
      });
  }
}

/** Caches of sources that the mount has no more. */
function sweepScratch(volume: Volume, specs: readonly LayerSpec[]): void {
  const used = new Set(specs.map(({ source }) => scratchName(source)));
  let names: string[];
  try {
    names = readdirSync(volume.layout.scratch);
  } catch {
    return;
  }
  for (const name of names) if (!used.has(name)) removeTree(join(volume.layout.scratch, name));
}

/** One for each URL with its options: two archives may differ by their query alone. */
function scratchName(spec: SourceSpec): string {
  const { adapter, location, options } = spec;
  return `${adapter.name}-${digest(describeSource(spec), location.rawQuery, options).slice(0, 16)}`;
}

function digest(...parts: unknown[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}
