/** What is wrong with a mount as it is configured, told before it is started. */
import {
  checkOptions,
  type Credentials,
  isPannierError,
  type LayerSpec,
  openSource,
  type SourceSpec,
  UsageError,
} from "@pannier/core";
import type { DaemonConfig, MountConfig } from "./config/config.ts";
import { ConfigError } from "./config/error.ts";
import { endsWithin } from "./within.ts";
import type { DaemonInit } from "./daemon-init.ts";

export type CheckInit = Pick<DaemonInit, "credentials" | "learn" | "push" | "resolveSources">;

export interface CheckedMount {
  readonly config: MountConfig;
  readonly layers: readonly LayerSpec[];
}

/** @throws ConfigError with what is wrong with each mount */
export async function checkConfig({ mounts }: DaemonConfig, init: CheckInit): Promise<void> {
  const problems: string[] = [];
  for (const mount of mounts)
    try {
      await checkMount(mount, init, mounts.length > 1);
    } catch (error) {
      if (!isPannierError(error) || error.exitCode !== 2) throw error;
      problems.push(error.hint === undefined ? error.message : `${error.message}: ${error.hint}`);
    }
  if (problems.length > 0) throw new ConfigError(problems);
}

/**
 * Finds out what can be wrong with a mount without touching its target and its sources.
 *
 * @param several whether errors have to tell which mount is meant
 * @throws UsageError, TargetError
 */
export async function checkMount(
  config: MountConfig,
  init: CheckInit,
  several: boolean,
): Promise<CheckedMount> {
  try {
    return await check(config, init);
  } catch (error) {
    if (!several || !isPannierError(error) || error.code !== "usage") throw error;
    const { message, hint } = error;
    throw new UsageError(`mount "${config.name}": ${message}`, hint, { cause: error });
  }
}

async function check(config: MountConfig, init: CheckInit): Promise<CheckedMount> {
  for (const { url, credentials } of config.sources)
    init.learn([url], [credentials?.password, credentials?.askpassUrl]);
  const layers = await resolveLayers(config, init);
  const { push, postPublish } = config.hooks;
  for (const hook of postPublish)
    if ("url" in hook) init.learn([hook.url], Object.values(hook.headers));
  if (push !== undefined) {
    init.learn([push.push], [push.credentials?.password]);
    await init.push.check(push.push);
  }
  const prePublish = config.hooks.prePublish === undefined ? undefined : async () => {};
  checkOptions({ ...config.options, sources: layers, prePublish });
  for (const layer of layers) await checkSource(layer, init.credentials);
  return { config, layers };
}

async function resolveLayers(
  { sources, adapter: standard }: MountConfig,
  init: CheckInit,
): Promise<LayerSpec[]> {
  const open = sources.filter(({ adapter }) => adapter === undefined);
  const urls = open.map(({ url }) => url);
  const resolved = urls.length === 0 ? [] : await init.resolveSources(urls, standard);
  const specs = new Map(open.map((source, index) => [source, resolved[index] as SourceSpec]));
  for (const source of sources) {
    const { url, adapter: name } = source;
    if (name === undefined) continue;
    const [spec] = await init.resolveSources([url], { name, isOwn: true });
    specs.set(source, spec as SourceSpec);
  }
  return sources.map((source) => {
    const { into, credentials, signedBy } = source;
    return { source: specs.get(source) as SourceSpec, into, credentials, signedBy };
  });
}

/** An adapter checks in no time what needs no network; one that does not is no reason to wait. */
const OPENING = 5000;

/** @throws UsageError for what no waiting mends; anything else is for the mount to find, and to try again */
async function checkSource(
  { source, credentials }: LayerSpec,
  standard: Credentials,
): Promise<void> {
  const checking = openSource(source, { credentials: credentials ?? standard }).then(
    // That it ends is not waited for either.
    (opened) => void opened.close().catch(() => {}),
    (error: Error) => {
      if (isPannierError(error) && error.code === "usage") throw error;
    },
  );
  await endsWithin(checking, OPENING);
}
