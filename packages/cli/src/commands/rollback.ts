/** `pannier rollback`: back to a revision that is still kept. */
import { resolve } from "node:path";
import { rollback } from "@pannier/core";
import { oneTarget } from "../environment.ts";
import type { Invocation } from "../invocation.ts";

export async function run(invocation: Invocation): Promise<number> {
  const { args, settings, world, signal, onEvent, clearProgress, print, printJson } = invocation;
  const target = resolve(world.cwd, oneTarget(world.env, args[0]));
  const now = await rollback(target, args[1], { signal, onEvent });
  clearProgress();
  if (settings.json === true) await printJson({ ...now, time: new Date(now.time).toISOString() });
  else
    await print(
      `published ${now.revision} again: ${now.added} added, ${now.changed} changed, ${now.deleted} deleted; it stays until the sources change`,
    );
  return 0;
}
