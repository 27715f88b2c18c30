/** The nfs adapter against NFS-Ganesha and rclone. */
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  createFaultProxy,
  describeAdapter,
  listAll,
  openSource,
  readAll,
} from "@pannier/adapter-kit";
import { nfs, nfsAdapter } from "@pannier/adapter-nfs";
import { sync } from "@pannier/core";
import * as vitest from "vitest";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type RunOptions, runPannier } from "../support/pannier.ts";
import { makeShare } from "../support/share.ts";
import { runNfs } from "./servers/nfs.ts";
import { end, findProgram, listening, run as runServer, until } from "./servers/process.ts";
import { shareTrials } from "./share-trials.ts";
import { describeWith } from "./support.ts";

const run = promisify(execFile);
const WITHOUT_LOW_PORTS = ["setpriv", "--bounding-set", "-net_bind_service"];

function urlOf(directory: string, port: number): string {
  return `nfs://127.0.0.1:${port}${directory.split("/").map(encodeURIComponent).join("/")}`;
}

describeWith("nfs", "NFS version 4 from NFS-Ganesha", (server) => {
  const { root, privilegedRoot, port } = server;
  let directory = "";
  let url = "";

  beforeAll(async () => {
    directory = await folder(root);
    url = urlOf(directory, port);
    await mkdir(join(directory, "sub"));
    await writeFile(join(directory, "a"), "1");
    await writeFile(join(directory, "sub/b"), "22");
    await writeFile(join(privilegedRoot, "p"), "3");
  });

  describeAdapter(vitest, {
    adapter: nfsAdapter as never,
    traits: { network: "tcp" },
    failures: {
      "not-found": (store) => ({ url: `${store.source({}).url}/missing` }),
      unavailable: () => ({ url: "nfs://127.0.0.1:1/export/" }),
    },
    create: (files) =>
      makeShare(files, {
        parent: root,
        server: { host: "127.0.0.1", port },
        address: (at, one) => ({ url: urlOf(at, one) }),
      }),
  });

  describe("a server in trouble", () => {
    shareTrials({
      root,
      port,
      start: (one) => runNfs(server, one),
      source: (at, one) => nfs(urlOf(at, one)),
      credentials: {},
    });
  });

  test("a helper that is killed in the middle of a read costs a retry", async () => {
    const at = await folder(root);
    const content = randomBytes(48 << 20);
    await writeFile(join(at, "large"), content);
    const target = await folder(tmpdir());
    const killed: number[] = [];
    await sync({
      sources: [nfs(urlOf(at, port))],
      target,
      attempts: 3,
      onEvent: (event) => {
        if (event.type !== "progress" || event.bytes < 1 << 20 || killed.length > 0) return;
        killed.push(...helpers());
        for (const pid of killed) process.kill(pid, "SIGKILL");
      },
    });
    expect(killed.length).toBe(1);
    expect(digest(await readFile(join(target, "current/large")))).toBe(digest(content));
  });

  test("a helper that saw hundreds of connections break is replaced", async () => {
    const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port } });
    onTestFinished(() => proxy.close());
    const { source } = await open(url.replace(`:${port}`, `:${proxy.port}`));
    const before = (await listAll(source)).paths;
    await until("the end of earlier helpers", async () => helpers().length === 1);
    const [first] = helpers();
    // Enough to ping the server, and too little to connect.
    await proxy.set({ resetAfter: 300 });
    let broken = 0;
    while (helpers()[0] === first && broken < 300) {
      await expect(listAll(source)).rejects.toMatchObject({ code: "unavailable" });
      broken++;
    }
    expect(broken).toBeGreaterThan(190);
    expect(broken).toBeLessThan(220);
    await proxy.set({});
    await until("another helper", () =>
      listAll(source).then(
        ({ paths }) => paths.join() === before.join(),
        () => false,
      ),
    );
    expect(helpers()).not.toContain(first);
  });

  test("directories are read on several connections", async () => {
    const at = await folder(root);
    for (let i = 0; i < 30; i++) await mkdir(join(at, `${i}`));
    const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port } });
    onTestFinished(() => proxy.close());
    // So slow that one connection cannot have read all before there is another.
    await proxy.set({ delay: 20 });
    const { source } = await open(urlOf(at, proxy.port));
    expect((await listAll(source)).paths).toEqual([]);
    // They are kept for a while.
    expect(proxy.stats.open).toBeGreaterThan(1);
    expect(proxy.stats.open).toBeLessThanOrEqual(8);
  });

  test("one file, and paths through symlinks to both kinds", async () => {
    expect(await pathsOf(`${url}/sub/b`)).toEqual(["b"]);
    const { source } = await open(`${url}/sub/b`);
    expect(String(await readAll(source, (await listAll(source)).file("b")))).toBe("22");

    const links = await folder(root);
    await symlink(directory, join(links, "absolute"));
    await symlink(`../${directory.slice(root.length + 1)}`, join(links, "relative"));
    await symlink("relative", join(links, "second"));
    await symlink("relative/sub/b", join(links, "file"));
    await symlink("loop", join(links, "loop"));
    await symlink("gone", join(links, "dangling"));
    const at = urlOf(links, port);
    for (const name of ["absolute", "relative", "second"]) {
      expect(await pathsOf(`${at}/${name}/`), name).toEqual(["a", "sub/b"]);
      expect(await pathsOf(`${at}/${name}/sub`), name).toEqual(["b"]);
    }
    expect(await pathsOf(`${at}/file`)).toEqual(["file"]);
    for (const name of ["loop", "dangling"])
      expect(await failing(`${at}/${name}`), name).toMatchObject({ code: "not-found" });
  });

  replacedDirectories(root, (at) => open(urlOf(at, port)));

  test("the ids that are given are those that the server decides by", async () => {
    const at = await folder(root);
    await writeFile(join(at, "secret"), "x", { mode: 0o600 });
    await mkdir(join(at, "closed"), { mode: 0o700 });
    await writeFile(join(at, "closed/file"), "x");
    const ours = await open(`${urlOf(at, port)}?uid=0&gid=0`);
    const listed = await listAll(ours.source);
    expect(listed.paths).toEqual(["closed/file", "secret"]);
    expect(String(await readAll(ours.source, listed.file("secret")))).toBe("x");

    const others = await open(`${urlOf(at, port)}?uid=4242&gid=4242`);
    await expect(readAll(others.source, listed.file("secret"))).rejects.toMatchObject({
      code: "auth",
      message: 'no permission to read "secret"',
      hint: expect.stringMatching(/uid=…&gid=…/),
    });
    await expect(listAll(others.source)).rejects.toMatchObject({ code: "auth" });
    // What the id -2 is with 32 bits.
    await run("chown", ["4294967294", join(at, "secret")]);
    const last = await open(`${urlOf(at, port)}?uid=4294967294`);
    expect(String(await readAll(last.source, listed.file("secret")))).toBe("x");
    // The group alone opens it.
    await chmod(join(at, "closed"), 0o750);
    await run("chgrp", ["4242", join(at, "closed")]);
    expect((await listAll(others.source)).paths).toEqual(["closed/file", "secret"]);
  });

  test("leaves out what is no file, and says so; refuses names that are not UTF-8", async () => {
    const at = await folder(root);
    await writeFile(join(at, "file"), "x");
    await run("mkfifo", [join(at, "pipe"), join(at, "pipe2")]);
    const opened = await open(urlOf(at, port));
    expect((await listAll(opened.source)).paths).toEqual(["file"]);
    expect(opened.warnings).toEqual([
      expect.stringMatching(/^left out a FIFO.*: "pipe2?" and 1 more$/),
    ]);
    await writeFile(Buffer.concat([Buffer.from(`${at}/caf`), Buffer.from([0xe9])]), "x");
    await expect(listAll(opened.source)).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringMatching(/is not UTF-8/),
    });
  });

  test("an export for privileged ports is read where we may use them", async () => {
    expect(await pathsOf(urlOf(privilegedRoot, port))).toEqual(["p"]);
  });

  describe("what is wrong is told in one line, with the contract's exit code", () => {
    test.each([
      ["no such path", () => `${url}/missing/`, 4, /does not exist\. Check the path/],
      ["no such export", () => `nfs://127.0.0.1:${port}/nowhere/`, 4, /does not exist.*showmount/],
      [
        "an export for privileged ports, where we have none",
        () => urlOf(privilegedRoot, port),
        4,
        /does not exist.*ports below 1024.*insecure.*PrivilegedPort/,
        WITHOUT_LOW_PORTS,
      ],
      ["a refused connection", () => "nfs://127.0.0.1:1/x/", 5, /refused.*Check the host/],
      ["a host that is not known", () => "nfs://host.invalid/x/", 5, /host name/],
      ["a version that the server lacks", () => `${url}?version=3`, 2, /try \?version=4/i],
      ["an unknown option", () => `${url}?user=x`, 2, /unknown option "user"/],
    ] as [string, () => string, number, RegExp, string[]?][])("%s", async (_, ...wrong) => {
      const [make, exit, words, by] = wrong;
      const { code, line } = await failingProgram(make(), by === undefined ? {} : { by });
      expect(line).toMatch(words);
      expect(code).toBe(exit);
    });

    test("a server of another protocol on the port", async () => {
      for (const greeting of ["220 ftp ready\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"]) {
        const other = createServer((socket) => {
          socket.on("error", () => {});
          socket.end(greeting);
        }).listen(0, "127.0.0.1");
        await once(other, "listening");
        const { port: one } = other.address() as AddressInfo;
        const { code, line } = await failingProgram(`nfs://127.0.0.1:${one}/x/`);
        other.close();
        expect(line).toMatch(/does not speak NFS\. Check the port/);
        expect(code).toBe(5);
      }
    });

    test("the library is not installed", async () => {
      const library = libraryPath();
      const hidden = `mount --bind /dev/null ${library} && exec "$@"`;
      const { code, line } = await failingProgram(url, {
        by: ["unshare", "--mount", "sh", "-ec", hidden, "sh"],
      });
      expect(line).toMatch(/libnfs, which cannot be loaded\. Install the package libnfs13/);
      expect(code).toBe(2);
    });
  });
});

describeWith("nfs3", "NFS version 3 from NFS-Ganesha", (server) => {
  const { root, privilegedRoot, port, mountPort, pid } = server;
  const options = { version: "3", mountPort };

  describeAdapter(vitest, {
    adapter: nfsAdapter as never,
    traits: { network: "tcp" },
    failures: {
      "not-found": (store) => ({ url: `${store.source({}).url}/missing`, options }),
    },
    create: (files) =>
      makeShare(files, {
        parent: root,
        server: { host: "127.0.0.1", port },
        address: (at, one) => ({ url: urlOf(at, one), options }),
      }),
  });

  replacedDirectories(root, (at) => open(urlOf(at, port), options));

  test("one file, symlinks, and ids", async () => {
    const at = await folder(root);
    await writeFile(join(at, "secret"), "x", { mode: 0o600 });
    await symlink("secret", join(at, "link"));
    await symlink(".", join(at, "self"));
    for (const [path, name] of [
      ["secret", "secret"],
      ["link", "link"],
      ["self/self/link", "link"],
    ]) {
      const { source } = await open(`${urlOf(at, port)}/${path}`, options);
      const entry = (await listAll(source)).file(name as string);
      expect(String(await readAll(source, entry)), path).toBe("x");
      const others = await open(`${urlOf(at, port)}/${path}?uid=4242&gid=4242`, options);
      await expect(readAll(others.source, entry)).rejects.toMatchObject({ code: "auth" });
    }
  });

  describe("where the portmapper tells the ports", () => {
    const by = ["nsenter", `--net=/proc/${pid}/ns/net`];

    test("an export and a directory below it", async () => {
      const at = await folder(root);
      await mkdir(join(at, "sub"));
      await writeFile(join(at, "sub/file"), "x");
      for (const [path, listed] of [
        [at, "sub/file"],
        [`${at}/sub`, "file"],
        [`${at}/sub/file`, "file"],
      ]) {
        const url = `nfs://127.0.0.1${path}?version=3`;
        const { code, stdout, stderr } = await runPannier(["ls", "--json", url], { by });
        expect(code, stderr).toBe(0);
        expect(stdout).toContain(`"${listed}"`);
      }
    });

    test("an export for privileged ports, where we may use them, and where not", async () => {
      const url = `nfs://127.0.0.1${privilegedRoot}/?version=3`;
      const { code, stderr } = await runPannier(["ls", url], { by });
      expect(code, stderr).toBe(0);
      const refused = await failingProgram(url, { by: [...by, ...WITHOUT_LOW_PORTS] });
      // All that libnfs tells of it.
      expect(refused.line).toMatch(/connection .* broke.*ports below 1024.*PrivilegedPort/);
      expect(refused.code).toBe(5);
    });

    test("no such export, and version 4 of a server that lacks it, in one line", async () => {
      const missing = await failingProgram("nfs://127.0.0.1/nowhere/?version=3", { by });
      expect(missing.line).toMatch(/does not exist|refused the export/);
      expect([3, 4]).toContain(missing.code);
      const version = await failingProgram("nfs://127.0.0.1/nowhere/", { by });
      expect(version.line).toMatch(/does not speak version 4 of NFS\. Try \?version=3/);
      expect(version.code).toBe(2);
    });
  });
});

const rclone = findProgram("rclone");

describe.skipIf(rclone === undefined)("rclone", { meta: { skipReason: "no rclone" } }, () => {
  test("a server that cannot list its exports, by version 3", async () => {
    const at = await folder(tmpdir());
    await mkdir(join(at, "sub"));
    await writeFile(join(at, "a"), "1");
    await writeFile(join(at, "sub/b"), "22");
    const { child, ports } = await listening("rclone serve nfs", 1, async ([one]) => {
      const args = ["serve", "nfs", at, "--addr", `127.0.0.1:${one}`, "--config", "/dev/null"];
      return runServer(rclone as string, args, { quiet: true });
    });
    onTestFinished(() => end(child));
    const [port = 0] = ports;
    const options = { version: "3", mountPort: port };
    const { source } = await open(urlOf("/", port), options);
    // The second asks again.
    for (let time = 1; time <= 2; time++) {
      const listed = await listAll(source);
      expect(listed.paths).toEqual(["a", "sub/b"]);
      expect(String(await readAll(source, listed.file("sub/b")))).toBe("22");
    }
    const missing = await open(urlOf("/missing", port), options);
    await expect(listAll(missing.source)).rejects.toMatchObject({ code: "not-found" });
  });
});

function replacedDirectories(
  root: string,
  openAt: (directory: string) => ReturnType<typeof open>,
): void {
  test("a directory that is renamed into the source's place is noticed, and so is one that is recreated", async () => {
    const parent = await folder(root);
    const at = join(parent, "site");
    await mkdir(at);
    await writeFile(join(at, "old"), "1");
    const { source } = await openAt(at);
    const old = await listAll(source);
    expect(old.paths).toEqual(["old"]);

    await mkdir(join(parent, "next"));
    await writeFile(join(parent, "next/new"), "22");
    await rename(at, join(parent, "before"));
    await rename(join(parent, "next"), at);
    expect((await listAll(source)).paths).toEqual(["new"]);
    await expect(readAll(source, old.file("old"))).rejects.toMatchObject({ code: "not-found" });

    // The connections hold a handle of a directory that is gone now: stale.
    await rm(at, { recursive: true });
    await mkdir(at);
    await writeFile(join(at, "newest"), "333");
    const listed = await listAll(source);
    expect(listed.paths).toEqual(["newest"]);
    await rm(at, { recursive: true });
    await expect(readAll(source, listed.file("newest"))).rejects.toMatchObject({
      code: expect.stringMatching(/^(not-found|unavailable)$/),
    });
    await mkdir(at);
    await writeFile(join(at, "last"), "4444");
    const last = await listAll(source);
    expect(String(await readAll(source, last.file("last")))).toBe("4444");
  });
}

async function open(url: string, options: Readonly<Record<string, unknown>> = {}) {
  const opened = await openSource(nfs(url, options as never));
  onTestFinished(() => opened.close());
  return opened;
}

async function pathsOf(url: string): Promise<readonly string[]> {
  return (await listAll((await open(url)).source)).paths;
}

async function failing(url: string): Promise<unknown> {
  const { source } = await open(url);
  return listAll(source).then(
    () => expect.unreachable("it was listed"),
    (error: unknown) => error,
  );
}

async function failingProgram(source: string, options: RunOptions = {}) {
  const target = await folder(tmpdir());
  const { code, stderr } = await runPannier(["sync", source, target], {
    ...options,
    // What is tried again is told as well.
    env: { PANNIER_LOG_LEVEL: "error" },
  });
  const lines = stderr.trim().split("\n");
  expect(lines.length, stderr).toBe(1);
  return { code, line: lines[0] };
}

/** A directory that all may read. */
async function folder(parent: string): Promise<string> {
  const at = await mkdtemp(join(parent, "nfs-"));
  await chmod(at, 0o755);
  return at;
}

/** The helper processes of this one. */
function helpers(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        const status = readFileSync(`/proc/${pid}/status`, "utf8");
        return command.includes("nfs-helper") && status.includes(`\nPPid:\t${process.pid}\n`);
      } catch {
        // It has ended since.
        return false;
      }
    });
}

function libraryPath(): string {
  const directories = readdirSync("/usr/lib").map((name) => `/usr/lib/${name}/libnfs.so.13`);
  return realpathSync(directories.find((path) => existsSync(path)) as string);
}

function digest(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}
