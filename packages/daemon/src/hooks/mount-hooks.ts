/** All hooks of a mount: before publishing, after it, and the push to a registry. */
import type { MountConfig } from "../config/config.ts";
import type { DaemonInit } from "../daemon-init.ts";
import type { MountEvent } from "../events.ts";
import { openMemory } from "./memory.ts";
import { createPostPublish } from "./post-publish.ts";
import { createPrePublish, type PrePublish } from "./pre-publish.ts";
import type { Published } from "./run-hook.ts";

export interface MountHooks {
  readonly prePublish: PrePublish | undefined;
  /** Runs what has not been run for what is published. */
  published(published: Published): void;
  /** Resolves when nothing is left to run or to try again. */
  idle(): Promise<void>;
  /** Lets runs under way end within `grace` milliseconds. */
  stop(grace: number): Promise<void>;
}

export interface MountHooksInit {
  readonly config: MountConfig;
  readonly env: DaemonInit["env"];
  readonly push: DaemonInit["push"];
  readonly redact: DaemonInit["redact"];
  readonly once: boolean;
}

/** @param kill ends what runs before publishing */
export function createMountHooks(
  { config, env, push, redact, once }: MountHooksInit,
  emit: (event: MountEvent) => void,
  kill: AbortSignal,
): MountHooks {
  const { target, owner } = config.options;
  const tools = { mount: config.name, target, owner, env, push, redact, emit, kill };
  const { push: pushTo, postPublish, prePublish } = config.hooks;
  const memory = openMemory(tools);
  const after = [
    createPostPublish(postPublish, { ...tools, memory }),
    createPostPublish(pushTo === undefined ? [] : [pushTo], {
      ...tools,
      memory,
      first: postPublish.length,
      endless: !once,
    }),
  ];
  return {
    prePublish: createPrePublish(prePublish, tools),
    published(published) {
      for (const hooks of after) hooks.published(published);
    },
    async idle() {
      await Promise.all(after.map((hooks) => hooks.idle()));
    },
    async stop(grace) {
      await Promise.all(after.map((hooks) => hooks.stop(grace)));
    },
  };
}
