/** One run of a hook after publishing, of whatever kind it is. */
import { randomBytes } from "node:crypto";
import { openSync } from "node:fs";
import { join } from "node:path";
import {
  type ChangedPath,
  changesBetween,
  history,
  inHome,
  parseLocation,
  redact,
  type SyncResult,
  writeChanges,
} from "@pannier/core";
import type { PostPublishConfig } from "../config/config.ts";
import { callUrl } from "./call.ts";
import { hookEnvironment, type HookSubject, runCommand } from "./command.ts";
import type { HookTools } from "./pre-publish.ts";
import { sendSignal } from "./signal.ts";
import { removeFile } from "./memory.ts";

export type Published = Pick<SyncResult, "revision" | "previousRevision" | "path">;

export async function runHook(
  config: PostPublishConfig,
  result: Published,
  done: string | undefined,
  { mount, target, owner, env, push, kill }: HookTools,
  signal: AbortSignal,
): Promise<void> {
  const { revision, path } = result;
  const previousRevision = [done, result.previousRevision].find(
    (before) => before !== undefined && before !== revision,
  );
  const subject: HookSubject = { mount, revision, previousRevision, path, changes: "" };
  if ("push" in config) {
    // What is published by now: a revision that was overtaken meanwhile is not pushed over it.
    const { push: destination, layers, credentials, sign } = config;
    await push.run({ target, destination, layers, credentials, sign, signal });
    return;
  }
  if ("process" in config) return sendSignal(config);
  if ("url" in config) return callUrl(config, subject, signal);
  // Beside the state, where a killed process's leftovers are swept away; a container's /tmp may be read-only.
  const name = `changes-${randomBytes(8).toString("hex")}`;
  const changes = join(target, ".pannier", name);
  try {
    const file = inHome(target, owner, (home) => openSync(join(home, name), "wx"));
    await writeChanges(file, changesSince(target, previousRevision, revision));
    await runCommand({
      command: config.command,
      cwd: path,
      env: hookEnvironment(env, { ...subject, changes }, config.env),
      own: config.env,
      timeout: config.timeout,
      signal,
      kill,
    });
  } finally {
    removeFile(target, owner, name);
  }
}

/** What a revision changed since another one; where that is not known, everything counts as added. */
function* changesSince(
  target: string,
  from: string | undefined,
  revision: string,
): Generator<ChangedPath> {
  const entries = history(target);
  const to = entries.find((entry) => entry.revision === revision)?.id ?? 0;
  const before = entries.find((entry) => entry.revision === from && entry.id < to)?.id;
  yield* changesBetween(target, before, to) ?? changesBetween(target, undefined, to) ?? [];
}

/** What a hook is called in logs and metrics: without arguments, user, password and query, which may be secret. */
export function describeHook(config: PostPublishConfig): string {
  if ("command" in config) return config.command[0] as string;
  if ("process" in config) return `${config.signal} to ${config.process}`;
  if ("push" in config) return redact(parseLocation(config.push));
  const { protocol, host, pathname } = new URL(config.url);
  return `${protocol}//${host}${pathname}`;
}
