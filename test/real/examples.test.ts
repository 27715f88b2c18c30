/** Examples that are configurations, with other addresses. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { makeRepository } from "../support/git-server.ts";
import { startPannier } from "../support/pannier.ts";
import { openRegistry } from "../support/registry.ts";
import { until } from "./servers/process.ts";
import { describeWith } from "./support.ts";

const EXAMPLES = fileURLToPath(new URL("../../examples", import.meta.url));

async function makeDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pannier-example-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  return directory;
}

describeWith("git", "layers", (git) => {
  test("lie over each other, and one in a place of its own", async () => {
    const directory = await makeDirectory();
    const site = await makeRepository(join(git.root, "site.git"));
    const overrides = await makeRepository(join(git.root, "overrides.git"));
    const archive = await makeRepository(join(git.root, "logos.git"));
    await site.commit({ "public/page": "page", "public/title": "theirs" });
    await overrides.commit({ title: "ours" });
    await archive.commit({ logo: "logo" });

    const config = parse(await readFile(join(EXAMPLES, "layers/pannier.yaml"), "utf8"));
    const [mount] = config.mounts;
    mount.target = join(directory, "content");
    mount.period = "500ms";
    mount.sources[0].url = `${git.url}/site.git?path=public`;
    mount.sources[1].url = `${git.url}/overrides.git`;
    mount.sources[2].url = `${git.url}/logos.git`;
    config.http = { enabled: false };
    await writeFile(join(directory, "pannier.yaml"), JSON.stringify(config));
    const sidecar = startPannier(["run"], { cwd: directory });
    onTestFinished(async () => {
      sidecar.child.kill("SIGTERM");
      expect((await sidecar.ended).code).toBe(0);
    });

    const shown = (name: string) =>
      readFile(join(directory, "content/current", name), "utf8").catch(() => undefined);
    await until("the layers", async () => (await shown("page")) === "page");
    expect([await shown("title"), await shown("img/logos/logo")]).toEqual(["ours", "logo"]);
    await overrides.commit({ title: undefined, other: "other" });
    await until("what is below", async () => (await shown("title")) === "theirs");
  });
});

/** Runs a relay or a follower for the length of a test. @returns how to read what it publishes */
async function startOf(
  example: string,
  change: (mount: Record<string, unknown>) => Record<string, unknown>,
) {
  const directory = await makeDirectory();
  const config = parse(await readFile(join(EXAMPLES, "relay", example), "utf8"));
  const [mount] = config.mounts;
  const target = join(directory, "content");
  const changed = { ...mount, ...change(mount), target, period: "500ms" };
  const text = JSON.stringify({ mounts: [changed], http: { enabled: false } });
  await writeFile(join(directory, "pannier.yaml"), text);
  const program = startPannier(["run"], { cwd: directory });
  onTestFinished(async () => {
    program.child.kill("SIGTERM");
    expect((await program.ended).code).toBe(0);
  });
  return (name: string) => readFile(join(target, "current", name), "utf8").catch(() => undefined);
}

describeWith("git", "a relay and a follower", (git) => {
  test("what is committed comes to the follower by way of the registry", async () => {
    const registry = await openRegistry();
    onTestFinished(() => registry.close());
    const site = await makeRepository(join(git.root, "relayed.git"));
    await site.commit({ "public/page": "one", "public/other": "other", private: "no" });
    const image = `oci+http://127.0.0.1:${registry.port}/web/site:live`;

    await startOf("pannier.yaml", ({ push }) => ({
      sources: [{ url: `${git.url}/relayed.git?ref=main&path=public` }],
      push: { ...(push as object), to: image },
    }));
    const shown = await startOf("follower/pannier.yaml", () => ({ sources: [{ url: image }] }));
    await until("the page at the follower", async () => (await shown("page")) === "one");
    expect([await shown("other"), await shown("private")]).toEqual(["other", undefined]);
    await site.commit({ "public/page": "two" });
    await until("the change at the follower", async () => (await shown("page")) === "two");
  });
});
