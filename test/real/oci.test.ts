/** The oci adapter against registries that people run, with what other programs write. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { link, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describeAdapter, listAll, openSource, readAll } from "@pannier/adapter-kit";
import { oci, ociAdapter } from "@pannier/adapter-oci";
import * as vitest from "vitest";
import { describe, expect, onTestFinished, test } from "vitest";
import { gzipLayer, membersOf, putImage } from "../../packages/adapter-oci/test/images.ts";
import { makeStores } from "../../packages/adapter-oci/test/stores.ts";
import { runPannierOk } from "../support/pannier.ts";
import { findProgram } from "./servers/process.ts";
import { describeWith } from "./support.ts";

const execute = promisify(execFile);

async function work(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "pannier-oci-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

async function tree(url: string, options = {}): Promise<Record<string, string>> {
  const opened = await openSource(oci(url, options));
  try {
    const { entries } = await listAll(opened.source);
    const shown: Record<string, string> = {};
    for (const [path, entry] of entries) {
      shown[path] =
        entry.kind === "symlink"
          ? `-> ${entry.target}`
          : (await readAll(opened.source, entry)).toString();
    }
    return shown;
  } finally {
    await opened.close();
  }
}

for (const name of ["distribution", "craneRegistry"] as const) {
  describeWith(name, name, ({ port, locked }) => {
    const url = (repository: string, at = port) => `oci+http://127.0.0.1:${at}/${repository}`;

    describe("images of one layer", () => {
      const stores = makeStores(
        async (files, modified) => [await gzipLayer(membersOf(files, modified))],
        (store, at) => url(`conformance/${store}`, at),
        { host: "127.0.0.1", port },
      );
      describeAdapter(
        vitest,
        {
          adapter: ociAdapter as never,
          traits: { network: "http", integrity: true },
          ...stores,
        },
        { idleTimeout: 1500, largeFile: 16 << 20 },
      );
    });

    const oras = findProgram("oras");
    test.skipIf(oras === undefined)(
      "files and directories that ORAS pushed",
      { meta: { skipReason: "no oras" } },
      async () => {
        const cwd = await work();
        await mkdir(join(cwd, "docs/deep"), { recursive: true });
        await writeFile(join(cwd, "a.txt"), "a");
        await writeFile(join(cwd, "empty"), "");
        await writeFile(join(cwd, "docs/deep/b"), "b");
        const target = `127.0.0.1:${port}/oras/files:v1`;
        await execute(
          oras as string,
          ["push", "--plain-http", target, "a.txt:text/plain", "empty", "docs"],
          { cwd },
        );
        expect(await tree(url("oras/files:v1"))).toEqual({
          "a.txt": "a",
          empty: "",
          "docs/deep/b": "b",
        });
      },
    );

    const buildah = findProgram("buildah");
    test.skipIf(buildah === undefined)(
      "an image that buildah made, with whiteouts",
      { meta: { skipReason: "no buildah" } },
      async () => {
        const cwd = await work();
        const storage = ["--root", join(cwd, "root"), "--runroot", join(cwd, "run")];
        const all = [...storage, "--storage-driver", "vfs"];
        const run = async (...args: readonly string[]) =>
          (await execute(buildah as string, [...all, ...args], { cwd })).stdout.trim();
        await mkdir(join(cwd, "site/old"), { recursive: true });
        await writeFile(join(cwd, "site/page"), "1");
        await writeFile(join(cwd, "site/old/x"), "1");
        const first = await run("from", "scratch");
        await run("copy", first, "site", "/site");
        await run("commit", first, "base");
        const second = await run("from", "localhost/base");
        const mounted = await run("mount", second);
        await rm(join(mounted, "site/old"), { recursive: true });
        await writeFile(join(mounted, "site/new"), "2");
        await run("commit", second, "next");
        const target = `127.0.0.1:${port}/buildah/site:v1`;
        await run("push", "--tls-verify=false", "localhost/next", `docker://${target}`);
        expect(await tree(url("buildah/site:v1"))).toEqual({ "site/page": "1", "site/new": "2" });
        await run("push", "--format", "v2s2", "--tls-verify=false", "next", `docker://${target}`);
        expect(await tree(url("buildah/site:v1"), { path: "site" })).toEqual({
          page: "1",
          new: "2",
        });
        // The same in a layout.
        await run("push", "localhost/next", `oci:${join(cwd, "layout")}:v1`);
        expect(await tree(`oci+file://${cwd}/layout:v1`)).toEqual({
          "site/page": "1",
          "site/new": "2",
        });
      },
    );

    const podman = findProgram("podman");
    test.skipIf(buildah === undefined || podman === undefined)(
      "an image that podman pushed in zstd:chunked form is followed by its tables of contents",
      { meta: { skipReason: "no buildah or no podman" } },
      async () => {
        const cwd = await work();
        const storage = ["--root", join(cwd, "root"), "--runroot", join(cwd, "run")];
        const all = [...storage, "--storage-driver", "vfs"];
        const target = `127.0.0.1:${port}/podman/site:live`;
        await mkdir(join(cwd, "site/deep"), { recursive: true });
        const random = randomBytes(3 << 20);
        // With holes and hard links, which its tables tell of in ways of their own.
        await writeFile(
          join(cwd, "site/holes"),
          Buffer.concat([random, Buffer.alloc(5 << 20), random]),
        );
        await writeFile(join(cwd, "site/deep/page"), "1");
        await link(join(cwd, "site/deep/page"), join(cwd, "site/same"));
        const push = async () => {
          const container = await execute(buildah as string, [...all, "from", "scratch"]);
          const id = container.stdout.trim();
          await execute(buildah as string, [...all, "copy", id, join(cwd, "site"), "/"]);
          await execute(buildah as string, [...all, "commit", id, "image"]);
          const form = ["--tls-verify=false", "--compression-format", "zstd:chunked"];
          const to = [...form, "localhost/image", `docker://${target}`];
          await execute(podman as string, [...all, "push", ...to]);
        };
        await push();
        const sync = async () => {
          const args = ["sync", url("podman/site:live"), "target", "--json"];
          const { stdout } = await runPannierOk(args, { cwd });
          await execute("diff", ["-r", "site", "target/current"], { cwd });
          return JSON.parse(stdout.trim().split("\n").at(-1) as string) as object;
        };
        expect(await sync()).toMatchObject({ added: 3 });
        await writeFile(join(cwd, "site/new"), "2");
        await push();
        // The table and the one file that is new, not the megabytes beside it.
        expect(await sync()).toMatchObject({ added: 1, changed: 0, requests: 4, received: 1 });
      },
    );

    test.skipIf(locked === undefined)(
      "a registry that asks for a password",
      { meta: { skipReason: "this one has none" } },
      async () => {
        const { port: at, user, password } = locked as NonNullable<typeof locked>;
        const secret = encodeURIComponent(password);
        const signedIn = `oci+http://${user}:${secret}@127.0.0.1:${at}/team/site:v1`;
        await putImage(signedIn, [await gzipLayer([{ name: "a", content: "1" }])]);
        expect(await tree(signedIn)).toEqual({ a: "1" });
        await expect(tree(url("team/site:v1", at))).rejects.toMatchObject({ code: "auth" });
        await expect(tree(signedIn.replace(secret, "no"))).rejects.toMatchObject({ code: "auth" });
      },
    );

    test("the program follows a tag: one request says that nothing changed", async () => {
      const cwd = await work();
      const at = url("program/site:live");
      await putImage(at, [await gzipLayer([{ name: "a", content: "1" }])]);
      expect((await runPannierOk(["sync", at, "target"], { cwd })).stdout).toContain("1 added");
      expect((await runPannierOk(["sync", at, "target"], { cwd })).stdout).toContain("unchanged");
      await putImage(at, [await gzipLayer([{ name: "a", content: "2" }])]);
      expect((await runPannierOk(["sync", at, "target"], { cwd })).stdout).toContain("1 changed");
    });
  });
}
