import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Result, table } from "./measure.ts";

/** Kinds of volumes to sync to. */
const VOLUMES = (process.env["PANNIER_BENCH_VOLUMES"] ?? "tmpfs,disk").split(",");

/**
 * A table for each kind of volume. Ratios are to the fastest peer, which comes last.
 *
 * @param measured in a directory of that kind: results of `ours` contestants of our own first
 */
export async function onVolumes(
  ours: number,
  measured: (directory: string) => Promise<readonly Result[]>,
): Promise<string> {
  const tables: string[] = [];
  for (const volume of VOLUMES) {
    const base = volume === "tmpfs" ? "/dev/shm" : tmpdir();
    const directory = await mkdtemp(join(base, "pannier-bench-"));
    try {
      const results = await measured(directory);
      const peers = results.slice(ours).toSorted((a, b) => fastest(b) - fastest(a));
      tables.push(`Target on ${volume}:\n\n${table([...results.slice(0, ours), ...peers])}`);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }
  return tables.join("\n\n");
}

const fastest = ({ costs }: Result) => Math.min(...costs.map(({ wall }) => wall));
