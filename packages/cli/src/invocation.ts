/** What a command is given to work with. */
import type { Credentials, SyncEvent } from "@pannier/core";
import type { Settings } from "./flags.ts";
import type { Log } from "./log.ts";
import type { Redact } from "./redact.ts";
import type { ProcessContext } from "./process-context.ts";

export interface Invocation {
  readonly args: readonly string[];
  readonly settings: Settings;
  /** Of the program. */
  readonly version: string;
  readonly credentials: Credentials;
  readonly context: ProcessContext;
  /** Aborted by the first signal that asks for an end. */
  readonly signal: AbortSignal;
  readonly redact: Redact;
  readonly log: Log;
  /** Shows an event as progress and in the log. */
  readonly onEvent: (event: SyncEvent) => void;
  /** Takes the progress off the screen. */
  readonly clearProgress: () => void;
  /** Writes a line of the result; waits where the reader is slow. */
  readonly print: (line: string) => Promise<void>;
  /** Writes a value of the result as one line of JSON. */
  readonly printJson: (value: unknown) => Promise<void>;
}
