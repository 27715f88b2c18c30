/** From the arguments and flags of a command to what the engine takes. */
import { resolve } from "node:path";
import type { LayerSpec, SourceSpec, SyncOptions } from "@pannier/core";
import { resolveSources } from "./choose-adapter.ts";
import { sourcesAndTarget } from "./environment.ts";
import type { Settings } from "./flags.ts";
import type { Invocation } from "./invocation.ts";

/** For a command of the form `SOURCE... TARGET`. */
export async function mountFromArguments(invocation: Invocation): Promise<SyncOptions> {
  const { args, settings, world } = invocation;
  const { sources, target } = sourcesAndTarget(world.env, args);
  const specs = await resolveSources(sources, { adapter: settings.adapter, cwd: world.cwd });
  return mountOptions(invocation, specs, target);
}

export function mountOptions(
  { settings, credentials, world, signal, onEvent }: Invocation,
  sources: readonly (SourceSpec | LayerSpec)[],
  target: string,
): SyncOptions {
  return {
    ...mountSettings(settings),
    sources,
    target: resolve(world.cwd, target),
    credentials,
    signal,
    onEvent,
  };
}

/** The flags that go to the engine as they are. */
export function mountSettings(settings: Settings) {
  const { include, exclude, publish, link, keep, timeout, maxBytes, maxFiles, maxFileBytes } =
    settings;
  const { maxDelete, symlinks, mode, dirMode, owner, concurrency, bandwidth, verifyContent } =
    settings;
  return {
    include,
    exclude,
    publish,
    link,
    keep,
    timeout,
    maxBytes,
    maxFiles,
    maxFileBytes,
    maxDelete,
    symlinks,
    mode,
    dirMode,
    owner,
    concurrency,
    bandwidth,
    verifyContent,
  };
}
