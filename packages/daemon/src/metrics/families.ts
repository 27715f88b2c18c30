/** What there is to measure: names, descriptions, and where each value is read. */
import type { Mount } from "../mount.ts";
import { counter, type Family, gauge, histogram, type Labels } from "./text.ts";

/** Seconds: from a probe that answers at once to a first sync of very much. */
const DURATIONS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];

/** What is counted as it happens. */
export type Counters = ReturnType<typeof createCounters>;

export function createCounters() {
  return {
    syncs: counter("pannier_syncs_total", "Syncs that ended, by result."),
    durations: histogram(
      "pannier_sync_duration_seconds",
      "Time from the start of a sync to its end.",
      DURATIONS,
    ),
    requests: counter("pannier_source_requests_total", "Requests made to sources."),
    errors: counter(
      "pannier_source_errors_total",
      "Requests and syncs that failed, by the kind of error.",
    ),
    received: counter("pannier_received_bytes_total", "Bytes received from sources."),
    hooks: counter("pannier_hook_runs_total", "Runs of hooks, by result."),
    triggers: counter("pannier_triggers_total", "Syncs asked for by callers."),
    reloads: counter(
      "pannier_config_reloads_total",
      "Changes of the configuration file, by result.",
    ),
  };
}

/** What gauges read, at the moment they are asked for. */
export interface Readings {
  readonly version: string;
  readonly mounts: () => readonly Mount[];
  /** Free bytes of a mount's volume, if that is known. */
  readonly freeBytes: (mount: string) => number | undefined;
  readonly lastReloadSucceeded: () => boolean;
}

/** All that is shown, in its order. */
export function familiesOf(counters: Counters, readings: Readings): readonly Family[] {
  const { syncs, durations, requests, errors, received, hooks, triggers, reloads } = counters;
  return [
    syncs,
    durations,
    ...syncGauges(readings),
    requests,
    errors,
    received,
    ...treeGauges(readings),
    hooks,
    ...stateGauges(readings),
    triggers,
    reloads,
    ...processGauges(readings),
  ];
}

function syncGauges({ mounts }: Readings): readonly Family[] {
  return [
    gauge(
      "pannier_last_success_timestamp_seconds",
      "When a sync last ended well.",
      each(mounts, ({ state }) => seconds(state.success?.wall)),
    ),
    gauge(
      "pannier_last_publish_timestamp_seconds",
      "When what is published was published.",
      each(mounts, ({ state }) => seconds(state.history[0]?.time)),
    ),
    gauge("pannier_revision_info", "The revision that is published, as a label.", function* () {
      for (const { config, state } of mounts()) {
        const revision = state.history[0]?.revision;
        if (revision !== undefined) yield [{ mount: config.name, revision }, 1];
      }
    }),
    gauge(
      "pannier_consecutive_failures",
      "Syncs that failed since one last ended well.",
      each(mounts, ({ state }) => state.failures),
    ),
  ];
}

function treeGauges({ mounts, freeBytes }: Readings): readonly Family[] {
  return [
    gauge(
      "pannier_tree_files",
      "Files and symlinks that are published.",
      each(mounts, ({ state }) => state.history[0]?.files),
    ),
    gauge(
      "pannier_tree_bytes",
      "Bytes that are published.",
      each(mounts, ({ state }) => state.history[0]?.bytes),
    ),
    gauge(
      "pannier_volume_free_bytes",
      "Free bytes of the target's volume.",
      each(mounts, ({ config }) => freeBytes(config.name)),
    ),
  ];
}

function stateGauges({ mounts }: Readings): readonly Family[] {
  return [
    gauge(
      "pannier_held",
      "1 after a rollback, while the sources are held back until they change.",
      each(mounts, ({ state }) => (state.held ? 1 : 0)),
    ),
    gauge(
      "pannier_failed_hooks",
      "Hooks after publishing that failed for good, and did not succeed since.",
      each(mounts, ({ state }) => state.failedHooks.length),
    ),
  ];
}

function processGauges({ version, lastReloadSucceeded }: Readings): readonly Family[] {
  return [
    gauge(
      "pannier_config_last_reload_successful",
      "1 unless the configuration file, as it is now, was refused.",
      () => [[{}, lastReloadSucceeded() ? 1 : 0]],
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
}

/** A value of each mount that has one. */
function each(mounts: Readings["mounts"], read: (mount: Mount) => number | undefined) {
  return function* (): Generator<readonly [Labels, number]> {
    for (const mount of mounts()) {
      const value = read(mount);
      if (value !== undefined) yield [{ mount: mount.config.name }, value];
    }
  };
}

function seconds(milliseconds: number | undefined): number | undefined {
  return milliseconds === undefined ? undefined : milliseconds / 1000;
}
