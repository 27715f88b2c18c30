/** `pannier watch`: a sync, and another whenever the source changed, until a signal. */
import { on } from "node:events";
import { join } from "node:path";
import {
  describeFailure,
  describeSource,
  follow,
  standardOf,
  status,
  type SyncEvent,
  type SyncOptions,
  type TargetStatus,
} from "@pannier/core";
import { formatDuration, shortPath, shortRevision } from "../format.ts";
import type { Invocation } from "../invocation.ts";
import { mountFromArguments } from "../mount.ts";
import { run as runPlan } from "./plan.ts";
import { describeResult, run as runSync, warnOfForeign } from "./sync.ts";

/** Events that would drown the others. */
const NOISE: ReadonlySet<SyncEvent["type"]> = new Set(["request", "listed", "progress"]);

export async function run(invocation: Invocation): Promise<number> {
  const { settings, signal, context, log, onEvent, clearProgress, print, printJson } = invocation;
  if (settings.dryRun === true) return runPlan(invocation);
  if (settings.once === true) return runSync(invocation);
  const options = await mountFromArguments(invocation);
  // With --json the events say it.
  const say = (message: string) => log(settings.json === true ? "debug" : "info", message);
  say(`watching ${describeSources(options)}; ${whereItStands(options, context.cwd)}`);
  let isSettled = false;
  const triggers = on(context.signals, "SIGUSR1");
  try {
    for await (const event of follow(options, { signal, triggers })) {
      onEvent(event);
      if (settings.json === true) {
        if (!NOISE.has(event.type)) await printJson(toRecord(event));
      } else if (event.type === "done") {
        const { result } = event;
        if (result.result === "published") {
          clearProgress();
          await print(describeResult(result, context.cwd));
          warnOfForeign(result, log);
        } else if (isSettled) log("debug", `unchanged ${shortRevision(result.revision)}`);
        else say(`up to date at ${shortRevision(result.revision)}`);
        isSettled = true;
      }
    }
    say("stopped; what is published stays");
    return 0;
  } finally {
    await triggers.return?.();
  }
}

function describeSources({ sources }: SyncOptions): string {
  return sources
    .map((layer) => describeSource("source" in layer ? layer.source : layer))
    .join(", ");
}

/** Before the first look at the sources, which may take its time. */
function whereItStands({ target, link, publish }: SyncOptions, cwd: string): string {
  const published = statusOrNothing(target);
  const path = publish === "mirror" ? target : join(target, link ?? standardOf("link"));
  const place = shortPath(path, cwd);
  return published === undefined
    ? `nothing is at ${place} yet`
    : `${place} is at ${shortRevision(published.revision)}, published ${formatDuration(Date.now() - published.time)} ago`;
}

/** A state that cannot be read is the sync's to mend, or to complain of. */
function statusOrNothing(target: string): TargetStatus | undefined {
  try {
    return status(target);
  } catch {
    return undefined;
  }
}

/** Errors have no JSON of their own. */
function toRecord(event: SyncEvent): object {
  const time = new Date().toISOString();
  return "error" in event
    ? { time, ...event, error: describeFailure(event.error, "variables") }
    : { time, ...event };
}
