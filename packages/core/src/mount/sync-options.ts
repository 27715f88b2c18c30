/** What a caller can set on a mount, the defaults, and their checks. */
import type { SyncEvent } from "../events.ts";
import type { Credentials, Limits, SourceSpec } from "../source/contract.ts";

/** One layer of a mount: a source, and where in the tree it goes. */
export interface LayerSpec {
  readonly source: SourceSpec;
  /** Directory of the tree that the source's root becomes. Default: the tree's root. */
  readonly into?: string | undefined;
  /** Overrides the mount's credentials for this source. */
  readonly credentials?: Credentials | undefined;
}

export interface SyncOptions {
  /** At least one; a later one lies over the earlier ones. */
  readonly sources: readonly (SourceSpec | LayerSpec)[];
  /** The directory to keep equal to the sources; created if it is not there. */
  readonly target: string;
  /** `swap` (default): complete trees below `.pannier`, made visible by replacing one symlink. `mirror`: files straight into the target. */
  readonly publish?: "swap" | "mirror" | undefined;
  /** Name of the symlink in the target. Default `current`. */
  readonly link?: string | undefined;
  /** Complete trees kept, the published one included. Default 2. */
  readonly keep?: number | undefined;
  /** Globs of paths wanted; none: all. */
  readonly include?: readonly string[] | undefined;
  /** Globs of paths not wanted; wins over `include`. */
  readonly exclude?: readonly string[] | undefined;
  /** `50%`, `1000`. Default: a source that became empty, or a deletion of more than half of 20 or more files, is refused. */
  readonly maxDelete?: string | number | undefined;
  /** Bytes in the tree. Default: unlimited. */
  readonly maxBytes?: number | undefined;
  /** Files and symlinks in the tree. Default: 2,000,000. A source may list so many at least, whatever is wanted of them. */
  readonly maxFiles?: number | undefined;
  /** Bytes in one file. Default: unlimited. */
  readonly maxFileBytes?: number | undefined;
  /** Default `inside`. */
  readonly symlinks?: "inside" | "skip" | "reject" | "all" | undefined;
  /** Permission bits of every file; default: the source's, else 0o644. */
  readonly mode?: number | undefined;
  /** Permission bits of every directory; default 0o755. */
  readonly dirMode?: number | undefined;
  /** Owner of everything written. Default: the process's own. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  /** Reads at once of each source. Default: what its adapter says suits it, else 16. */
  readonly concurrency?: number | undefined;
  /** Bytes a second, over all reads of this mount. Default: unlimited. */
  readonly bandwidth?: number | undefined;
  /** Milliseconds for opening the sources, and again for the whole sync. Default: none. */
  readonly timeout?: number | undefined;
  /** Milliseconds without a sign of life after which one request is given up, and so is a source that does not close. Default 30,000. */
  readonly idleTimeout?: number | undefined;
  /** How often one request is tried in all. Default 5. */
  readonly attempts?: number | undefined;
  readonly credentials?: Credentials | undefined;
  /**
   * Read every file at each sync, and compare its content with what is published: for sources where size and time are all that tells two
   * versions of a file apart, and content may change without them. Files whose fingerprint is a digest of their content are not read again. Default false.
   */
  readonly verifyContent?: boolean | undefined;
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
