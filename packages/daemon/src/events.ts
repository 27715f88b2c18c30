/** What a mount tells. */
import type { SyncEvent } from "@pannier/core";

/** What the engine tells of a mount, and what the daemon adds. */
export type MountEvent =
  | SyncEvent
  /** The mount waits for its turn among those that may be at work. */
  | { readonly type: "queued" }
  /** A run of a hook ended. */
  | {
      readonly type: "hook";
      readonly hook: "prePublish" | "postPublish";
      readonly result: "success" | "failure" | "timeout";
      /** What was run, without secrets. */
      readonly what: string;
      readonly revision: string;
      /** Its place in the list of `postPublish`. */
      readonly position?: number | undefined;
      /** Milliseconds. */
      readonly duration: number;
      /** Why it failed. */
      readonly message?: string | undefined;
      /** Milliseconds to the next try; none: there will be none. */
      readonly retry?: number | undefined;
    };
