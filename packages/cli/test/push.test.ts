import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { openRegistry } from "../../../test/support/registry.ts";
import { runPannier, runPannierOk } from "../../../test/support/pannier.ts";

let cwd: string;

beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "pannier-push-test-"));
  onTestFinished(() => rm(cwd, { recursive: true, force: true }));
  await writeFile(join(cwd, "page"), "1");
});

test("sources are pushed, and followed from there", async () => {
  const registry = await openRegistry();
  onTestFinished(() => registry.close());
  const url = `oci+http://127.0.0.1:${registry.port}/team/site:live`;
  const first = await runPannierOk(["push", "./page", url, "--work", "work"], { cwd });
  expect(first.stdout).toContain("1 file in 1 layer; sent 1 layer");
  expect((await runPannierOk(["push", "./page", url], { cwd })).stdout).toMatch(/^unchanged /);
  await runPannierOk(["sync", url, "target"], { cwd });
  await writeFile(join(cwd, "page"), "two");
  const second = await runPannierOk(["push", "./page", url, "--work", "work", "--json"], { cwd });
  expect(JSON.parse(second.stdout)).toMatchObject({
    changed: true,
    sentLayers: 1,
    destination: url,
  });
  await runPannierOk(["sync", url, "target"], { cwd });
  expect(await readFile(join(cwd, "target/current/page"), "utf8")).toBe("two");
});

test("guards hold for a push as for a sync: a source that is empty is not pushed", async () => {
  const url = `oci+file://${cwd}/layout:v1`;
  const args = ["push", "./site", url, "--work", "work"];
  const { mkdir } = await import("node:fs/promises");
  await mkdir(join(cwd, "site"));
  await writeFile(join(cwd, "site/page"), "1");
  await runPannierOk(args, { cwd });
  await rm(join(cwd, "site/page"));
  const index = await readFile(join(cwd, "layout/index.json"), "utf8");
  expect(await runPannier(args, { cwd })).toMatchObject({ code: 6 });
  expect(await readFile(join(cwd, "layout/index.json"), "utf8")).toBe(index);
});

test.each([
  [["push", "./page", "s3://bucket/site"], 2, "the destination is not an image"],
  [["push", "./page", `oci://host/site@sha256:${"0".repeat(64)}`], 2, "cannot be pushed to"],
  [
    ["push", "./page", "oci+http://127.0.0.1:1/site:v1"],
    5,
    "cannot push to oci+http://127.0.0.1:1",
  ],
  [["push", "./page", "oci+file:///tmp/x:v1", "--layers", "101"], 2, "at most 100 layers"],
])("%j ends with %i", async (args, code, message) => {
  // The library's waits between attempts are not what is tested.
  const outcome = await runPannier([...args], { cwd });
  expect(outcome).toMatchObject({ code, stderr: expect.stringContaining(message) });
});

test("secrets of the destination are not shown", async () => {
  const url = "oci+http://me:s3cret-of-mine@127.0.0.1:1/site:v1";
  const { code, stdout, stderr } = await runPannier(["push", "./page", url, "--json"], { cwd });
  expect(code).toBe(5);
  expect(stdout + stderr).not.toContain("s3cret-of-mine");
});

test("a mount with push is a relay", async () => {
  const registry = await openRegistry();
  onTestFinished(() => registry.close());
  const url = `oci+http://127.0.0.1:${registry.port}/team/site:live`;
  await writeFile(
    join(cwd, "pannier.yaml"),
    `http: { enabled: false }\nmounts:\n  - target: work\n    sources: [./page]\n    push: ${url}\n`,
  );
  await runPannierOk(["run", "--once"], { cwd });
  await runPannierOk(["sync", url, "target"], { cwd });
  expect(await readFile(join(cwd, "target/current/page"), "utf8")).toBe("1");
  registry.requests.length = 0;
  await runPannierOk(["run", "--once"], { cwd });
  expect(registry.requests).toEqual([]);
  await writeFile(join(cwd, "page"), "two");
  await runPannierOk(["run", "--once"], { cwd });
  await runPannierOk(["sync", url, "target"], { cwd });
  expect(await readFile(join(cwd, "target/current/page"), "utf8")).toBe("two");
});

test("a relay to what is no image is refused at the start", async () => {
  await writeFile(
    join(cwd, "pannier.yaml"),
    `http: { enabled: false }\nmounts:\n  - target: work\n    sources: [./page]\n    push: { to: "s3://x/y", layers: 1 }\n`,
  );
  const wrong = await runPannier(["run", "--once"], { cwd });
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("not an image") });
});
