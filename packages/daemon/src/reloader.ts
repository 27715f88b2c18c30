/** The configuration in force: the first one, and each that replaces it. */
import { dirname } from "node:path";
import { describeFailure, isPannierError } from "@pannier/core";
import type { DaemonConfig } from "./config/config.ts";
import { recall, remember } from "./config/last-good.ts";
import type { DaemonInit } from "./daemon-init.ts";
import type { HttpPort } from "./http/server.ts";
import type { ConfigStatus } from "./http/status.ts";
import type { Metrics } from "./metrics/metrics.ts";
import { isShown } from "./shown.ts";
import type { Supervisor } from "./supervisor.ts";

export interface ConfigReloader {
  readonly status: ConfigStatus;
  /**
   * At the start there is no configuration to go on with. Where targets have content all the same, ending would only take it out of
   * service: they are answered for until the file is corrected.
   *
   * @returns whether the configuration is in force
   */
  begin(): Promise<boolean>;
  /** Reads the changed file. Never throws. @returns whether the configuration is in force */
  reload(): Promise<boolean>;
}

export interface ReloaderInit {
  readonly init: DaemonInit;
  readonly supervisor: Supervisor;
  readonly port: HttpPort;
  readonly metrics: Metrics;
  /** The status changed. */
  readonly changed: () => void;
}

export function createReloader(parts: ReloaderInit): ConfigReloader {
  const { init, supervisor, port, metrics, changed } = parts;
  const { log } = init;
  let status: ConfigStatus = { loaded: new Date() };

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

  function reportRefusal(error: unknown): void {
    const { message } = describeFailure(error, "variables");
    // Where the file lies is for the log; callers of the port have no use for it.
    const where = `${dirname(init.file ?? "")}/`;
    const text = init.redact(message.replaceAll(where, ""));
    // It is tried again and again, and reported once.
    if (text !== status.error) {
      metrics.reloaded("failure");
      log("error", `${describeRefusal()}: ${message}`);
    }
    status = { ...status, error: text };
  }

  function describeRefusal(): string {
    return supervisor.mounts.some(({ isResting }) => isResting)
      ? "the configuration is refused; what is published stays until the file is corrected"
      : "the changed configuration is refused, the old one stays in force";
  }

  async function knownConfig(): Promise<DaemonConfig | undefined> {
    const { file, memory } = init;
    if (file === undefined) return undefined;
    const remembered = memory === undefined ? undefined : recall(memory, file);
    return remembered ?? (await init.guessConfig?.());
  }

  return {
    get status() {
      return status;
    },
    async begin() {
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
        reportRefusal(error);
        return false;
      }
    },
    async reload() {
      try {
        const config = await init.readConfig();
        await take(config);
        status = { loaded: new Date() };
        metrics.reloaded("success");
        return true;
      } catch (error) {
        reportRefusal(error);
        return false;
      } finally {
        changed();
      }
    },
  };
}

function isAboutSettings(error: unknown): boolean {
  return isPannierError(error) && ["usage", "target", "permission"].includes(error.code);
}

function listed(names: readonly string[]): string | undefined {
  return names.length === 0 ? undefined : names.join(" ");
}
