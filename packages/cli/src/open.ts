/** Opening a source on its own, without a mount, for the commands that look at one. */
import {
  type OpenedSource,
  openSource,
  SourceError,
  type SourceSpec,
  startTimer,
} from "@pannier/core";
import type { Invocation } from "./invocation.ts";
import { logRetry } from "./log.ts";
import { formatDuration } from "./format.ts";

/** Opens a source, hands it on, and closes it; what it keeps on the disk meanwhile goes with it. */
export async function withSource<Result>(
  spec: SourceSpec,
  { credentials, log }: Pick<Invocation, "credentials" | "log">,
  work: (opened: OpenedSource) => Promise<Result>,
): Promise<Result> {
  const opened = await openSource(spec, {
    credentials,
    warn: (message) => log("warn", message),
    request: (operation) => log("debug", `request ${operation}`),
    onRetry: (error, attempt, delay) => logRetry(log, "list", { error, attempt, delay }),
  });
  try {
    return await work(opened);
  } finally {
    await opened.close();
  }
}

/** A signal that also ends after a time, if there is one, with a reason that says so. */
export function withTimeout(signal: AbortSignal, milliseconds: number | undefined): AbortSignal {
  if (milliseconds === undefined) return signal;
  const clock = new AbortController();
  const expire = () =>
    clock.abort(
      new SourceError("unavailable", `it took longer than ${formatDuration(milliseconds)}`, {
        hint: "allow more with --timeout",
      }),
    );
  startTimer(expire, milliseconds).unref();
  return AbortSignal.any([signal, clock.signal]);
}
