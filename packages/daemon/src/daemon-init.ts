/** What the daemon is given by the program around it. */
import type { Credentials, SourceSpec } from "@pannier/core";
import type { AdapterChoice, DaemonConfig, PushConfig } from "./config/config.ts";
import type { MountEvent } from "./events.ts";

export type Log = (
  level: "debug" | "info" | "warn" | "error",
  message: string,
  fields?: Readonly<Record<string, unknown>>,
) => void;

export interface Push {
  /** @throws UsageError where it is no destination, or nothing can be pushed */
  check(destination: string): Promise<unknown>;
  run(init: {
    readonly target: string;
    readonly destination: string;
    readonly layers: number | undefined;
    readonly credentials: Credentials | undefined;
    readonly sign: PushConfig["sign"];
    readonly signal: AbortSignal;
  }): Promise<unknown>;
}

export interface DaemonInit {
  /** Reads the configuration: at the start, and whenever `file` changed. @throws UsageError */
  readonly readConfig: () => DaemonConfig | Promise<DaemonConfig>;
  /** The file that is watched; none: the configuration never changes. */
  readonly file?: string | undefined;
  /** Where the mounts and the port seem to be of a file that {@link DaemonInit.readConfig} refuses. */
  readonly guessConfig?: (() => Promise<DaemonConfig | undefined>) | undefined;
  /** Directory of ours alone, in which a restart finds what the last one knew; none: nothing is remembered. */
  readonly memory?: string | undefined;
  /** Version of the program, for metrics and the dashboard. */
  readonly version: string;
  /** Finds the adapters of sources that belong together and checks their options. @throws UsageError */
  readonly resolveSources: (
    urls: readonly string[],
    adapter: AdapterChoice | undefined,
  ) => Promise<readonly SourceSpec[]>;
  /** Pushes what is published at a target. @throws UsageError where the destination is none */
  readonly push: Push;
  /** For sources that have none of their own. */
  readonly credentials: Credentials;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  readonly onEvent: (mount: string, event: MountEvent) => void;
  /** Takes known secrets out of a text. */
  readonly redact: (text: string) => string;
  /** Makes secrets known, before anything else is done with them. */
  readonly learn: (sources: readonly string[], secrets: readonly (string | undefined)[]) => void;
  /** Ends the daemon in order. */
  readonly signal: AbortSignal;
  /** Each value asks for a sync of every mount. */
  readonly triggers?: AsyncIterable<unknown> | undefined;
  /** Sync each mount once, then end. */
  readonly once: boolean;
}
