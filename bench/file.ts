import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compete, table } from "./measure.ts";
import { makeFiles } from "./repository.ts";
import { pannier } from "./tools.ts";

const FILES = Number(process.env["PANNIER_BENCH_FILES"] ?? 300_000);
const ROUNDS = Number(process.env["PANNIER_BENCH_ROUNDS"] ?? 5);

/** A directory of many files: the first sync, and then a look that finds nothing to do. */
export async function scan(): Promise<string> {
  const work = await mkdtemp(join(tmpdir(), "pannier-bench-"));
  try {
    const source = join(work, "source");
    makeFiles(source, FILES);
    const ours = join(work, "pannier");
    const theirs = join(work, "rsync");
    const contestants = [
      { name: "`pannier sync`", command: pannier("sync", source, ours) },
      {
        name: "`rsync -a`",
        command: { program: "rsync", args: ["-a", `${source}/`, `${theirs}/`] },
      },
    ];
    const firsts = await compete(
      contestants.map((contestant) => ({
        ...contestant,
        prepare: () =>
          rm(contestant.name.includes("rsync") ? theirs : ours, { recursive: true, force: true }),
      })),
      1,
    );
    const scans = await compete(contestants, ROUNDS);
    return `First sync:\n\n${table(firsts)}\n\nNothing to do:\n\n${table(scans)}`;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
