import { mkdtemp, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { type RunningServers, startServers } from "../test/real/servers/start.ts";
import { firstSyncs } from "./first-sync.ts";
import { compete, type Contestant, type Result, table } from "./measure.ts";
import { filePath, makeRepository, type Repository } from "./repository.ts";
import { gitPeer, pannier } from "./tools.ts";

const FILES = Number(process.env["PANNIER_BENCH_FILES"] ?? 20_000);
const ROUNDS = Number(process.env["PANNIER_BENCH_ROUNDS"] ?? 7);

/** The first sync, and the two after it that still build trees to keep. */
const WARM_UPS = 4;

interface Place {
  readonly work: string;
  readonly repository: Repository;
  /** Of the repository, over smart HTTP. */
  readonly url: string;
}

/** A repository of so many files behind a real server, for as long as `use` takes. */
async function withRepository<Value>(
  files: number,
  use: (place: Place) => Promise<Value>,
): Promise<Value> {
  const work = await mkdtemp(join(tmpdir(), "pannier-bench-"));
  let servers: RunningServers | undefined;
  try {
    servers = await startServers(["git"]);
    const { git, missing } = servers.servers;
    if (git === undefined) throw new Error(missing["git"]);
    const repository = await makeRepository(join(git.root, "bench.git"), files);
    return await use({ work, repository, url: `${git.url}/bench.git` });
  } finally {
    await servers?.stop();
    await rm(work, { recursive: true, force: true });
  }
}

function pannierGit(url: string, engine: string, target: string): Contestant {
  return {
    name: `pannier, engine=${engine}`,
    command: pannier("sync", `git+${url}?ref=main&engine=${engine}`, target),
  };
}

/** From a commit on the server to the published file: one process each, the tree before being there. */
async function followChanges(
  place: Place,
  contestants: readonly (Contestant & { root: string })[],
) {
  let change = { path: filePath(0), content: "" };
  const nextChange = async () => {
    change = await place.repository.commitChange();
  };
  const checked = contestants.map((contestant) => ({
    ...contestant,
    check: async () => {
      const published = await readFile(join(contestant.root, "current", change.path), "utf8");
      if (published !== change.content)
        throw new Error(`${contestant.name} published something else`);
    },
  }));
  return compete(checked, ROUNDS, nextChange, WARM_UPS);
}

export async function update(): Promise<string> {
  return withRepository(FILES, async (place) => {
    const { work, url } = place;
    const peer = gitPeer();
    const results = await followChanges(place, [
      { ...pannierGit(url, "cli", join(work, "cli")), root: join(work, "cli") },
      { ...pannierGit(url, "js", join(work, "js")), root: join(work, "js") },
      { name: peer.name, command: peer.command(url, join(work, "peer")), root: join(work, "peer") },
    ]);
    return table(results);
  });
}

/** From nothing. Ratios are to what does nothing but fetch and check out. */
export async function first(): Promise<string> {
  return withRepository(FILES, ({ url }) => {
    const peer = gitPeer();
    const ours = (["cli", "js"] as const).map((engine) => ({
      name: `pannier, engine=${engine}`,
      command: (target: string) => pannierGit(url, engine, target).command,
    }));
    const clone = (target: string) => ({
      program: "git",
      args: ["clone", "-q", "--depth", "1", "--branch", "main", url, target],
    });
    return firstSyncs({
      ours: [...ours, { name: peer.name, command: (target) => peer.command(url, target) }],
      peers: [{ name: "git clone --depth 1", command: clone }],
      files: FILES,
      rounds: Math.min(ROUNDS, 5),
    });
  });
}

export async function scale(): Promise<string> {
  const results: Result[] = [];
  // The smallest last: the others are ratios to it.
  for (const files of [200_000, 20_000, 2_000]) {
    const [result] = await withRepository(files, (place) => {
      const target = join(place.work, "cli");
      return followChanges(place, [{ ...pannierGit(place.url, "cli", target), root: target }]);
    });
    results.push({ ...(result as Result), name: `${files.toLocaleString("en-US")} files` });
  }
  return table(results);
}
