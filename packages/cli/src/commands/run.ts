/** `pannier run`: the sidecar. */
import { on } from "node:events";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { UsageError } from "@pannier/core";
import {
  configFromEnvironment,
  type DaemonConfig,
  loadConfigReader,
  type MountEvent,
  type Overrides,
  runDaemon,
} from "@pannier/daemon";
import { resolveSources } from "../choose-adapter.ts";
import { callerSecrets, environmentSources, sourcesAndTarget } from "../environment.ts";
import { toFailure } from "../exit-code.ts";
import { formatDuration } from "../format.ts";
import type { Invocation } from "../invocation.ts";
import { type Log, logEvent } from "../log.ts";
import { mountSettings } from "../mount.ts";
import { warnOfForeign } from "./sync.ts";

const STANDARD_FILE = "pannier.yaml";

export async function run(invocation: Invocation): Promise<number> {
  const { settings, credentials, world, version, signal, redact, log } = invocation;
  const file = configFile(invocation);
  const triggers = on(world.signals, "SIGUSR1");
  return runDaemon({
    triggers,
    readConfig: () => readConfig(invocation, file),
    file,
    guessConfig: () => guessConfig(invocation, file),
    memory: join(tmpdir(), `pannier-${process.geteuid?.() ?? "user"}`),
    version,
    resolveSources: (urls, adapter) =>
      resolveSources(urls, {
        adapter: adapter?.name,
        insist: adapter?.isOwn,
        cwd: folderOf(file, world.cwd),
      }),
    credentials,
    env: world.env,
    log,
    onEvent: (mount, event) => logMountEvent(log, mount, event),
    explain: (error) => toFailure(error),
    redact,
    learn: redact.learn,
    signal,
    once: settings.once === true,
  }).finally(() => triggers.return?.());
}

/** The file that is named; else none where the environment names a source; else the one of the usual name. @throws UsageError */
function configFile({ settings, world }: Invocation): string | undefined {
  const sources = environmentSources(world.env);
  if (settings.config !== undefined) {
    if (sources.length > 0)
      throw new UsageError(
        "there is a configuration file, and PANNIER_SOURCE is set as well",
        "describe all mounts in the file, or unset PANNIER_CONFIG",
      );
    return resolve(world.cwd, settings.config);
  }
  const standard = resolve(world.cwd, STANDARD_FILE);
  if (sources.length > 0) return undefined;
  if (existsSync(standard)) return standard;
  throw new UsageError(
    `there is neither a configuration file nor a source`,
    `name a file with --config or PANNIER_CONFIG, write ${STANDARD_FILE}, or set PANNIER_SOURCE and PANNIER_TARGET`,
  );
}

function overridesOf({ settings, world }: Invocation): Overrides {
  const { adapter, period, http, maxActive, maxFailures, shutdownGrace } = settings;
  return {
    maxActive,
    maxFailures,
    shutdownGrace,
    http: { ...http, ...callerSecrets(world.env, world.cwd) },
    mount: { ...mountSettings(settings), adapter, period },
  };
}

async function guessConfig(
  invocation: Invocation,
  file: string | undefined,
): Promise<DaemonConfig | undefined> {
  if (file === undefined) return undefined;
  const { guessConfig: guess } = await loadConfigReader();
  return guess(file, { env: invocation.world.env, overrides: overridesOf(invocation) });
}

async function readConfig(invocation: Invocation, file: string | undefined): Promise<DaemonConfig> {
  const { world } = invocation;
  const overrides = overridesOf(invocation);
  if (file !== undefined) {
    const { readConfigFile } = await loadConfigReader();
    return readConfigFile(file, { env: world.env, overrides });
  }
  const { sources, target } = sourcesAndTarget(world.env, []);
  return configFromEnvironment(sources, resolve(world.cwd, target), overrides);
}

/** Relative sources of a file are relative to it. */
function folderOf(file: string | undefined, cwd: string): string {
  return file === undefined ? cwd : resolve(file, "..");
}

/** One line an event, with the mount it is about. */
function logMountEvent(log: Log, mount: string, event: MountEvent): void {
  const own: Log = (level, message, fields) => log(level, message, { mount, ...fields });
  switch (event.type) {
    case "queued":
      return own("debug", "waiting for its turn");
    case "done": {
      const { result, revision, previousRevision, added, changed, deleted } = event.result;
      const { files, bytes, received, requests, duration } = event.result;
      if (result === "published")
        own("info", "published", {
          revision,
          previousRevision,
          added,
          changed,
          deleted,
          files,
          bytes,
          received,
          requests,
          duration: formatDuration(duration),
        });
      else own("debug", "unchanged", { revision, requests, duration: formatDuration(duration) });
      return warnOfForeign(event.result, own);
    }
    case "hook": {
      const { hook, what, result, revision, message, retry } = event;
      const duration = formatDuration(event.duration);
      if (result === "success")
        return own("info", `${hook} hook ran`, { hook: what, revision, duration });
      return own(retry === undefined ? "error" : "warn", `${hook} hook failed: ${message}`, {
        hook: what,
        revision,
        duration,
        retry: retry === undefined ? undefined : formatDuration(retry),
      });
    }
    default:
      return logEvent(own, event);
  }
}
