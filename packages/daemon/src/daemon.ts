/** The sidecar: from a configuration to mounts at work, until it is told to end. */
import { dirname } from "node:path";
import { describeFailure, isPannierError } from "@pannier/core";
import type { DaemonConfig } from "./config/config.ts";
import { recall, remember } from "./config/last-good.ts";
import { createConfigWatch } from "./config/watch.ts";
import { createStatusStream } from "./http/status-stream.ts";
import { createHttpPort } from "./http/server.ts";
import { type RoutesInit, statusOf } from "./http/routes.ts";
import type { ConfigStatus } from "./http/status.ts";
import { createMetrics } from "./metrics/metrics.ts";
import { PostPublishError } from "./hooks/post-publish.ts";
import type { Mount } from "./mount.ts";
import { isGivenUp } from "./mount-state.ts";
import { isShown } from "./shown.ts";
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
  let configStatus: ConfigStatus = { loaded: new Date() };
  const routes: RoutesInit = {
    version: init.version,
    log,
    metrics,
    mounts: () => supervisor.mounts,
    lingering: () => supervisor.lingering,
    config: () => configStatus,
    http: () => supervisor.config.http,
  };
  const statusStream = createStatusStream(() => statusOf(routes));
  const port = createHttpPort(routes, statusStream);

  /** @returns whether the configuration is in force now */
  async function reload(): Promise<boolean> {
    try {
      const config = await init.readConfig();
      await take(config);
      configStatus = { loaded: new Date() };
      metrics.reloaded("success");
      return true;
    } catch (error) {
      tellRefusal(error);
      return false;
    } finally {
      statusStream.changed();
    }
  }

  async function take(config: DaemonConfig): Promise<void> {
    const plan = await supervisor.plan(config);
    if (!init.once) await port.listen(config.http);
    const changes = await supervisor.apply(plan);
    if (changes === undefined) return;
    if (init.file !== undefined && init.memory !== undefined && !init.once)
      remember(init.memory, init.file, config);
    const { started, stopped, restarted } = changes;
    for (const name of stopped) metrics.drop(name);
    log("info", "config loaded", {
      mounts: config.mounts.length,
      started: listed(started),
      restarted: listed(restarted),
      stopped: listed(stopped),
    });
  }

  function tellRefusal(error: unknown): void {
    const { message } = describeFailure(error, "variables");
    // Where the file lies is for the log; callers of the port have no use for it.
    const where = `${dirname(init.file ?? "")}/`;
    const told = init.redact(message.replaceAll(where, ""));
    // It is tried again and again, and said once.
    if (told !== configStatus.error) {
      metrics.reloaded("failure");
      log("error", `${describeRefusal()}: ${message}`);
    }
    configStatus = { ...configStatus, error: told };
  }

  function describeRefusal(): string {
    return supervisor.mounts.some(({ isResting }) => isResting)
      ? "the configuration is refused; what is published stays until the file is corrected"
      : "the changed configuration is refused, the old one goes on";
  }

  /**
   * At the start there is no configuration to go on with. Where targets have content all the same, ending would only take it out of
   * service: they are answered for until the file is mended.
   *
   * @returns whether the configuration is in force
   */
  async function begin(): Promise<boolean> {
    try {
      await take(await init.readConfig());
      return true;
    } catch (error) {
      const known = init.once ? undefined : await knownConfig();
      if (known === undefined || !isAboutSettings(error)) throw error;
      const shown = await Promise.all(known.mounts.map(({ options }) => isShown(options)));
      if (!shown.includes(true)) throw error;
      // Where the port cannot be had either, there is nothing to wait with.
      await port.listen(known.http).catch(() => Promise.reject(error as Error));
      supervisor.rest(known);
      tellRefusal(error);
      return false;
    }
  }

  async function knownConfig(): Promise<DaemonConfig | undefined> {
    const { file, memory } = init;
    if (file === undefined) return undefined;
    const remembered = memory === undefined ? undefined : recall(memory, file);
    return remembered ?? (await init.guessConfig?.());
  }

  async function triggerAll(): Promise<void> {
    for await (const _ of init.triggers ?? []) {
      for (const mount of supervisor.mounts) mount.trigger();
      metrics.triggered("signal", supervisor.mounts.length);
    }
  }

  warnAsFirstProcess(init);
  const watch = init.file === undefined || init.once ? undefined : createConfigWatch(init.file);
  const isTakenOver = await begin();
  const { address } = port;
  if (address !== undefined) log("info", `listening on ${formatAddress(address)}`);
  const watching = watch?.run(reload, stop.signal, isTakenOver);
  void triggerAll();
  const ends = [aborted(stop.signal).then(() => false)];
  if (init.once)
    ends.push(Promise.all(supervisor.mounts.map(({ ended }) => ended)).then(() => true));
  let isDone = false;
  try {
    isDone = await Promise.race(ends);
  } finally {
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
  if (init.signal.aborted) log("info", "ended by a signal; what is published stays");
  return exitCode || (init.once ? hookExitCode : 0);
}

function isAboutSettings(error: unknown): boolean {
  return isPannierError(error) && ["usage", "target", "permission"].includes(error.code);
}

function formatAddress({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function listed(names: readonly string[]): string | undefined {
  return names.length === 0 ? undefined : names.join(" ");
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
