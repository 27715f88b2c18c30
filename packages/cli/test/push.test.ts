import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
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
  [["push", "./page", "oci+ftp://host/site:v1"], 2, "the adapter ftp opens no folders"],
  [["push", "./page", "oci+https://host/site:v1"], 2, "cannot be written"],
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

/** A key of cosign with its password, and its public key. */
async function signingKey() {
  const from = new URL("../../signatures/test/made-by-cosign/", import.meta.url);
  for (const name of ["cosign.key", "cosign.pub"])
    await copyFile(new URL(name, from), join(cwd, name));
  await writeFile(join(cwd, "password"), "open sesame\n");
}

test.each(["registry", "layout"])(
  "an image is signed before the tag names it (%s)",
  async (kind) => {
    await signingKey();
    const registry = await openRegistry();
    onTestFinished(() => registry.close());
    const url =
      kind === "layout"
        ? `oci+file://${cwd}/layout:live`
        : `oci+http://127.0.0.1:${registry.port}/team/site:live`;
    const sign = ["--sign", "cosign.key", "--sign-password-file", "password"];
    const follow = ["sync", url, "target", "--signed-by", "cosign-key:cosign.pub"];

    await runPannierOk(["push", "./page", url], { cwd });
    expect(await runPannier(follow, { cwd })).toMatchObject({
      code: 6,
      stderr: expect.stringContaining("is not signed by one who is trusted"),
    });
    // What is there already is signed where it is.
    expect((await runPannierOk(["push", "./page", url, ...sign], { cwd })).stdout).toMatch(
      /^unchanged .*, signed: /,
    );
    await runPannierOk(follow, { cwd });
    const again = await runPannierOk(["push", "./page", url, ...sign], { cwd });
    expect(again.stdout).not.toContain("signed");

    await writeFile(join(cwd, "page"), "two");
    registry.requests.length = 0;
    expect((await runPannierOk(["push", "./page", url, ...sign], { cwd })).stdout).toMatch(
      /^pushed .*, signed: /,
    );
    const puts = registry.requests.filter((line) => line.startsWith("PUT /v2/team/site/manifests"));
    const names = puts.map((line) => line.replace(/.*\//, "").replace(/[0-9a-f]{64}/, "HEX"));
    const inOrder = ["sha256:HEX", "sha256:HEX", "sha256-HEX", "live"];
    expect(names).toEqual(kind === "registry" ? inOrder : []);
    await runPannierOk(follow, { cwd });
    const { stdout } = await runPannierOk(["status", "target"], { cwd });
    expect(stdout).toMatch(/^signed +image, \(cosign-key SHA256:s2So62wy/m);
    const told = await runPannierOk(["history", "target"], { cwd });
    expect(told.stdout.match(/^ {2}signed: image, \(cosign-key/gm)).toHaveLength(2);

    await writeFile(join(cwd, "page"), "three");
    await runPannierOk(["push", "./page", url], { cwd });
    expect(await runPannier(follow, { cwd })).toMatchObject({ code: 6 });
    expect(await readFile(join(cwd, "target/current/page"), "utf8")).toBe("two");
  },
);

test("a signing key that cannot be opened: nothing is fetched or pushed", async () => {
  await signingKey();
  await writeFile(join(cwd, "password"), "close sesame");
  const url = `oci+file://${cwd}/layout:live`;
  const sign = ["--sign", "cosign.key", "--sign-password-file"];
  for (const args of [
    [...sign, "password"],
    [...sign, "none"],
    ["--sign", "none"],
    sign.slice(2),
  ]) {
    const rest = args.length === 1 ? [...args, "password"] : args;
    const outcome = await runPannier(["push", "./page", url, ...rest], { cwd });
    expect(outcome, rest.join(" ")).toMatchObject({ code: 2 });
    expect(outcome.stdout + outcome.stderr).not.toContain("sesame");
  }
  await expect(readFile(join(cwd, "layout/index.json"))).rejects.toThrow("ENOENT");
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

test("a relay signs what it pushes, by files beside the configuration", async () => {
  await signingKey();
  const url = `oci+file://${cwd}/layout:live`;
  const file = join(cwd, "pannier.yaml");
  await writeFile(
    file,
    `http: { enabled: false }\nmounts:\n  - target: work\n    sources: [./page]\n    push: { to: "${url}", sign: { keyFile: cosign.key, passwordFile: password } }\n`,
  );
  await runPannierOk(["run", "--once", "--config", file], { cwd: tmpdir() });
  const follow = ["sync", url, "target", "--signed-by", "cosign-key:cosign.pub"];
  expect(await runPannier(follow, { cwd })).toMatchObject({ code: 0 });
});

test("a relay to what is no image is refused at the start", async () => {
  await writeFile(
    join(cwd, "pannier.yaml"),
    `http: { enabled: false }\nmounts:\n  - target: work\n    sources: [./page]\n    push: { to: "s3://x/y", layers: 1 }\n`,
  );
  const wrong = await runPannier(["run", "--once"], { cwd });
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("not an image") });
});
