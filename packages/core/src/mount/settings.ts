/** What a mount is asked to be, checked and complete. */
import { resolve } from "node:path";
import { UsageError } from "../source/errors.ts";
import type { SyncOptions } from "./sync-options.ts";
import { MAX_FILES } from "../snapshot/bounded.ts";
import { parseMaxDelete } from "../snapshot/guard.ts";
import { unsafePath } from "../snapshot/path.ts";
import type { Limits } from "../source/contract.ts";
import { HOME } from "../volume/layout.ts";
import type { TreeSettings } from "../volume/tree.ts";

/** {@link SyncOptions} with defaults filled in. */
export interface MountSettings {
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

export const UNLIMITED: Limits = {
  maxFiles: Number.POSITIVE_INFINITY,
  maxBytes: Number.POSITIVE_INFINITY,
  maxFileBytes: Number.POSITIVE_INFINITY,
  maxExpansion: 200,
};
export const IDLE_TIMEOUT = 30_000;
export const ATTEMPTS = 5;
/** Of sources that do not say what suits them. */
export const CONCURRENCY = 16;

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

/** @throws UsageError */
export function checkSettings(options: SyncOptions): MountSettings {
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
      maxFiles: count("max-files", options.maxFiles, MAX_FILES),
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
