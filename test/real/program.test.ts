/** The whole program against real servers: what it costs them, and what survives being cut. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { jsonLines, runPannierOk, startPannier } from "../support/pannier.ts";
import { differences, readTree } from "../support/tree.ts";
import { until } from "./servers/process.ts";
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
  /** What the server was asked below one path. */
  const requestsOf = async (path: string): Promise<Request[]> => {
    const lines = (await readFile(nginx.accessLog, "utf8")).trim().split("\n");
    return lines
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as Request)
      .filter(({ uri }) => uri.includes(path));
  };

  test("an archive and a file that did not change cost one 304 each", async () => {
    const work = await workDirectory();
    const folder = join(nginx.root, "poll");
    await mkdir(join(folder, "tree"), { recursive: true });
    await writeFile(join(folder, "tree/a.txt"), "a\n");
    await run("tar", ["-czf", "tree.tar.gz", "tree"], { cwd: folder });
    for (const name of ["tree.tar.gz", "tree/a.txt"]) {
      let requests = 0;
      for (const [result, asked] of [
        ["published", expect.any(Number)],
        ["unchanged", 1],
      ]) {
        const args = ["sync", `${nginx.http}/files/poll/${name}`, join(work, name), "--json"];
        const outcome = JSON.parse((await runPannierOk(args)).stdout) as { requests: number };
        expect(outcome).toMatchObject({ result, requests: asked });
        requests += outcome.requests;
      }
      // A line is written when its request is over for the server, a moment after it is for the client.
      await expect
        .poll(async () => (await requestsOf(`/poll/${name}`)).map(({ status }) => status))
        .toEqual([...Array.from({ length: requests - 1 }, () => expect.any(Number)), 304]);
    }
  });

  test("a download that is cut by a signal publishes nothing, and is made good", async () => {
    const work = await workDirectory();
    const content = Buffer.alloc(300_000, "0123456789");
    await mkdir(join(nginx.root, "cut"));
    await writeFile(join(nginx.root, "cut/large.bin"), content);
    const target = join(work, "target");
    const source = (way: string) => `${nginx.http}/${way}/cut/large.bin`;
    const { child, ended } = startPannier(["sync", source("slow"), target]);
    // The server sends 64 KiB a second.
    await until("the first bytes", async () => {
      const files = await readdir(target, { recursive: true }).catch(() => []);
      const partial = files.find((path) => path.endsWith("large.bin"));
      return partial !== undefined && (await stat(join(target, partial))).size > 0;
    });
    child.kill("SIGTERM");
    expect((await ended).code).toBe(143);
    expect(await readdir(target)).toEqual([".pannier"]);
    await runPannierOk(["sync", source("files"), target]);
    expect(await readFile(join(target, "current/large.bin"))).toEqual(content);
  });
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
  test("follows what rsync changes", async () => {
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
