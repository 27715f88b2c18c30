/** What is counted and measured, from the same events that everything else lives on. */
import { describeFailure } from "@pannier/core";
import type { Mount } from "../mount.ts";
import { freeBytes } from "../shown.ts";
import type { MountEvent } from "../events.ts";
import { counter, type Family, gauge, histogram, type Labels, render } from "./text.ts";

export interface Metrics {
  onEvent(mount: Mount, event: MountEvent): void;
  /** Asked for by a caller: `sync`, or the name of a webhook. */
  triggered(by: string, mounts: number): void;
  reloaded(result: "success" | "failure"): void;
  /** A mount is gone: so are its series. */
  drop(mount: string): void;
  render(mounts: readonly Mount[]): Promise<string>;
}

/** Seconds: from a probe that answers at once to a first sync of very much. */
const DURATIONS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];

/** Milliseconds between two looks at the volumes. */
const LOOK = 1000;

export function createMetrics(version: string): Metrics {
  let mounts: readonly Mount[] = [];
  let free = new Map<string, number>();
  let looked = Number.NEGATIVE_INFINITY;
  let looking: Promise<void> | undefined;
  let rendering: Promise<string> | undefined;
  let reloadedWell = 1;
  /** When the attempt under way began. */
  const underway = new Map<string, number>();

  const syncs = counter("pannier_syncs_total", "Syncs that ended, by result.");
  const durations = histogram(
    "pannier_sync_duration_seconds",
    "Time from the start of a sync to its end.",
    DURATIONS,
  );
  const requests = counter("pannier_source_requests_total", "Requests made to sources.");
  const errors = counter(
    "pannier_source_errors_total",
    "Requests and syncs that failed, by the kind of error.",
  );
  const received = counter("pannier_received_bytes_total", "Bytes received from sources.");
  const hooks = counter("pannier_hook_runs_total", "Runs of hooks, by result.");
  const triggers = counter("pannier_triggers_total", "Syncs asked for by callers.");
  const reloads = counter(
    "pannier_config_reloads_total",
    "Changes of the configuration file, by result.",
  );

  const each = (read: (mount: Mount) => number | undefined) =>
    function* (): Generator<readonly [Labels, number]> {
      for (const mount of mounts) {
        const value = read(mount);
        if (value !== undefined) yield [{ mount: mount.config.name }, value];
      }
    };
  const families: readonly Family[] = [
    syncs,
    durations,
    gauge(
      "pannier_last_success_timestamp_seconds",
      "When a sync last ended well.",
      each(({ state }) => seconds(state.success?.wall)),
    ),
    gauge(
      "pannier_last_publish_timestamp_seconds",
      "When what is published was published.",
      each(({ state }) => seconds(state.history[0]?.time)),
    ),
    gauge("pannier_revision_info", "The revision that is published, as a label.", function* () {
      for (const { config, state } of mounts) {
        const revision = state.history[0]?.revision;
        if (revision !== undefined) yield [{ mount: config.name, revision }, 1];
      }
    }),
    gauge(
      "pannier_consecutive_failures",
      "Syncs that failed since one last ended well.",
      each(({ state }) => state.failures),
    ),
    requests,
    errors,
    received,
    gauge(
      "pannier_tree_files",
      "Files and symlinks that are published.",
      each(({ state }) => state.history[0]?.files),
    ),
    gauge(
      "pannier_tree_bytes",
      "Bytes that are published.",
      each(({ state }) => state.history[0]?.bytes),
    ),
    gauge(
      "pannier_volume_free_bytes",
      "Free bytes of the target's volume.",
      each(({ config }) => free.get(config.name)),
    ),
    hooks,
    gauge(
      "pannier_held",
      "1 after a rollback, while the sources are held back until they change.",
      each(({ state }) => (state.held ? 1 : 0)),
    ),
    gauge(
      "pannier_failed_hooks",
      "Hooks after publishing that failed for good, and did not succeed since.",
      each(({ state }) => state.failedHooks.length),
    ),
    triggers,
    reloads,
    gauge(
      "pannier_config_last_reload_successful",
      "1 unless the configuration file, as it is now, was refused.",
      () => [[{}, reloadedWell]],
    ),
    gauge("pannier_build_info", "The version of the program, as a label.", () => [
      [{ version }, 1],
    ]),
    gauge("process_resident_memory_bytes", "Resident memory.", () => [
      [{}, process.memoryUsage.rss()],
    ]),
    gauge("process_start_time_seconds", "When the process was started.", () => [
      [{}, performance.timeOrigin / 1000],
    ]),
  ];

  return {
    onEvent({ config }, event) {
      const mount = config.name;
      switch (event.type) {
        case "request":
          return requests.add({ mount, operation: event.operation });
        case "retry":
          return errors.add({ mount, code: describeFailure(event.error).code });
        case "started":
          underway.set(mount, performance.now());
          return;
        case "done": {
          const { result, duration } = event.result;
          syncs.add({ mount, result });
          durations.observe({ mount }, duration / 1000);
          return received.add({ mount }, event.result.received);
        }
        case "failed": {
          received.add({ mount }, event.received);
          if (event.repeated) return;
          syncs.add({ mount, result: "failed" });
          durations.observe(
            { mount },
            (performance.now() - (underway.get(mount) ?? performance.now())) / 1000,
          );
          return errors.add({ mount, code: describeFailure(event.error).code });
        }
        case "hook":
          return hooks.add({ mount, hook: event.hook, result: event.result });
        default:
      }
    },
    triggered: (by, count) => triggers.add({ by }, count),
    reloaded(result) {
      reloads.add({ result });
      reloadedWell = result === "success" ? 1 : 0;
    },
    drop(mount) {
      underway.delete(mount);
      for (const family of [syncs, durations, requests, errors, received, hooks])
        family.drop({ mount });
    },
    // Those that ask while volumes are looked at share the answer.
    render: (now) =>
      (rendering ??= renderOnce(now).finally(() => {
        rendering = undefined;
      })),
  };

  async function renderOnce(now: readonly Mount[]): Promise<string> {
    if (performance.now() - looked >= LOOK) {
      looking ??= look(now).finally(() => {
        looking = undefined;
        looked = performance.now();
      });
      await looking;
    }
    mounts = now;
    return render(families);
  }

  async function look(now: readonly Mount[]): Promise<void> {
    const stats = await Promise.all(
      now.map(async ({ config }) => [config.name, await freeBytes(config.options)] as const),
    );
    free = new Map(stats.flatMap(([name, bytes]) => (bytes === undefined ? [] : [[name, bytes]])));
  }
}

function seconds(milliseconds: number | undefined): number | undefined {
  return milliseconds === undefined ? undefined : milliseconds / 1000;
}
