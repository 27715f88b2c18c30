/** The sidecar: from a configuration to mounts at work, until it is told to end. */
import { describeFailure } from "@pannier/core";
import { createConfigWatch } from "./config/watch.ts";
import { createStatusStream } from "./http/status-stream.ts";
import { createHttpPort } from "./http/server.ts";
import { type RoutesInit, statusOf } from "./http/routes.ts";
import { createMetrics } from "./metrics/metrics.ts";
import { PostPublishError } from "./hooks/post-publish.ts";
import type { Mount } from "./mount.ts";
import { isGivenUp } from "./mount-state.ts";
import { createReloader } from "./reloader.ts";
import { createRest } from "./rest.ts";
import { createSupervisor } from "./supervisor.ts";
import { endsWithin, SLACK } from "./within.ts";
import type { DaemonInit } from "./daemon-init.ts";
import type { MountEvent } from "./events.ts";

/**
 * Runs until the signal is aborted, or with `once` until every mount was synced.
 *
 * @returns the exit code
 * @throws UsageError, TargetError at the start: a configuration that cannot be, over targets that have nothing; with `once` the signal's reason where that cut it short
 */
export async function runDaemon(init: DaemonInit): Promise<number> {
  const { log } = init;
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  init.signal.addEventListener("abort", onSignal, { once: true });
  if (init.signal.aborted) onSignal();
  let exitCode = 0;
  /** That content is missing counts for more than that a hook failed after it came. */
  let hookExitCode = 0;

  const metrics = createMetrics(init.version);
  const onEvent = (mount: Mount, event: MountEvent) => {
    metrics.onEvent(mount, event);
    statusStream.changed();
    rest.onEvent(event);
    const isLast = event.type === "failed" && isTooMuch(event.failures);
    // Where it was the last try, there is no next one to tell of.
    init.onEvent(mount.config.name, isLast ? { ...event, delay: Infinity } : event);
    if (event.type === "hook" && isGivenUp(event)) {
      hookExitCode ||= new PostPublishError(event.message ?? event.what).exitCode;
    }
    if (isLast) {
      exitCode ||= describeFailure(event.error).exitCode;
      if (!init.once) {
        log("error", "too many failures in a row: ending", { mount: mount.config.name });
        stop.abort();
      } else void mount.stop(0);
    }
  };
  const isTooMuch = (failures: number) => {
    const { maxFailures } = supervisor.config;
    return maxFailures === undefined ? init.once : failures > maxFailures;
  };

  const supervisor = createSupervisor(init, onEvent);
  const rest = createRest(() => supervisor.mounts);
  const routes: RoutesInit = {
    version: init.version,
    log,
    metrics,
    mounts: () => supervisor.mounts,
    lingering: () => supervisor.lingering,
    config: () => reloader.status,
    http: () => supervisor.config.http,
  };
  const statusStream = createStatusStream(() => statusOf(routes));
  const port = createHttpPort(routes, statusStream);
  const changed = () => statusStream.changed();
  const reloader = createReloader({ init, supervisor, port, metrics, changed });

  async function triggerAll(): Promise<void> {
    for await (const _ of init.triggers ?? []) {
      for (const mount of supervisor.mounts) mount.trigger();
      metrics.triggered("signal", supervisor.mounts.length);
    }
  }

  warnAsFirstProcess(init);
  const watch = init.file === undefined || init.once ? undefined : createConfigWatch(init.file);
  const isTakenOver = await reloader.begin();
  const { address } = port;
  if (address !== undefined) log("info", `listening on ${formatAddress(address)}`);
  const watching = watch?.run(() => reloader.reload(), stop.signal, isTakenOver);
  void triggerAll();
  const ends = [aborted(stop.signal).then(() => false)];
  if (init.once)
    ends.push(Promise.all(supervisor.mounts.map(({ ended }) => ended)).then(() => true));
  let isDone = false;
  try {
    isDone = await Promise.race(ends);
  } finally {
    rest.stop();
    const grace = supervisor.config.shutdownGrace;
    // A reload under way may be waiting for mounts to end: that has no grace of its own.
    await Promise.all([
      supervisor.stop(grace),
      endsWithin(Promise.resolve(watching), grace + SLACK),
    ]);
    await port.close();
    init.signal.removeEventListener("abort", onSignal);
  }
  // What waits for the content, as a Pod does for its init containers, must not go on without it.
  if (init.once && !isDone) init.signal.throwIfAborted();
  if (init.signal.aborted) log("info", "stopped; what is published stays");
  return exitCode || (init.once ? hookExitCode : 0);
}

function formatAddress({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Node waits for the children it started, and for no others: what a hook's grandchild leaves behind stays a zombie. */
function warnAsFirstProcess({ log }: DaemonInit): void {
  if (process.pid === 1)
    log(
      "warn",
      "this is process 1, which does not reap what hooks may leave behind; start it by an init such as tini, or set shareProcessNamespace: true",
    );
}
