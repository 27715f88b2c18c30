/** What the engine tells about its work: the one stream that progress bars, logs, metrics and dashboards live on. */
import type { Change } from "./snapshot/change.ts";

/** Steps of the pipeline, in order. */
export type Step = "probe" | "list" | "plan" | "fetch" | "stage" | "hook" | "publish" | "collect";

/** The outcome of one sync. */
export interface SyncResult {
  /** `planned`: a dry run that found changes. */
  readonly result: "published" | "unchanged" | "planned";
  /** The revision that is now published (for `planned`: the one that would be), or `undefined` when nothing ever was. */
  readonly revision: string;
  /** The revision published before, if there was one. */
  readonly previousRevision: string | undefined;
  /** Absolute path of the published tree: with `swap` the link, with `mirror` the target itself. */
  readonly path: string;
  readonly added: number;
  readonly changed: number;
  readonly deleted: number;
  /** Files and symlinks of the tree, and the bytes of its files. */
  readonly files: number;
  readonly bytes: number;
  /** Bytes read from sources, and requests made to them. */
  readonly received: number;
  readonly requests: number;
  /** Milliseconds from start to end. */
  readonly duration: number;
  /** True where every source is immutable (a full commit SHA): there is nothing to follow. */
  readonly immutable: boolean;
  /** Files in the target that Pannier did not put there and left alone (`mirror` only); at most 100 of them. */
  readonly foreign: readonly string[];
}

export type SyncEvent =
  | { readonly type: "step"; readonly step: Step }
  /** A source answered a request. `source` is its position in the mount's sources. */
  | { readonly type: "request"; readonly source: number; readonly operation: string }
  /** How far the listing is; at most some times a second. */
  | { readonly type: "listed"; readonly entries: number }
  | {
      readonly type: "planned";
      readonly added: number;
      readonly changed: number;
      readonly deleted: number;
      readonly fetchFiles: number;
      readonly fetchBytes: number;
      /** Read only to be sure that they are as published (`verifyContent`). */
      readonly rereadFiles: number;
      readonly rereadBytes: number;
    }
  /** How far the fetch is; at most some times a second. `totalBytes` grows where a source did not tell sizes. */
  | {
      readonly type: "progress";
      readonly files: number;
      readonly bytes: number;
      readonly totalFiles: number;
      readonly totalBytes: number;
    }
  /** A try failed and will be made again after `delay` milliseconds. */
  | {
      readonly type: "retry";
      readonly source: number;
      readonly what: string;
      readonly attempt: number;
      readonly delay: number;
      readonly error: Error;
    }
  | { readonly type: "warning"; readonly source?: number | undefined; readonly message: string }
  /** Something in the volume was not as recorded and was put right. */
  | { readonly type: "healed"; readonly message: string }
  | {
      readonly type: "published";
      readonly revision: string;
      readonly previousRevision: string | undefined;
      readonly path: string;
    }
  /** The end of one sync; the last event of `sync`. */
  | { readonly type: "done"; readonly result: SyncResult }
  /** Only from `follow`: a sync begins. */
  | { readonly type: "started" }
  /** Only from `follow`: a sync failed; the next one starts after `delay` milliseconds. */
  | {
      readonly type: "failed";
      readonly error: Error;
      /** Bytes read from sources all the same. */
      readonly received: number;
      /** In a row. */
      readonly failures: number;
      /** True for a refusal by a pre-publish hook that was told before, and is not counted again. */
      readonly repeated: boolean;
      readonly delay: number;
    }
  /** Only from `follow`: a sync ended well after some had failed. */
  | {
      readonly type: "recovered";
      readonly failures: number;
      /** Milliseconds since the first of them. */
      readonly duration: number;
      /** True where they failed because another process was at work on the target, which has let go of it. */
      readonly tookOver: boolean;
    }
  /** Only from `follow`: waiting for the next poll. */
  | { readonly type: "waiting"; readonly delay: number };

/** One changed path of a plan, as `pannier plan` and a hook's list of changes show it. */
export type { Change as PlannedChange };
