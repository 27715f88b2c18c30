/** `pannier run`: the sidecar. */
import { on } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type MountEvent, runDaemon } from "@pannier/daemon";
import { artifact } from "../artifact.ts";
import { resolveSources } from "../choose-adapter.ts";
import { configFile, folderOf, guessConfig, readConfig } from "../configuration.ts";
import { formatDuration } from "../format.ts";
import type { Invocation } from "../invocation.ts";
import { type Log, logEvent } from "../log.ts";
import { warnOfForeign } from "./sync.ts";

export async function run(invocation: Invocation): Promise<number> {
  const { settings, credentials, world, version, signal, redact, log } = invocation;
  const file = configFile(invocation);
  const triggers = on(world.signals, "SIGUSR1");
  return runDaemon({
    triggers,
    readConfig: () => readConfig(invocation, file),
    file,
    guessConfig: () => guessConfig(invocation, file),
    memory: join(tmpdir(), `pannier-${process.geteuid?.() ?? "user"}`),
    version,
    resolveSources: (urls, adapter) =>
      resolveSources(urls, {
        adapter: adapter?.name,
        insist: adapter?.isOwn,
        cwd: folderOf(file, world.cwd),
      }),
    push: {
      check: async (destination) => (await artifact()).parseDestination(destination),
      async run({ sign: own, ...init }) {
        const { openSigningKey, pushPublished } = await artifact();
        // Anew at each push: keys are rotated.
        const sign =
          own === undefined ? undefined : await openSigningKey(own.keyFile, own.passwordFile);
        return pushPublished({ ...init, sign, env: world.env });
      },
    },
    credentials,
    env: world.env,
    log,
    onEvent: (mount, event) => logMountEvent(log, mount, event),
    redact,
    learn: redact.learn,
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
