/** What is counted and measured, from the same events that everything else lives on. */
import { describeFailure } from "@pannier/core";
import type { Mount } from "../mount.ts";
import type { MountEvent } from "../events.ts";
import { createCounters, familiesOf } from "./families.ts";
import { createFreeSpace } from "./free-space.ts";
import { render } from "./text.ts";

export interface Metrics {
  onEvent(mount: Mount, event: MountEvent): void;
  /** Asked for by a caller: `sync`, or the name of a webhook. */
  triggered(by: string, mounts: number): void;
  reloaded(result: "success" | "failure"): void;
  /** A mount is gone: so are its series. */
  drop(mount: string): void;
  render(mounts: readonly Mount[]): Promise<string>;
}

export function createMetrics(version: string): Metrics {
  let mounts: readonly Mount[] = [];
  let rendering: Promise<string> | undefined;
  let lastReloadSucceeded = true;
  /** When the attempt under way began. */
  const underway = new Map<string, number>();
  const freeSpace = createFreeSpace();
  const counters = createCounters();
  const families = familiesOf(counters, {
    version,
    mounts: () => mounts,
    freeBytes: (mount) => freeSpace.of(mount),
    lastReloadSucceeded: () => lastReloadSucceeded,
  });

  async function renderOnce(now: readonly Mount[]): Promise<string> {
    await freeSpace.refresh(now);
    mounts = now;
    return render(families);
  }

  return {
    onEvent({ config }, event) {
      const mount = config.name;
      switch (event.type) {
        case "request":
          return counters.requests.add({ mount, operation: event.operation });
        case "retry":
          return counters.errors.add({ mount, code: describeFailure(event.error).code });
        case "started":
          underway.set(mount, performance.now());
          return;
        case "done": {
          const { result, duration } = event.result;
          counters.syncs.add({ mount, result });
          counters.durations.observe({ mount }, duration / 1000);
          return counters.received.add({ mount }, event.result.received);
        }
        case "failed": {
          counters.received.add({ mount }, event.received);
          if (event.repeated) return;
          counters.syncs.add({ mount, result: "failed" });
          counters.durations.observe(
            { mount },
            (performance.now() - (underway.get(mount) ?? performance.now())) / 1000,
          );
          return counters.errors.add({ mount, code: describeFailure(event.error).code });
        }
        case "hook":
          return counters.hooks.add({ mount, hook: event.hook, result: event.result });
        default:
      }
    },
    triggered: (by, count) => counters.triggers.add({ by }, count),
    reloaded(result) {
      counters.reloads.add({ result });
      lastReloadSucceeded = result === "success";
    },
    drop(mount) {
      underway.delete(mount);
      const { syncs, durations, requests, errors, received, hooks } = counters;
      for (const family of [syncs, durations, requests, errors, received, hooks])
        family.drop({ mount });
    },
    // Those that ask while volumes are looked at share the answer.
    render: (now) =>
      (rendering ??= renderOnce(now).finally(() => {
        rendering = undefined;
      })),
  };
}
