/** `pannier rollback`: back to a revision that is still kept. */
import { resolve } from "node:path";
import { rollback, type SyncOptions, TargetError } from "@pannier/core";
import { oneTarget } from "../environment.ts";
import { shortRevision } from "../format.ts";
import type { Invocation } from "../invocation.ts";
import { recordedSources } from "../mount.ts";

type RollbackMount = Pick<SyncOptions, "sources" | "credentials">;

export async function run(invocation: Invocation): Promise<number> {
  const { args, settings, context, signal, onEvent, clearProgress, print, printJson } = invocation;
  const target = resolve(context.cwd, oneTarget(context.env, args[0]));
  const mount = () => mountOf(target, invocation);
  const now = await rollback(target, args[1], { signal, onEvent, mount }).catch(hintAtSidecar);
  clearProgress();
  if (settings.json === true) await printJson({ ...now, time: new Date(now.time).toISOString() });
  else
    await print(
      `published ${shortRevision(now.revision)} again: ${now.added} added, ${now.changed} changed, ${now.deleted} deleted; it stays until the sources change`,
    );
  return 0;
}

/** What holds the target in an incident is a sidecar, which nobody wants to stop. */
function hintAtSidecar(error: unknown): never {
  if (!(error instanceof TargetError) || !error.busy) throw error;
  throw new TargetError(error.message, {
    hint: "if it is a sidecar, roll back there: POST /rollback/MOUNT, or the dashboard",
    busy: true,
    cause: error,
  });
}

/** So that what the sources hold now is held back; `undefined` where they are not to be found out. */
async function mountOf(target: string, invocation: Invocation): Promise<RollbackMount | undefined> {
  const { credentials, log } = invocation;
  try {
    return { sources: await recordedSources(target, invocation), credentials };
  } catch (error) {
    log("warn", `the sources cannot be asked what they hold now: ${(error as Error).message}`);
    return undefined;
  }
}
