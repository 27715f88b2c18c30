/** What the sidecar costs while nothing changes: the program as an image has it, on many polls. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { makeRepository } from "../support/git-server.ts";
import { runPannierOk } from "../support/pannier.ts";
import { describeWith } from "./support.ts";

const MEBIBYTE = 1 << 20;

/** Left alone, garbage moves memory up and down by 5 MiB: more than a leak would in this time. */
const COLLECT_ON_SIGNAL = `data:text/javascript,process.on("SIGUSR2", () => gc())`;

describeWith("git", "a sidecar with git alone, on an idle repository", (git) => {
  // The second starts a program at each poll, and is never quick.
  test.each([
    ["js", 400, 1600],
    ["cli", 100, 300],
  ])("stays small with engine=%s", { timeout: 600_000 }, async (engine, some, many) => {
    const directory = await mkdtemp(join(tmpdir(), "pannier-idle-"));
    onTestFinished(() => rm(directory, { recursive: true }));
    const repository = await makeRepository(join(git.root, `idle-${engine}.git`));
    await repository.commit({ page: "page" });
    const bundle = join(directory, "bundle");
    await runPannierOk(["bundle", "--adapters", "git", "--out", bundle]);

    const flags = ["--expose-gc", "--import", COLLECT_ON_SIGNAL];
    const child = spawn(process.execPath, [...flags, join(bundle, "bin/pannier.js"), "run"], {
      env: {
        PATH: process.env["PATH"],
        HOME: "/nonexistent",
        PANNIER_SOURCE: `git+${git.url}/idle-${engine}.git?engine=${engine}`,
        PANNIER_TARGET: join(directory, "content"),
        PANNIER_PERIOD: "5ms",
        PANNIER_HTTP: "127.0.0.1:0",
      },
      stdio: ["ignore", "ignore", "pipe"],
    });
    onTestFinished(async () => {
      child.kill("SIGTERM");
      expect(await once(child, "exit")).toEqual([0, null]);
    });
    const address = await listeningOn(child.stderr);
    const metric = async (name: string) => {
      const text = await fetch(`http://${address}/metrics`).then((response) => response.text());
      return Number(
        text
          .split("\n")
          .find((line) => line.startsWith(name))
          ?.split(" ")
          .at(-1) ?? 0,
      );
    };
    const done = () => metric('pannier_syncs_total{mount="content",result="unchanged"}');
    const memoryAfter = async (polls: number) => {
      for (;;) {
        const next = Math.min((await done()) + 100, polls);
        await expect.poll(done, { timeout: 300_000, interval: 250 }).toBeGreaterThan(next);
        if (next === polls) return (await metric("process_resident_memory_bytes")) / MEBIBYTE;
        child.kill("SIGUSR2");
      }
    };
    const early = await memoryAfter(some);
    const late = await memoryAfter(many);
    // 90 is what it may be at most, and what bench/README.md measures; machines differ by a little.
    expect(late).toBeLessThan(100);
    expect(late - early).toBeLessThan(8);
  });
});

async function listeningOn(log: NodeJS.ReadableStream): Promise<string> {
  for await (const line of createInterface({ input: log })) {
    const address = /listening on (\S+)/.exec(line)?.[1];
    if (address !== undefined) return address;
  }
  throw new Error("it ended");
}
