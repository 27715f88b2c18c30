/** Prometheus, for tests that start one of their own. */
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { end, findProgram, listening, run, until } from "./process.ts";

export const prometheus = findProgram("prometheus");

/** With the `prometheus.yaml` of a directory; its data goes there, too. The caller ends it. */
export async function startPrometheus(
  directory: string,
  flags: readonly string[] = [],
): Promise<{ readonly child: ChildProcess; readonly address: string }> {
  const { child, ports } = await listening("prometheus", 1, async ([port]) =>
    run(prometheus as string, [
      `--config.file=${join(directory, "prometheus.yaml")}`,
      `--storage.tsdb.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=error",
      ...flags,
    ]),
  );
  const address = `http://127.0.0.1:${ports[0]}`;
  try {
    // It listens before it answers queries: https://prometheus.io/docs/prometheus/latest/management_api/
    await until("prometheus", async () => (await fetch(`${address}/-/ready`)).ok);
  } catch (error) {
    await end(child);
    throw error;
  }
  return { child, address };
}
