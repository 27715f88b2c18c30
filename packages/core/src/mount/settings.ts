/** What a mount is asked to be, checked and complete. */
import { resolve } from "node:path";
import { UsageError } from "../source/errors.ts";
import { parseSigner, refuseOtherKinds, type Signer } from "../source/signers.ts";
import { checkMountOptions, standardOf } from "./options.ts";
import type { LayerSpec, SyncOptions } from "./sync-options.ts";
import type { Limits } from "../source/contract.ts";
import type { TreeSettings } from "../volume/tree-settings.ts";

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
  /** Absolute path. */
  readonly lock: string | undefined;
  readonly locked: boolean;
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
export function checkSettings(options: SyncOptions): MountSettings {
  if (options.sources.length === 0) throw new UsageError("no source is given");
  if (options.target === "") throw new UsageError("no target is given");
  checkMountOptions(options);
  const publish = options.publish ?? standardOf("publish");
  if (publish === "mirror" && options.prePublish !== undefined) {
    throw new UsageError(
      "a pre-publish hook needs a complete candidate tree, which mirror does not make",
      "use publish swap",
    );
  }
  if (options.locked === true && options.lock === undefined)
    throw new UsageError("there is no lock file to go by", "name it by lock");
  return {
    target: resolve(options.target),
    publish,
    link: options.link ?? standardOf("link"),
    keep: options.keep ?? standardOf("keep"),
    maxDelete: options.maxDelete,
    limits: {
      maxFiles: options.maxFiles ?? standardOf("maxFiles"),
      maxBytes: options.maxBytes ?? UNLIMITED.maxBytes,
      maxFileBytes: options.maxFileBytes ?? UNLIMITED.maxFileBytes,
      maxExpansion: UNLIMITED.maxExpansion,
    },
    symlinks: options.symlinks ?? standardOf("symlinks"),
    mode: options.mode,
    tree: {
      dirMode: options.dirMode ?? standardOf("dirMode"),
      owner: options.owner,
      obstacles: publish === "mirror" ? "refuse" : "replace",
    },
    concurrency: options.concurrency,
    bandwidth: options.bandwidth,
    timeout: options.timeout,
    idleTimeout: count("idleTimeout", options.idleTimeout, IDLE_TIMEOUT),
    attempts: count("attempts", options.attempts, ATTEMPTS),
    verifyContent: options.verifyContent ?? false,
    lock: options.lock === undefined ? undefined : resolve(options.lock),
    locked: options.locked ?? false,
    dryRun: options.dryRun ?? false,
    prePublish: options.prePublish,
  };
}

/** @throws UsageError for less than one */
function count(name: string, value: number | undefined, standard: number): number {
  if (value !== undefined && !(value >= 1))
    throw new UsageError(`${name} must be at least 1, not ${value}`);
  return value ?? standard;
}

/**
 * Who has to have signed each source, by position. One of them is enough, of a kind that the source can bear.
 *
 * @throws UsageError where a source can bear none of them, or one of them can be of no source: neither is passed over
 */
export function signersOf(
  specs: readonly LayerSpec[],
  { signedBy = [] }: Pick<SyncOptions, "signedBy">,
): readonly (readonly Signer[])[] {
  const common = signedBy.map(parseSigner);
  const all = specs.map((spec) => spec.signedBy?.map(parseSigner) ?? common);
  for (const [position, { source }] of specs.entries())
    refuseOtherKinds(source.adapter, all[position] ?? []);
  for (const signer of common) {
    const isOfUse = specs.some(
      ({ source }, position) =>
        all[position]?.includes(signer) === true &&
        source.adapter.signatures?.includes(signer.kind) === true,
    );
    if (!isOfUse)
      throw new UsageError(
        `no source can be checked for a signature by ${signer.text}`,
        "leave it out, or give it to the source that it is meant for",
      );
  }
  return all;
}
