/** What following a source that does not change costs: requests, writes, growth. */
import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startServers } from "../test/real/servers/start.ts";
import { markdown } from "./measure.ts";
import { marksOf, type Moment as ProcessMoment, observe as observeProcess } from "./process.ts";
import { makeRepository } from "./repository.ts";
import { pannier } from "./tools.ts";

const POLLS = Number(process.env["PANNIER_BENCH_POLLS"] ?? 10_000);

interface Moment extends ProcessMoment {
  /** Requests the server answered. */
  readonly requests: number;
}

export async function poll(): Promise<string> {
  const { servers, stop } = await startServers(["nginx", "git"]);
  const work = await mkdtemp(join(tmpdir(), "pannier-bench-"));
  try {
    const { nginx, git } = servers;
    if (nginx === undefined || git === undefined) throw new Error("nginx and fcgiwrap are needed");
    await makeRepository(join(git.root, "bench.git"), 2_000);
    await writeFile(join(nginx.root, "file.json"), "{}");
    const rows: string[][] = [];
    for (const [name, url, { accessLog }] of [
      ["git, engine=cli", `git+${git.url}/bench.git?ref=main&engine=cli`, git],
      ["git, engine=js", `git+${git.url}/bench.git?ref=main&engine=js`, git],
      ["http, one file", `${nginx.http}/files/file.json`, nginx],
    ] as const) {
      rows.push([name, ...(await follow(name, url, join(work, name), accessLog))]);
    }
    const counts = ["", "polls", "requests a poll", "files written", "bytes to storage"];
    const growth = ["MiB early → late", "descriptors early → late", "CPU ms a poll"];
    return markdown([...counts, ...growth], rows);
  } finally {
    await stop();
    await rm(work, { recursive: true, force: true });
  }
}

async function follow(
  name: string,
  url: string,
  target: string,
  accessLog: string,
): Promise<string[]> {
  const command = pannier("watch", url, target, "--period=1ms", "--log-level=debug");
  const early = Math.ceil(POLLS / 10);
  const moments: Moment[] = [];
  let polls = 0;
  let mark = 0;
  let changed = 0;
  // The first polls warm up; what is measured is from the early to the late ones.
  for await (const pid of marksOf(command, /\bprobe\b/)) {
    polls++;
    if (polls !== early && polls !== early + POLLS) continue;
    moments.push(observe(pid, accessLog));
    if (moments.length === 2) {
      // While it still runs: its end writes to the state.
      changed = ifNoneMatchHeaders(target, mark);
      break;
    }
    mark = Date.now();
    process.stderr.write(`  ${name}: ${polls} polls\n`);
  }
  const [from, to] = moments as [Moment, Moment];
  return [
    POLLS.toLocaleString("en-US"),
    ((to.requests - from.requests) / POLLS).toFixed(2),
    String(changed),
    String(to.written - from.written),
    `${from.resident.toFixed(0)} → ${to.resident.toFixed(0)}`,
    `${from.descriptors} → ${to.descriptors}`,
    (((to.cpu - from.cpu) / POLLS) * 1000).toFixed(2),
  ];
}

function observe(pid: number, accessLog: string): Moment {
  return {
    ...observeProcess(pid),
    requests: readFileSync(accessLog, "utf8").split("\n").length - 1,
  };
}

/** Files and directories below `root` that were written after a moment. */
function ifNoneMatchHeaders(root: string, moment: number): number {
  return readdirSync(root, { recursive: true, encoding: "utf8" }).filter(
    (path) => lstatSync(join(root, path)).mtimeMs > moment,
  ).length;
}
