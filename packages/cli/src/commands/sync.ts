/** `pannier sync`: one sync. */
import { sync, type SyncResult } from "@pannier/core";
import type { Invocation } from "../invocation.ts";
import { mountFromArguments } from "../mount.ts";
import {
  count,
  formatBytes,
  formatDuration,
  grouped,
  shortPath,
  shortRevision,
} from "../format.ts";
import { run as runPlan } from "./plan.ts";

export async function run(invocation: Invocation): Promise<number> {
  const { settings, context, clearProgress, print, printJson, log } = invocation;
  if (settings.dryRun === true) return runPlan(invocation);
  const result = await sync(await mountFromArguments(invocation));
  clearProgress();
  if (settings.json === true) await printJson(result);
  else await print(describeResult(result, context.cwd));
  warnOfForeign(result, log);
  return 0;
}

/** A result in two lines: what is there now, and what it took. */
export function describeResult(result: SyncResult, cwd: string): string {
  const { added, changed, deleted, files, bytes, received, requests } = result;
  const revision = shortRevision(result.revision);
  const done =
    result.result === "unchanged"
      ? `unchanged ${revision}`
      : `published ${revision} at ${shortPath(result.path, cwd)}: ${grouped(added)} added, ${grouped(changed)} changed, ${grouped(deleted)} deleted`;
  const cost = `received ${formatBytes(received)} in ${count(requests, "request")}, ${formatDuration(result.duration)}`;
  return `${done}\n  ${count(files, "file")}, ${formatBytes(bytes)}; ${cost}`;
}

export function warnOfForeign({ foreign }: SyncResult, log: Invocation["log"]): void {
  if (foreign.length === 0) return;
  const more = foreign.length === 100 ? " or more" : "";
  log(
    "warn",
    `${count(foreign.length, "file")}${more} in the target not put there by Pannier, left alone: ${foreign.slice(0, 3).join(", ")}${foreign.length > 3 ? ", …" : ""}`,
  );
}
