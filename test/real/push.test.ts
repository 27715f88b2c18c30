/** What is pushed, by the registries and readers that people run. */
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { createFaultProxy, describeAdapter } from "@pannier/adapter-kit";
import { ociAdapter } from "@pannier/adapter-oci";
import * as vitest from "vitest";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { pushFiles } from "../../packages/artifact/test/trees.ts";
import { runPannierOk } from "../support/pannier.ts";
import { imageStores } from "../support/stores.ts";
import { findProgram } from "./servers/process.ts";
import { describeWith } from "./support.ts";

const execute = promisify(execFile);

async function work(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pannier-push-real-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Files that compress to half, in directories, with what is not plain among them. */
async function makeSite(directory: string, files: number): Promise<void> {
  for (let i = 0; i < files; i++) {
    const path = join(directory, `dir-${i % Math.ceil(files / 100)}/file-${i}`);
    await mkdir(dirname(path), { recursive: true });
    const text = Array.from({ length: 43 }, (_, line) =>
      createHash("sha512").update(`${i} ${line}`).digest("hex"),
    );
    await writeFile(path, text.join(""));
  }
  await writeFile(join(directory, "program"), "#!/bin/sh\n", { mode: 0o755 });
  await writeFile(join(directory, "empty"), "");
  await mkdir(join(directory, "é"));
  await writeFile(join(directory, "é", "日本語 ".repeat(8)), "1");
  await symlink("dir-0/file-0", join(directory, "link"));
  await writeFile(join(directory, "large"), randomBytes(20 << 20));
}

const differences = (one: string, other: string) =>
  execute("diff", ["--no-dereference", "-rq", one, other]).then(
    ({ stdout }) => stdout,
    ({ stdout }: { stdout: string }) => stdout,
  );

for (const name of ["distribution", "craneRegistry"] as const) {
  describeWith(name, name, ({ port }) => {
    const host = `127.0.0.1:${port}`;
    let site = "";
    const image = `${host}/pushed/site:live`;
    const url = `oci+http://${image}`;

    beforeAll(async () => {
      site = await mkdtemp(join(tmpdir(), "pannier-site-"));
      await makeSite(site, 2000);
      await runPannierOk(["push", site, url, "--symlinks", "all"], {});
      return () => rm(site, { recursive: true, force: true });
    });

    describe("images that are pushed", () => {
      const stores = imageStores(
        (files, to) => pushFiles(files, to, { layers: 100 }),
        (store, at = port) => `oci+http://127.0.0.1:${at}/pushed/${store}`,
        { host: "127.0.0.1", port },
      );
      describeAdapter(
        vitest,
        {
          adapter: ociAdapter as never,
          traits: {
            network: "http",
            integrity: true,
            mtimes: false,
            holds: (path) => !/(?:^|\/)\.wh\./.test(path),
          },
          ...stores,
        },
        { idleTimeout: 1500, largeFile: 20 << 20 },
      );
    });

    const crane = findProgram("crane");
    test.skipIf(crane === undefined)(
      "crane exports the tree; a copy of the image is followed as well",
      { meta: { skipReason: "no crane" } },
      async () => {
        const cwd = await work();
        await mkdir(join(cwd, "out"));
        await execute(crane as string, ["export", "--insecure", image, "out.tar"], { cwd });
        await execute("tar", ["-xf", "out.tar", "-C", "out"], { cwd });
        expect(await differences(site, join(cwd, "out"))).toBe("");
        const copy = `${host}/copied/site:live`;
        await execute(crane as string, ["copy", "--insecure", image, copy], { cwd });
        await runPannierOk(["sync", `oci+http://${copy}`, "target"], { cwd });
        expect(await differences(site, join(cwd, "target/current"))).toBe("");
      },
    );

    const oras = findProgram("oras");
    test.skipIf(oras === undefined)(
      "oras copies it, into a layout too",
      { meta: { skipReason: "no oras" } },
      async () => {
        const cwd = await work();
        const to = ["--from-plain-http", "--to-oci-layout", image, "layout:live"];
        await execute(oras as string, ["copy", ...to], { cwd });
        await runPannierOk(["sync", `oci+file://${cwd}/layout:live`, "target"], { cwd });
        expect(await differences(site, join(cwd, "target/current"))).toBe("");
      },
    );

    const podman = findProgram("podman");
    test.skipIf(podman === undefined)(
      "podman pulls the tree",
      { meta: { skipReason: "no podman" } },
      async () => {
        const cwd = await work();
        const storage = ["--root", join(cwd, "root"), "--runroot", join(cwd, "run")];
        const run = async (...args: readonly string[]) =>
          (await execute(podman as string, [...storage, "--storage-driver", "vfs", ...args]))
            .stdout;
        await run("pull", "--tls-verify=false", image);
        const mounted = (await run("image", "mount", image)).trim();
        onTestFinished(async () => void (await run("image", "unmount", image)));
        expect(await differences(site, mounted)).toBe("");
      },
    );

    const skopeo = findProgram("skopeo");
    const copy = (from: string, to: string) => {
      const plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
      return execute(skopeo as string, ["copy", ...plain, from, to]);
    };
    test.skipIf(skopeo === undefined)(
      "skopeo copies it into a layout, and a layout that is pushed to into the registry",
      { meta: { skipReason: "no skopeo" } },
      async () => {
        const cwd = await work();
        await copy(`docker://${image}`, `oci:${cwd}/copied:live`);
        await runPannierOk(["sync", `oci+file://${cwd}/copied:live`, "one"], { cwd });
        expect(await differences(site, join(cwd, "one/current"))).toBe("");
        const layout = `oci+file://${cwd}/pushed:live`;
        await runPannierOk(["push", site, layout, "--symlinks", "all"], { cwd });
        const other = `${host}/skopeo/site:live`;
        await copy(`oci:${cwd}/pushed:live`, `docker://${other}`);
        await runPannierOk(["sync", `oci+http://${other}`, "other"], { cwd });
        expect(await differences(site, join(cwd, "other/current"))).toBe("");
      },
    );

    test("one changed file costs a layer to push, and four requests of at most 60 KiB to follow", async () => {
      const cwd = await work();
      const other = join(cwd, "site");
      await execute("cp", ["-a", site, other]);
      const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port } });
      onTestFinished(() => proxy.close());
      const direct = `oci+http://${host}/pushed/change:live`;
      const through = `oci+http://127.0.0.1:${proxy.port}/pushed/change:live`;
      const options = { cwd };
      await runPannierOk(["push", "./site", direct, "--work", "work"], options);
      await runPannierOk(["sync", through, "target"], options);
      await writeFile(join(other, "dir-3/file-3"), "changed");
      const args = ["push", "./site", direct, "--work", "work", "--json"];
      expect(JSON.parse((await runPannierOk(args, options)).stdout)).toMatchObject({
        changed: true,
        sentLayers: 1,
      });
      const before = proxy.stats.received;
      const synced = await runPannierOk(["sync", through, "target", "--json"], options);
      const result = JSON.parse(synced.stdout.trim().split("\n").at(-1) as string) as object;
      expect(result).toMatchObject({ changed: 1, added: 0, deleted: 0, requests: 4 });
      expect(proxy.stats.received - before).toBeLessThan(60 << 10);
      expect(await differences(other, join(cwd, "target/current"))).toBe("");

      const quiet = await runPannierOk(["sync", through, "target", "--json"], options);
      expect(JSON.parse(quiet.stdout.trim().split("\n").at(-1) as string)).toMatchObject({
        result: "unchanged",
        requests: 1,
      });
    });

    test("a registry that fails for a while is tried again", async () => {
      const cwd = await work();
      await writeFile(join(cwd, "page"), "1");
      const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port } });
      onTestFinished(() => proxy.close());
      const at = `oci+http://127.0.0.1:${proxy.port}/pushed/faults:live`;
      await proxy.set({ http: { status: 503, probability: 0.3, first: 4, seed: 7 } });
      await runPannierOk(["push", "./page", at], { cwd });
      await proxy.set({});
      await runPannierOk(["sync", at, "target"], { cwd });
      expect(await differences(join(cwd, "page"), join(cwd, "target/current/page"))).toBe("");
    });
  });
}
