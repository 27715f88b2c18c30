/** `pannier watch`: a sync, and another whenever the source changed, until a signal. */
import { on } from "node:events";
import { describeFailure, follow, type SyncEvent } from "@pannier/core";
import type { Invocation } from "../invocation.ts";
import { mountFromArguments } from "../mount.ts";
import { run as runPlan } from "./plan.ts";
import { describeResult, run as runSync, warnOfForeign } from "./sync.ts";

/** Events that would drown the others. */
const NOISE: ReadonlySet<SyncEvent["type"]> = new Set(["request", "listed", "progress"]);

export async function run(invocation: Invocation): Promise<number> {
  const { settings, signal, world, log, onEvent, clearProgress, print, printJson } = invocation;
  if (settings.dryRun === true) return runPlan(invocation);
  if (settings.once === true) return runSync(invocation);
  const options = await mountFromArguments(invocation);
  const triggers = on(world.signals, "SIGUSR1");
  try {
    for await (const event of follow(options, { signal, triggers })) {
      onEvent(event);
      if (settings.json === true) {
        if (!NOISE.has(event.type)) await printJson(toRecord(event));
      } else if (event.type === "done") {
        const { result } = event;
        if (result.result === "unchanged") log("debug", describeResult(result));
        else {
          clearProgress();
          await print(describeResult(result));
          warnOfForeign(result, log);
        }
      }
    }
    return 0;
  } finally {
    await triggers.return?.();
  }
}

/** Errors have no JSON of their own. */
function toRecord(event: SyncEvent): object {
  const time = new Date().toISOString();
  return "error" in event
    ? { time, ...event, error: describeFailure(event.error, "variables") }
    : { time, ...event };
}
