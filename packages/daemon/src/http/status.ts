/** What the daemon tells of its mounts: no secrets, no paths of this machine. */
import { describeSource } from "@pannier/core";
import type { Moment } from "../attempts.ts";
import type { Mount } from "../mount.ts";

export interface ConfigStatus {
  /** When the configuration in force was taken over. */
  readonly loaded: Date;
  /** Why the file as it is now was refused. */
  readonly error?: string | undefined;
}

export function mountStatus({ config, state, layers }: Mount): Record<string, unknown> {
  const [latest] = state.history;
  const hide = (text: string | undefined) => text?.replaceAll(config.options.target, "TARGET");
  const { failure } = state;
  return {
    name: config.name,
    state: state.phase,
    step: state.step,
    progress: state.progress,
    sources: layers.map(({ source, into }, index) => ({
      url: describeSource(source),
      into,
      adapter: source.adapter.name,
      revision: latest?.sources[index]?.revision,
      signature: latest?.sources[index]?.signature,
    })),
    revision: latest?.revision ?? null,
    held: state.held,
    publishedAt: latest === undefined ? null : time(latest.time),
    files: latest?.files,
    bytes: latest?.bytes,
    publish: config.options.publish ?? "swap",
    period: config.options.period / 1000,
    lastAttempt:
      state.attempt === undefined
        ? null
        : {
            endedAt: time(state.attempt.ended.wall),
            result: state.attempt.result,
            duration: state.attempt.duration / 1000,
          },
    lastSuccess: momentOf(state.success),
    nextAttempt: nextAttempt(state),
    failures: state.failures,
    failingSince: momentOf(state.outage?.since),
    error:
      failure === undefined
        ? null
        : {
            code: failure.code,
            message: hide(failure.message),
            hint: hide(failure.hint),
            source: failure.source,
          },
    failedHooks: state.failedHooks.map(({ hook, revision, message }) => ({
      hook,
      revision,
      message: hide(message),
    })),
    kept: state.history
      .filter(({ path }) => path !== undefined)
      .map(({ id, revision, time: published }) => ({ id, revision, publishedAt: time(published) })),
  };
}

function nextAttempt({ phase, due }: Mount["state"]): string | null {
  if (phase !== "waiting" || due === undefined || !Number.isFinite(due)) return null;
  return time(Date.now() + Math.max(0, due - performance.now()));
}

function momentOf(moment: Moment | undefined): string | null {
  return moment === undefined ? null : time(moment.wall);
}

function time(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
