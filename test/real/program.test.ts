/** The whole program against real servers: what it costs them, and what survives being cut. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { jsonLines, runPannierOk, startPannier } from "../support/pannier.ts";
import { differences, readTree } from "../support/tree.ts";
import { describeWith } from "./support.ts";

const run = promisify(execFile);

async function workDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pannier-real-program-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

interface Request {
  readonly method: string;
  readonly uri: string;
  readonly status: number;
}

describeWith("nginx", "the program and nginx", (nginx) => {
  /** What the server was asked while `work` ran, below one path. */
  const requestsOf = async (path: string, work: () => Promise<unknown>): Promise<Request[]> => {
    const seen = async () => {
      const lines = (await readFile(nginx.accessLog, "utf8")).trim().split("\n");
      return lines
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as Request)
        .filter(({ uri }) => uri.includes(path));
    };
    const before = await seen();
    await work();
    // A line is written when its request is over for the server, a moment after it is for the client.
    await delay(200);
    return (await seen()).slice(before.length);
  };

  test("an archive and a file that did not change cost one 304 each", async () => {
    const work = await workDirectory();
    const folder = join(nginx.root, "poll");
    await mkdir(join(folder, "tree"), { recursive: true });
    await writeFile(join(folder, "tree/a.txt"), "a\n");
    await run("tar", ["-czf", "tree.tar.gz", "tree"], { cwd: folder });
    for (const name of ["tree.tar.gz", "tree/a.txt"]) {
      const args = ["sync", `${nginx.http}/files/poll/${name}`, join(work, name)];
      await runPannierOk(args);
      const requests = await requestsOf(`/poll/${name}`, () => runPannierOk(args));
      expect(requests.map(({ status }) => status)).toEqual([304]);
    }
  });

  test(
    "a download that is cut by a signal publishes nothing, and is made good",
    { timeout: 60_000 },
    async () => {
      const work = await workDirectory();
      const content = Buffer.alloc(300_000, "0123456789");
      await mkdir(join(nginx.root, "cut"));
      await writeFile(join(nginx.root, "cut/large.bin"), content);
      const target = join(work, "target");
      const source = (way: string) => `${nginx.http}/${way}/cut/large.bin`;
      const { child, ended } = startPannier(["sync", source("slow"), target]);
      // The server sends 64 KiB a second.
      await delay(2_500);
      child.kill("SIGTERM");
      expect((await ended).code).toBe(143);
      expect(await readdir(target)).toEqual([".pannier"]);
      await runPannierOk(["sync", source("files"), target]);
      expect(await readFile(join(target, "current/large.bin"))).toEqual(content);
    },
  );
});

describeWith("git", "the program and git http-backend", (git) => {
  test.each(["cli", "js"])(
    "engine=%s: a repository that did not change costs one request",
    async (engine) => {
      const work = await workDirectory();
      const name = `noop-${engine}.git`;
      await run("git", ["init", "-q", "--bare", "-b", "main", join(git.root, name)]);
      const clone = join(work, "clone");
      await run("git", ["clone", "-q", join(git.root, name), clone]);
      await writeFile(join(clone, "a"), "a\n");
      const identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"];
      await run("git", ["-C", clone, "add", "a"]);
      await run("git", ["-C", clone, ...identity, "commit", "-qm", "first"]);
      await run("git", ["-C", clone, "push", "-q", "origin", "HEAD:main"]);
      const args = ["sync", `git+${git.url}/${name}?ref=main&engine=${engine}`, join(work, "t")];
      await runPannierOk([...args, "--json"]);
      const { stdout } = await runPannierOk([...args, "--json"]);
      expect(JSON.parse(stdout)).toMatchObject({ result: "unchanged", requests: 1 });
    },
  );
});

describe("the program and a directory that rsync keeps", () => {
  test("follows what rsync changes", { timeout: 60_000 }, async () => {
    const work = await workDirectory();
    const [upstream, source, target] = ["upstream", "source", "target"].map((name) =>
      join(work, name),
    ) as [string, string, string];
    await mkdir(join(upstream, "sub"), { recursive: true });
    await mkdir(source);
    const revise = async (revision: number) => {
      // Of another size each time: rsync does not look further within a second.
      await writeFile(join(upstream, "sub/a"), "x".repeat(revision));
      await writeFile(join(upstream, `only-in-${revision}`), "");
      await rm(join(upstream, `only-in-${revision - 1}`), { force: true });
      await run("rsync", ["-a", "--delete", "--delay-updates", `${upstream}/`, `${source}/`]);
    };
    await revise(1);
    const running = startPannier(["watch", source, target, "--json", "--period=100ms"]);
    const events = jsonLines(running);
    await events.until(({ type }) => type === "published");
    for (let revision = 2; revision <= 5; revision++) {
      await revise(revision);
      // rsync's change is not one moment: what counts is what is published in the end.
      for (;;) {
        await events.until(({ type }) => type === "published");
        const tree = await readTree(await realpath(join(target, "current")));
        if (differences(tree, await readTree(upstream)).length === 0) break;
      }
    }
    running.child.kill("SIGTERM");
    expect((await running.ended).code).toBe(0);
  });
});
