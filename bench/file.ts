import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { firstSyncs } from "./first-sync.ts";
import { compete, table } from "./measure.ts";
import { makeFiles } from "./repository.ts";
import { pannier } from "./tools.ts";

const FILES = Number(process.env["PANNIER_BENCH_FILES"] ?? 30_000);
const MANY = Number(process.env["PANNIER_BENCH_MANY_FILES"] ?? 300_000);
const ROUNDS = Number(process.env["PANNIER_BENCH_ROUNDS"] ?? 5);

/** First syncs of a directory on tmpfs; of very many files, once. */
export async function first(): Promise<string> {
  const tables: string[] = [];
  for (const [files, rounds] of [
    [FILES, ROUNDS],
    [MANY, 1],
  ] as const) {
    const source = await mkdtemp("/dev/shm/pannier-bench-source-");
    try {
      makeFiles(source, files);
      const measured = await firstSyncs({
        ours: [{ name: "pannier", command: (target) => pannier("sync", source, target) }],
        peers: [{ name: "rsync -a", command: (target) => rsync(source, target) }],
        files,
        rounds,
      });
      tables.push(`${files.toLocaleString("en-US")} files. ${measured}`);
    } finally {
      await rm(source, { recursive: true, force: true });
    }
  }
  return tables.join("\n\n");
}

/** A look at very many files that finds nothing to do. */
export async function unchanged(): Promise<string> {
  const work = await mkdtemp(join(tmpdir(), "pannier-bench-"));
  try {
    const source = join(work, "source");
    makeFiles(source, MANY);
    const results = await compete(
      [
        { name: "pannier", command: pannier("sync", source, join(work, "pannier")) },
        { name: "rsync -a", command: rsync(source, join(work, "rsync")) },
      ],
      ROUNDS,
    );
    return table(results);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

function rsync(source: string, target: string) {
  return { program: "rsync", args: ["-a", `${source}/`, `${target}/`] };
}
