/** `pannier run`: the sidecar. */
import { on } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type MountEvent, runDaemon } from "@pannier/daemon";
import { checkInit, configFile, guessConfig, readConfig } from "../configuration.ts";
import { formatDuration } from "../format.ts";
import type { Invocation } from "../invocation.ts";
import { type Log, logEvent } from "../log.ts";
import { logProgress } from "../progress.ts";
import { warnOfForeign } from "./sync.ts";

export async function run(invocation: Invocation): Promise<number> {
  const { settings, context, version, signal, redact, log } = invocation;
  const file = configFile(invocation);
  const progress = new Map<string, ReturnType<typeof logProgress>>();
  const progressOf = (mount: string) => {
    const known = progress.get(mount);
    if (known !== undefined) return known;
    const made = logProgress((message) => log("info", message, { mount }));
    progress.set(mount, made);
    return made;
  };
  const triggers = on(context.signals, "SIGUSR1");
  return runDaemon({
    triggers,
    readConfig: () => readConfig(invocation, file),
    file,
    guessConfig: () => guessConfig(invocation, file),
    memory: join(tmpdir(), `pannier-${process.geteuid?.() ?? "user"}`),
    version,
    ...checkInit(invocation, file),
    env: context.env,
    log,
    onEvent(mount, event) {
      if (event.type !== "queued" && event.type !== "hook") progressOf(mount)(event);
      logMountEvent(log, mount, event);
    },
    redact,
    signal,
    once: settings.once === true,
  }).finally(() => triggers.return?.());
}

/** One line an event, with the mount it is about. */
function logMountEvent(log: Log, mount: string, event: MountEvent): void {
  const own: Log = (level, message, fields) => log(level, message, { mount, ...fields });
  switch (event.type) {
    case "queued":
      return own("debug", "waiting for its turn");
    case "done": {
      const { result, revision, previousRevision, added, changed, deleted } = event.result;
      const { files, bytes, received, requests, duration } = event.result;
      if (result === "published")
        own("info", "published", {
          revision,
          previousRevision,
          added,
          changed,
          deleted,
          files,
          bytes,
          received,
          requests,
          duration: formatDuration(duration),
        });
      else own("debug", "unchanged", { revision, requests, duration: formatDuration(duration) });
      return warnOfForeign(event.result, own);
    }
    case "hook": {
      const { hook, what, result, revision, message, retry } = event;
      const duration = formatDuration(event.duration);
      if (result === "success")
        return own("info", `${hook} hook ran`, { hook: what, revision, duration });
      return own(retry === undefined ? "error" : "warn", `${hook} hook failed: ${message}`, {
        hook: what,
        revision,
        duration,
        retry: retry === undefined ? undefined : formatDuration(retry),
      });
    }
    default:
      return logEvent(own, event);
  }
}
