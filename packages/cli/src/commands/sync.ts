/** `pannier sync`: one sync. */
import { sync, type SyncResult } from "@pannier/core";
import type { Invocation } from "../invocation.ts";
import { mountFromArguments } from "../mount.ts";
import { count, formatBytes, formatDuration } from "../format.ts";
import { run as runPlan } from "./plan.ts";

export async function run(invocation: Invocation): Promise<number> {
  const { settings, clearProgress, print, printJson, log } = invocation;
  if (settings.dryRun === true) return runPlan(invocation);
  const result = await sync(await mountFromArguments(invocation));
  clearProgress();
  if (settings.json === true) await printJson(result);
  else await print(describeResult(result));
  warnOfForeign(result, log);
  return 0;
}

/** A result in one line. */
export function describeResult(result: SyncResult): string {
  const { added, changed, deleted, files, bytes, received, requests } = result;
  const tree = `${count(files, "file")}, ${formatBytes(bytes)}`;
  const cost = `${formatBytes(received)} in ${count(requests, "request")}, ${formatDuration(result.duration)}`;
  if (result.result === "unchanged") return `unchanged ${result.revision}: ${tree}; ${cost}`;
  return `published ${result.revision} at ${result.path}: ${added} added, ${changed} changed, ${deleted} deleted; ${tree}; ${cost}`;
}

export function warnOfForeign({ foreign }: SyncResult, log: Invocation["log"]): void {
  if (foreign.length === 0) return;
  const more = foreign.length === 100 ? " or more" : "";
  log(
    "warn",
    `${count(foreign.length, "file")}${more} in the target not put there by Pannier, left alone: ${foreign.slice(0, 3).join(", ")}${foreign.length > 3 ? ", …" : ""}`,
  );
}
