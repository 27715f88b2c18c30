/** All mounts of a configuration at work, and the change from one configuration to the next. */
import { checkMount, type CheckedMount } from "./check-mount.ts";
import type { DaemonConfig, MountConfig } from "./config/config.ts";
import { type Mount, restingMount, startMount } from "./mount.ts";
import { createSemaphore } from "./semaphore.ts";
import type { DaemonInit } from "./daemon-init.ts";
import type { MountEvent } from "./events.ts";

export interface Supervisor {
  /** In the order of the configuration. */
  readonly mounts: readonly Mount[];
  readonly config: DaemonConfig;
  /** Finds out all that can be wrong with a configuration without touching targets and sources. @throws UsageError, TargetError */
  plan(config: DaemonConfig): Promise<Plan>;
  /** Takes it over: starts mounts that are new, stops those that are gone, and restarts those that changed. The others go on undisturbed. @returns `undefined` where all was stopped meanwhile */
  apply(plan: Plan): Promise<Changes | undefined>;
  /** Shows what the targets of a configuration have, without touching them, until there is one to take over. */
  rest(config: DaemonConfig): void;
  /** Those that were told to end and did not: they still hold their targets. */
  readonly lingering: readonly Mount[];
  /** Ends all mounts, and whatever {@link Supervisor.apply} is about to start. */
  stop(grace: number): Promise<void>;
}

/** Names of mounts. */
interface Changes {
  readonly started: readonly string[];
  readonly stopped: readonly string[];
  readonly restarted: readonly string[];
}

interface Plan {
  readonly config: DaemonConfig;
  readonly mounts: readonly (Mount | CheckedMount)[];
}

export function createSupervisor(
  init: DaemonInit,
  onEvent: (mount: Mount, event: MountEvent) => void,
): Supervisor {
  const active = createSemaphore();
  let current: DaemonConfig | undefined;
  let mounts: readonly Mount[] = [];
  let stopping = false;
  const lingering = new Set<Mount>();

  const start = ({ config, layers }: CheckedMount) =>
    startMount({
      config,
      layers,
      onEvent,
      turn: active.run,
      credentials: init.credentials,
      env: init.env,
      push: init.push,
      once: init.once,
      redact: init.redact,
    });

  async function end(ending: readonly Mount[], grace: number): Promise<void> {
    const stopped = ending.map(async (mount) => {
      if (await mount.stop(grace)) return;
      init.log("warn", "the mount does not end, and is left to itself", {
        mount: mount.config.name,
      });
      lingering.add(mount);
      void mount.ended.then(() => lingering.delete(mount));
    });
    await Promise.all(stopped);
  }

  return {
    get mounts() {
      return mounts;
    },
    get lingering() {
      return [...lingering];
    },
    get config() {
      if (current === undefined) throw new Error("no configuration yet");
      return current;
    },
    async plan(config) {
      const running = new Map(mounts.map((mount) => [mount.config.name, mount]));
      const planned: (Mount | CheckedMount)[] = [];
      for (const next of config.mounts) {
        const same = running.get(next.name);
        if (same?.isResting === false && isEqual(same.config, next)) planned.push(same);
        else planned.push(await checkMount(next, init, config.mounts.length > 1));
      }
      return { config, mounts: planned };
    },
    async apply({ config, mounts: planned }) {
      const kept = new Set(planned);
      const ending = mounts.filter((mount) => !kept.has(mount));
      await end(ending, config.shutdownGrace);
      if (stopping) return undefined;
      const before = new Set(ending.map((mount) => mount.config.name));
      const fresh = planned
        .filter((mount) => !isRunning(mount))
        .map(({ config: { name } }) => name);
      active.limit = config.maxActive;
      current = config;
      mounts = planned.map((mount) => (isRunning(mount) ? mount : start(mount)));
      return {
        started: fresh.filter((name) => !before.has(name)),
        restarted: fresh.filter((name) => before.has(name)),
        stopped: [...before].filter((name) => !fresh.includes(name)),
      };
    },
    rest(config) {
      current = config;
      mounts = config.mounts.map(restingMount);
    },
    async stop(grace) {
      stopping = true;
      await end(mounts, grace);
    },
  };
}

function isRunning(mount: Mount | CheckedMount): mount is Mount {
  return "state" in mount;
}

function isEqual(a: MountConfig, b: MountConfig): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
