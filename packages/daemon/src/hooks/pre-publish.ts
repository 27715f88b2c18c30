/** The hook that is asked before a revision is published. */
import type { Candidate, SyncOptions } from "@pannier/core";
import type { PrePublishConfig } from "../config/config.ts";
import type { Push } from "../daemon-init.ts";
import type { MountEvent } from "../events.ts";
import { HookFailure, hookEnvironment, runCommand } from "./command.ts";

export interface HookTools {
  readonly mount: string;
  readonly target: string;
  /** Of everything written to it. */
  readonly owner: { readonly uid: number } | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly push: Push;
  readonly redact: (text: string) => string;
  readonly emit: (event: MountEvent) => void;
  /** Ends whatever runs: the grace is over. */
  readonly kill: AbortSignal;
}

export interface PrePublish {
  readonly ask: NonNullable<SyncOptions["prePublish"]>;
  /** A revision that was refused is asked about again. */
  forget(): void;
}

export function createPrePublish(
  config: PrePublishConfig | undefined,
  tools: HookTools,
): PrePublish | undefined {
  if (config === undefined) return undefined;
  let refused: { readonly revision: string; readonly at: number; readonly why: Error } | undefined;
  return {
    forget() {
      refused = undefined;
    },
    async ask(candidate, signal) {
      // The engine tries again at each poll; the answer to the same question is known.
      if (refused?.revision === candidate.revision && performance.now() - refused.at < config.retry)
        throw refused.why;
      refused = undefined;
      try {
        await ask(config, candidate, signal, tools);
      } catch (error) {
        if (!signal.aborted)
          refused = {
            revision: candidate.revision,
            at: performance.now(),
            why: error as Error,
          };
        throw error;
      }
    },
  };
}

async function ask(
  config: PrePublishConfig,
  candidate: Candidate,
  signal: AbortSignal,
  { mount, env, redact, emit, kill }: HookTools,
): Promise<void> {
  const { revision } = candidate;
  const started = performance.now();
  const told = {
    type: "hook",
    hook: "prePublish",
    what: config.command[0] as string,
    revision,
  } as const;
  const duration = () => performance.now() - started;
  try {
    await runCommand({
      command: config.command,
      cwd: candidate.path,
      env: hookEnvironment(env, { mount, ...candidate }, config.env),
      own: config.env,
      timeout: config.timeout,
      signal,
      kill,
    });
    emit({ ...told, result: "success", duration: duration() });
  } catch (error) {
    if (!(error instanceof HookFailure)) throw error;
    const message = redact(error.message);
    emit({
      ...told,
      result: error.timedOut ? "timeout" : "failure",
      duration: duration(),
      message,
    });
    throw new HookFailure(message, { timedOut: error.timedOut });
  }
}
