/** From the arguments and flags of a command to what the engine takes. */
import { resolve } from "node:path";
import {
  type FollowOptions,
  type LayerSpec,
  listMountOptions,
  type MountOptionValues,
  type SourceSpec,
  status,
  type SyncOptions,
  UsageError,
} from "@pannier/core";
import { resolveSources } from "./choose-adapter.ts";
import { environmentSources, sourcesAndTarget } from "./environment.ts";
import type { Settings } from "./flags.ts";
import type { Invocation } from "./invocation.ts";

/** For a command of the form `SOURCE... TARGET`. */
export async function mountFromArguments(
  invocation: Invocation,
): Promise<SyncOptions & FollowOptions> {
  const { args, settings, context } = invocation;
  const { sources, target } = sourcesAndTarget(context.env, args);
  const specs = await resolveSources(sources, { adapter: settings.adapter, cwd: context.cwd });
  return mountOptions(invocation, specs, target);
}

export function mountOptions(
  { settings, credentials, context, signal, onEvent }: Invocation,
  sources: readonly (SourceSpec | LayerSpec)[],
  target: string,
): SyncOptions & FollowOptions {
  return {
    ...mountSettings(settings),
    sources,
    target: resolve(context.cwd, target),
    credentials,
    signal,
    onEvent,
  };
}

/** The flags that go to the engine as they are. */
export function mountSettings(settings: Settings): MountOptionValues {
  const given: MountOptionValues = settings;
  return Object.fromEntries(listMountOptions().map(([name]) => [name, given[name]]));
}

/** The sources of a target that was synced before: those of the environment, or else the recorded ones, which are without user and password. @throws UsageError */
export async function recordedSources(
  target: string,
  { settings, context }: Invocation,
): Promise<readonly (SourceSpec | LayerSpec)[]> {
  const choice = { adapter: settings.adapter, cwd: context.cwd };
  const given = environmentSources(context.env);
  if (given.length > 0) return resolveSources(given, choice);
  const recorded = status(target)?.sources ?? [];
  if (recorded.some(({ url }) => url.includes("=***")))
    throw new UsageError(
      "the recorded source is without the secrets that its URL held",
      "give it in PANNIER_SOURCE",
    );
  const specs = await resolveSources(
    recorded.map(({ url }) => url),
    choice,
  );
  return specs.map((source, index) => ({ source, into: recorded[index]?.into }));
}
