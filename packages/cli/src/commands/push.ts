/** `pannier push`: a sync into a directory, and its tree as an image to a registry. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { PushResult } from "@pannier/artifact";
import { sync, UsageError } from "@pannier/core";
import { artifact } from "../artifact.ts";
import { loadFolder, resolveSources } from "../choose-adapter.ts";
import { sourcesAndTarget } from "../environment.ts";
import { count, formatBytes } from "../format.ts";
import type { Invocation } from "../invocation.ts";
import { mountOptions } from "../mount.ts";
import { warnOfForeign } from "./sync.ts";

export async function run(invocation: Invocation): Promise<number> {
  const { args, settings, context, signal, log, clearProgress, print, printJson } = invocation;
  const { sources, target: destination } = sourcesAndTarget(context.env, args);
  const { openSigningKey, parseDestination, pushPublished } = await artifact();
  // Before anything is fetched.
  const adapters = await loadFolder(destination);
  parseDestination(destination, adapters);
  const inCwd = (file: string | undefined) =>
    file === undefined ? undefined : resolve(context.cwd, file);
  const signingKey = inCwd(settings.sign);
  if (signingKey === undefined && settings.signPasswordFile !== undefined)
    throw new UsageError("there is a password of a signing key, and no key", "name it by --sign");
  const sign =
    signingKey === undefined
      ? undefined
      : await openSigningKey(signingKey, inCwd(settings.signPasswordFile));
  const specs = await resolveSources(sources, { adapter: settings.adapter, cwd: context.cwd });
  const kept = settings.work === undefined ? undefined : resolve(context.cwd, settings.work);
  const target = kept ?? (await mkdtemp(join(tmpdir(), "pannier-work-")));
  try {
    warnOfForeign(await sync(mountOptions(invocation, specs, target)), log);
    const result = await pushPublished({
      target,
      destination,
      adapters,
      layers: settings.layers,
      sign,
      env: context.env,
      signal,
      onRetry: ({ message }, attempt) => log("warn", `${message}; attempt ${attempt} of a push`),
    });
    clearProgress();
    if (settings.json === true) await printJson(result);
    else await print(describePush(result));
    return 0;
  } finally {
    if (kept === undefined) await rm(target, { recursive: true, force: true });
  }
}

/** A result in one line. */
function describePush(result: PushResult): string {
  const { destination, digest, files, layers, sentLayers, sentBytes } = result;
  const image = `${count(files, "file")} in ${count(layers, "layer")}`;
  const signed = result.signed ? ", signed" : "";
  if (!result.changed) return `unchanged ${destination}, ${digest}${signed}: ${image}`;
  return `pushed ${destination}, ${digest}${signed}: ${image}; sent ${count(sentLayers, "layer")}, ${formatBytes(sentBytes)}`;
}
