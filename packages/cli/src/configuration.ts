/** The mounts that a command is about: those of the configuration file, or the one that the environment describes. */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { UsageError } from "@pannier/core";
import {
  type CheckInit,
  configFromEnvironment,
  type DaemonConfig,
  loadConfigReader,
  type Overrides,
} from "@pannier/daemon";
import { artifact } from "./artifact.ts";
import { loadFolder, resolveSources } from "./choose-adapter.ts";
import { callerSecrets, environmentSources, sourcesAndTarget } from "./environment.ts";
import type { Invocation } from "./invocation.ts";
import { mountSettings } from "./mount.ts";

export const STANDARD_FILE = "pannier.yaml";

/** The file that is named; else none where the environment names a source; else the one of the usual name. @throws UsageError */
export function configFile({ settings, context }: Invocation): string | undefined {
  const sources = environmentSources(context.env);
  if (settings.config !== undefined) {
    if (sources.length > 0)
      throw new UsageError(
        "there is a configuration file, and PANNIER_SOURCE is set as well",
        "describe all mounts in the file, or unset PANNIER_CONFIG",
      );
    return resolve(context.cwd, settings.config);
  }
  const standard = resolve(context.cwd, STANDARD_FILE);
  if (sources.length > 0) return undefined;
  if (existsSync(standard)) return standard;
  throw new UsageError(
    `there is neither a configuration file nor a source`,
    `name a file with --config or PANNIER_CONFIG, write ${STANDARD_FILE}, or set PANNIER_SOURCE and PANNIER_TARGET`,
  );
}

function overridesOf({ settings, context }: Invocation): Overrides {
  const { adapter, http, maxActive, maxFailures, shutdownGrace } = settings;
  return {
    maxActive,
    maxFailures,
    shutdownGrace,
    http: { ...http, ...callerSecrets(context.env, context.cwd) },
    mount: { ...mountSettings(settings), adapter },
  };
}

export async function guessConfig(
  invocation: Invocation,
  file: string | undefined,
): Promise<DaemonConfig | undefined> {
  if (file === undefined) return undefined;
  const { guessConfig: guess } = await loadConfigReader();
  return guess(file, { env: invocation.context.env, overrides: overridesOf(invocation) });
}

export async function readConfig(
  invocation: Invocation,
  file: string | undefined,
): Promise<DaemonConfig> {
  const { context } = invocation;
  const overrides = overridesOf(invocation);
  if (file !== undefined) {
    const { readConfigFile } = await loadConfigReader();
    return readConfigFile(file, { env: context.env, overrides });
  }
  const { sources, target } = sourcesAndTarget(context.env, []);
  return configFromEnvironment(sources, resolve(context.cwd, target), overrides);
}

/** Relative sources of a file are relative to it. */
export function folderOf(file: string | undefined, cwd: string): string {
  return file === undefined ? cwd : dirname(file);
}

/** What the daemon needs to find out whether a configuration is right. */
export function checkInit(
  { credentials, context, redact }: Invocation,
  file: string | undefined,
): CheckInit {
  return {
    credentials,
    learn: redact.learn,
    resolveSources: (urls, adapter) =>
      resolveSources(urls, {
        adapter: adapter?.name,
        insist: adapter?.isOwn,
        cwd: folderOf(file, context.cwd),
      }),
    push: {
      check: async (destination) =>
        (await artifact()).parseDestination(destination, await loadFolder(destination)),
      async run({ sign: own, ...init }) {
        const { openSigningKey, pushPublished } = await artifact();
        // Again at each push: keys are rotated.
        const sign =
          own === undefined ? undefined : await openSigningKey(own.keyFile, own.passwordFile);
        const adapters = await loadFolder(init.destination);
        return pushPublished({ ...init, adapters, sign, env: context.env });
      },
    },
  };
}
