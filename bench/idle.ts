/** What the sidecar costs while nothing changes, beside git-sync. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startServers } from "../test/real/servers/start.ts";
import { type Command, markdown } from "./measure.ts";
import { makeRepository } from "./repository.ts";
import { marksOf, observe } from "./process.ts";
import { gitSync, pannier } from "./tools.ts";

const POLLS = Number(process.env["PANNIER_BENCH_POLLS"] ?? 1000);
/** The first polls warm up. */
const EARLY = 100;

interface Follower {
  readonly name: string;
  readonly command: Command;
  /** What it logs once a poll. */
  readonly mark: RegExp;
}

export async function idle(): Promise<string> {
  const { servers, stop } = await startServers(["git"]);
  const work = await mkdtemp(join(tmpdir(), "pannier-bench-"));
  try {
    const { git } = servers;
    if (git === undefined) throw new Error("nginx and fcgiwrap are needed");
    await makeRepository(join(git.root, "bench.git"), 2000);
    const url = `${git.url}/bench.git`;
    const sidecar = (name: string, engine: string): Follower => ({
      name: `\`pannier run\`, engine=${engine}`,
      command: {
        ...pannier("run", "--http=127.0.0.1:0", "--period=50ms", "--log-level=debug"),
        env: {
          PANNIER_SOURCE: `git+${url}?ref=main&engine=${engine}`,
          PANNIER_TARGET: join(work, name),
        },
      },
      mark: /\bprobe\b/,
    });
    const followers = [sidecar("cli", "cli"), sidecar("js", "js")];
    const peer = gitSync(url, join(work, "peer"));
    if (peer !== undefined)
      followers.push({
        name: "git-sync",
        command: peer,
        mark: /update not required/,
      });
    const rows: string[][] = [];
    for (const follower of followers) rows.push([follower.name, ...(await follow(follower))]);
    return markdown(
      ["", "polls", "CPU ms a poll, children included", "MiB after 100 polls", "MiB at the end"],
      rows,
    );
  } finally {
    await stop();
    await rm(work, { recursive: true, force: true });
  }
}

async function follow({ name, command, mark }: Follower): Promise<string[]> {
  let polls = 0;
  let early: ReturnType<typeof observe> | undefined;
  for await (const pid of marksOf(command, mark)) {
    polls++;
    if (polls === EARLY) early = observe(pid);
    if (early === undefined || polls < EARLY + POLLS) continue;
    const late = observe(pid);
    return [
      POLLS.toLocaleString("en-US"),
      (((late.cpu - early.cpu) / POLLS) * 1000).toFixed(2),
      early.resident.toFixed(0),
      late.resident.toFixed(0),
    ];
  }
  throw new Error(`${name} was not followed`);
}
