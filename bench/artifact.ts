/** A tree in a registry, as `pannier push` puts it there: its first pull, and one changed file. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { createFaultProxy } from "@pannier/adapter-kit";
import { findProgram } from "../test/real/servers/process.ts";
import { type RunningServers, startServers } from "../test/real/servers/start.ts";
import { type Command, compete, type Contestant, markdown, table } from "./measure.ts";
import { initRepository } from "./repository.ts";
import { pannier } from "./tools.ts";
import { treeContent, treeFiles, treePath } from "./tree.ts";

const FILES = Number(process.env["PANNIER_BENCH_FILES"] ?? 20_000);
const ROUNDS = Number(process.env["PANNIER_BENCH_ROUNDS"] ?? 5);
/** The first sync, and the two after it that still build trees to keep. */
const WARM_UPS = 4;

const execute = promisify(execFile);

/** Where a registry shows the tree. */
interface Place {
  readonly work: string;
  readonly servers: RunningServers["servers"];
  readonly port: number;
  /** Host, repository and tag. */
  readonly image: string;
  /** The directory that is pushed. */
  readonly tree: string;
  /** Pushes what it holds now. */
  push(): Promise<void>;
}

/** From nothing to published, beside what else gets a tree out of a registry. */
export async function first(): Promise<string> {
  return withRegistry(["distribution"], async ({ work, image, tree, port }) => {
    const [crane, oras] = ["crane", "oras"].map(findProgram);
    if (crane === undefined || oras === undefined) throw new Error("crane or oras is missing");
    const packed = `127.0.0.1:${port}/bench/packed:live`;
    const push = ["push", "--plain-http", "--disable-path-validation", packed, "."];
    await execute(oras, push, { cwd: tree });
    const target = join(work, "target");
    const contestant = (name: string, below: string, command: Command): Contestant => ({
      name,
      command,
      async prepare() {
        await rm(target, { recursive: true, force: true });
        await mkdir(target);
      },
      async check() {
        const found = await readdir(join(target, below), { recursive: true, withFileTypes: true });
        if (found.filter((entry) => entry.isFile()).length !== FILES)
          throw new Error(`${name} did not get all files`);
      },
    });
    const unpack = '"$1" export --insecure "$2" - | tar -x -C "$3"';
    const results = await compete(
      [
        contestant("`pannier sync`", "current", pannier("sync", `oci+http://${image}`, target)),
        contestant("`oras pull`, one layer of `oras push`", "", {
          program: oras,
          args: ["pull", "--plain-http", "--output", target, packed],
        }),
        contestant("`crane export`, `tar -x`", "", {
          program: "bash",
          args: ["-o", "pipefail", "-ec", unpack, "bash", crane, image, target],
        }),
      ],
      ROUNDS,
    );
    await rm(target, { recursive: true });
    const counted = await countRequests(port, (at) => sync(at, target));
    return `${table(results)}\n\n${markdown(["the first pull", "requests", "bytes"], [["`pannier sync`", ...counted]])}`;
  });
}

/** One changed file, from what is pushed to published, beside the same in git. */
export async function update(): Promise<string> {
  return withRegistry(
    ["distribution", "git"],
    async ({ work, servers, port, tree, push, image }) => {
      const { git, missing } = servers;
      if (git === undefined) throw new Error(missing["git"]);
      const commit = await initRepository(join(git.root, "bench.git"));
      await commit(treeFiles(FILES));
      let changes = 0;
      let change = { path: "", content: "" };
      const next = async () => {
        changes++;
        const index = (changes * 7919) % FILES;
        change = { path: treePath(index, FILES), content: treeContent(index, changes) };
        await writeFile(join(tree, change.path), change.content);
        await push();
        await commit([[change.path, change.content]]);
      };
      const contestant = (name: string, source: string): Contestant => {
        const target = join(work, name);
        return {
          name: `pannier, ${name}`,
          command: pannier("sync", source, target),
          async check() {
            const published = await readFile(join(target, "current", change.path), "utf8");
            if (published !== change.content) throw new Error(`${name} published something else`);
          },
        };
      };
      const branch = `git+${git.url}/bench.git?ref=main`;
      const results = await compete(
        [
          contestant("oci", `oci+http://${image}`),
          contestant("git, engine=js", `${branch}&engine=js`),
          contestant("git, engine=cli", `${branch}&engine=cli`),
        ],
        ROUNDS,
        next,
        WARM_UPS,
      );
      const target = join(work, "counted");
      let before: string[] = [];
      const counted = await countRequests(port, async (at, soFar) => {
        await sync(at, target);
        await next();
        before = soFar();
        await sync(at, target);
      });
      const each = counted.map((value, index) => String(Number(value) - Number(before[index])));
      return `${table(results)}\n\n${markdown(["one changed file", "requests", "bytes"], [["pannier, oci", ...each]])}`;
    },
  );
}

const IMAGE = "bench/site:live";

async function sync(port: number, target: string): Promise<void> {
  const { program, args } = pannier("sync", `oci+http://127.0.0.1:${port}/${IMAGE}`, target);
  await execute(program, args);
}

/** Requests, and bytes of answers with their heads, between a registry and what `work` does. */
async function countRequests(
  port: number,
  work: (port: number, soFar: () => string[]) => Promise<void>,
): Promise<string[]> {
  const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port } });
  // It counts requests only for the sake of faults.
  await proxy.set({ http: { status: 500, probability: 0 } });
  const soFar = () => [proxy.stats.requests, proxy.stats.received].map(String);
  try {
    await work(proxy.port, soFar);
    return soFar();
  } finally {
    await proxy.close();
  }
}

async function withRegistry(
  wanted: ("distribution" | "git")[],
  use: (place: Place) => Promise<string>,
): Promise<string> {
  const work = await mkdtemp(join(tmpdir(), "pannier-bench-"));
  const running = await startServers(wanted);
  try {
    const { servers } = running;
    const { distribution, missing } = servers;
    if (distribution === undefined) throw new Error(missing["distribution"]);
    const { port } = distribution;
    const tree = join(work, "tree");
    for (const [path, content] of treeFiles(FILES)) {
      await mkdir(dirname(join(tree, path)), { recursive: true });
      await writeFile(join(tree, path), content);
    }
    const image = `127.0.0.1:${port}/${IMAGE}`;
    const state = ["--work", join(work, "pushed")];
    const { program, args } = pannier("push", tree, `oci+http://${image}`, ...state);
    const push = async () => void (await execute(program, args));
    await push();
    return await use({ work, servers, port, image, tree, push });
  } finally {
    await running.stop();
    await rm(work, { recursive: true, force: true });
  }
}
