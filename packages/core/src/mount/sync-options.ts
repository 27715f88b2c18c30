/** What a caller can set on a mount, the defaults, and their checks. */
import type { SyncEvent } from "../events.ts";
import type { MountOptionValues } from "./options.ts";
import type { Credentials, Limits, SourceSpec } from "../source/contract.ts";

/** One layer of a mount: a source, and where in the tree it goes. */
export interface LayerSpec {
  readonly source: SourceSpec;
  /** Directory of the tree that the source's root becomes. Default: the tree's root. */
  readonly into?: string | undefined;
  /** Overrides the mount's credentials for this source. */
  readonly credentials?: Credentials | undefined;
  /** Overrides the mount's signers for this source. */
  readonly signedBy?: readonly string[] | undefined;
}

/** Beside these: the options of {@link MOUNT_OPTIONS}. */
export interface SyncOptions extends Omit<MountOptionValues, "period" | "scrub"> {
  /** At least one; a later one lies over the earlier ones. */
  readonly sources: readonly (SourceSpec | LayerSpec)[];
  /** The directory to keep equal to the sources; created if it is not there. */
  readonly target: string;
  /** Milliseconds without a sign of life after which one request is given up, and so is a source that does not close. Default 30,000. */
  readonly idleTimeout?: number | undefined;
  /** How often one request is tried in all. Default 5. */
  readonly attempts?: number | undefined;
  readonly credentials?: Credentials | undefined;
  /** Find out what would be done, and write nothing to the tree. Default false. */
  readonly dryRun?: boolean | undefined;
  /**
   * Runs on the complete candidate tree before it becomes visible; what it throws keeps the old one published. An error thrown
   * before, the same object, stands for an answer that is still the same: `follow` does not count it as another failure.
   */
  readonly prePublish?: ((candidate: Candidate, signal: AbortSignal) => Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: ((event: SyncEvent) => void) | undefined;
}

/** What a pre-publish hook is shown. */
export interface Candidate {
  /** Absolute path of the candidate tree. */
  readonly path: string;
  readonly revision: string;
  readonly previousRevision: string | undefined;
  /** Absolute path of a file with one changed path a line: `A`, `M` or `D`, a tab, the path (JSON-quoted where it holds a control character). */
  readonly changes: string;
}

export type { Limits };
