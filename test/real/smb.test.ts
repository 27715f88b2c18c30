/** The smb adapter against Samba. */
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, realpathSync, renameSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rename, rm, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import {
  createFaultProxy,
  describeAdapter,
  listAll,
  openSource,
  readAll,
} from "@pannier/adapter-kit";
import { smb, smbAdapter } from "@pannier/adapter-smb";
import { type Credentials, type FileEntry, type SourceError, sync } from "@pannier/core";
import * as vitest from "vitest";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { runPannier } from "../support/pannier.ts";
import { makeShare } from "../support/share.ts";
import { end, listening, until } from "./servers/process.ts";
import { offerShare, openFiles, runSmb, setSmbPassword } from "./servers/smb.ts";
import { shareTrials } from "./share-trials.ts";
import { describeWith } from "./support.ts";

describeWith("smb", "SMB from Samba", (server) => {
  const { root, port, user, password, workgroup } = server;
  const credentials: Credentials = { username: user, password };
  let directory = "";
  /** Below the share `files`. */
  let path = "";

  const urlOf = (at: string, by = port, share = "files") =>
    `smb://127.0.0.1:${by}/${share}${at.split("/").map(encodeURIComponent).join("/")}`;

  beforeAll(async () => {
    directory = await mkdtemp(join(root, "plain-"));
    await chmod(directory, 0o755);
    path = `/${basename(directory)}`;
    await mkdir(join(directory, "sub"));
    await writeFile(join(directory, "a"), "1");
    await writeFile(join(directory, "sub/b"), "22");
  });

  for (const [what, own] of [
    ["as it comes", port],
    ["where all must be signed", server.signingPort],
    ["where all must be encrypted", server.encryptingPort],
  ] as const) {
    describe(`${what}`, () => {
      describeAdapter(
        vitest,
        {
          adapter: smbAdapter as never,
          traits: {
            network: "tcp",
            integrity: true,
            symlinks: false,
            modes: "none",
            // What Samba shows under another name, for clients that cannot have it in one.
            holds: (at) => !/[\\:*?"<>|\p{Cc}]|[. ](\/|$)|(^|\/)CON(\/|$)/u.test(at),
          },
          failures: {
            "not-found": (store) => ({
              ...store.source({}),
              url: `${store.source({}).url}/missing`,
            }),
            auth: (store) => ({
              ...store.source({}),
              credentials: { ...credentials, password: "incorrect" },
            }),
            unavailable: () => ({ url: "smb://127.0.0.1:1/files", credentials }),
          },
          create: (files) =>
            makeShare(files, {
              parent: root,
              server: { host: "127.0.0.1", port: own },
              address: (at, by) => ({ url: urlOf(at.slice(root.length), by), credentials }),
            }),
        },
        { idleTimeout: 1500 },
      );
    });
  }

  describe("a server in trouble", () => {
    shareTrials({
      root,
      port,
      start: (own) => runSmb(server, own),
      source: (at, own) => smb(urlOf(at.slice(root.length), own)),
      credentials,
    });
  });

  describe("signing in", () => {
    test("with a password, also where all must be signed, and with the server's domain", async () => {
      expect(await pathsOf(urlOf(path))).toEqual(["a", "sub/b"]);
      expect(await pathsOf(urlOf(path, server.signingPort))).toEqual(["a", "sub/b"]);
      expect(await pathsOf(`${urlOf(path)}?domain=${workgroup}&sign=off`)).toEqual(["a", "sub/b"]);
      // Samba on its own knows no domains; smb-domain.test.ts has one that does.
      expect(await pathsOf(`${urlOf(path)}?domain=ELSEWHERE`)).toEqual(["a", "sub/b"]);
      const named = { username: `${workgroup}\\${user}`, password };
      expect(await pathsOf(urlOf(path), named)).toEqual(["a", "sub/b"]);
      const inUrl = urlOf(path).replace("//", `//${user}:${encodeURIComponent(password)}@`);
      expect(await pathsOf(inUrl, {})).toEqual(["a", "sub/b"]);
    });

    test("a password that is rotated is taken over where the file has the new one", async () => {
      const passwordFile = await scratch("password", `${password}\n`);
      const by = { username: user, passwordFile };
      expect(await pathsOf(urlOf(path), by)).toEqual(["a", "sub/b"]);
      setSmbPassword(server, "another");
      onTestFinished(() => setSmbPassword(server, password));
      expect(await failing(urlOf(path), by)).toMatchObject({ code: "auth", transient: false });
      await writeFile(passwordFile, "another\n");
      expect(await pathsOf(urlOf(path), by)).toEqual(["a", "sub/b"]);
    });

    test("a server that hangs up meanwhile has not refused the password", async () => {
      const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port } });
      onTestFinished(() => proxy.close());
      for (const cutAfter of [300, 450, 600]) {
        await proxy.set({ cutAfter });
        expect(await failing(urlOf(path, proxy.port)), String(cutAfter)).toMatchObject({
          code: "unavailable",
          transient: true,
        });
      }
      expect(proxy.stats.strikes).toBe(3);
    });

    test("a password that was rotated before the connection broke is taken over as well", async () => {
      const proxy = await createFaultProxy({ target: { host: "127.0.0.1", port } });
      const passwordFile = await scratch("password", password);
      const { source } = await open(urlOf(path, proxy.port), { username: user, passwordFile });
      onTestFinished(() => proxy.close());
      await listAll(source);
      setSmbPassword(server, "another");
      onTestFinished(() => setSmbPassword(server, password));
      await writeFile(passwordFile, "another");
      await proxy.set({ resetAfter: 0, times: 1 });
      // The connection is found broken, made once more by the old password, and then by the new one.
      const codes = new Set<string>();
      await until("a listing", async () => {
        const outcome = await listAll(source).catch((error: SourceError) => error);
        if (outcome instanceof Error) codes.add(outcome.code);
        return !(outcome instanceof Error);
      });
      expect([...codes]).toEqual(["unavailable"]);
    });

    test("as a guest, where guests are let in", async () => {
      expect(await pathsOf(urlOf(path, port, "open"), {})).toEqual(["a", "sub/b"]);
      expect(await failing(urlOf(path), {})).toMatchObject({ code: "auth" });
      expect(await failing(`${urlOf(path, port, "open")}?sign=required`, {})).toMatchObject({
        code: "auth",
        message: "what a guest reads cannot be signed, and must be",
      });
      expect(await failing(`${urlOf(path, port, "open")}?encrypt=required`, {})).toMatchObject({
        code: "unsupported",
      });
    });
  });

  test("a server of SMB 2 is read, but where all must be encrypted", async () => {
    const old = urlOf(path, server.oldPort);
    expect(await pathsOf(old)).toEqual(["a", "sub/b"]);
    expect(await failing(`${old}?encrypt=required`)).toMatchObject({ code: "unsupported" });
  });

  test("what must be encrypted is not read from a server that does not encrypt", async () => {
    const must = "?encrypt=required";
    expect(await pathsOf(urlOf(path) + must)).toEqual(["a", "sub/b"]);
    expect(await pathsOf(urlOf(path, server.plainPort))).toEqual(["a", "sub/b"]);
    expect(await failing(urlOf(path, server.plainPort) + must)).toMatchObject({
      code: "unsupported",
      message: "the connection is not encrypted, and must be",
    });
  });

  test("one file, also as an earlier process listed it", async () => {
    expect(await pathsOf(urlOf(`${path}/sub/b`))).toEqual(["b"]);
    const { source } = await open(urlOf(`${path}/sub/b`));
    const [entry] = (await listAll(source)).entries.values();
    expect(String(await readAll(source, entry as FileEntry))).toBe("22");
    const later = (await open(urlOf(`${path}/sub/b`))).source;
    expect(String(await readAll(later, entry as FileEntry))).toBe("22");
  });

  test("names that SMB cannot have are read by those that Samba gives them", async () => {
    const at = await mkdtemp(join(root, "named-"));
    await chmod(at, 0o755);
    const names = ["a:b", "dot.", "plain"];
    for (const name of names) await writeFile(join(at, name), name);
    const { source, warnings } = await open(urlOf(`/${basename(at)}`));
    const { entries, paths } = await listAll(source);
    expect(warnings).toEqual([
      expect.stringMatching(/^the server makes names up .*: "[AD][0-9A-Z]+~[0-9A-Z]" and 1 more$/),
    ]);
    expect(paths).toEqual([
      expect.stringMatching(/^A[0-9A-Z]{4,5}~[0-9A-Z]$/),
      expect.stringMatching(/^D[0-9A-Z]{4,5}~[0-9A-Z]$/),
      "plain",
    ]);
    const contents: string[] = [];
    for (const entry of entries.values())
      contents.push(String(await readAll(source, entry as FileEntry)));
    expect(contents).toEqual(names);
  });

  test("a file that another reader holds open is not taken half and half", async () => {
    const at = await mkdtemp(join(root, "held-"));
    await chmod(at, 0o755);
    const content = Buffer.alloc(3 << 20, "x");
    await writeFile(join(at, "file"), content);
    await utimes(join(at, "file"), 1000, 1000);
    const { source } = await open(urlOf(`/${basename(at)}`));
    const entry = (await listAll(source)).file("file");
    const signal = new AbortController().signal;
    const parts = await Promise.all([
      source.read(entry, { offset: 0, length: 2 << 20 }, signal),
      source.read(entry, { offset: 2 << 20 }, signal),
    ]);
    const readers = parts.map((part) =>
      (part as AsyncIterable<Uint8Array>)[Symbol.asyncIterator](),
    );
    for (const reader of readers) expect((await reader.next()).done).toBe(false);
    await writeFile(join(at, "file"), Buffer.alloc(3 << 20, "y"));
    await utimes(join(at, "file"), 2000, 2000);
    const outcomes: unknown[] = [];
    for (const reader of readers) {
      outcomes.push(await toTheEnd(reader).catch((error: unknown) => error));
    }
    // Samba tells the first that nothing changed, because the second still has the file open.
    expect(outcomes.at(-1)).toMatchObject({ code: "changed" });
  });

  test("a file that nobody wants any longer is not left open", async () => {
    const at = await mkdtemp(join(root, "left-"));
    await chmod(at, 0o755);
    await writeFile(join(at, "file"), Buffer.alloc(3 << 20, "x"));
    const { source } = await open(urlOf(`/${basename(at)}`));
    const entry = (await listAll(source)).file("file");
    const isOpen = () => openFiles(server).includes(basename(at));
    const begin = async (signal: AbortSignal) => {
      const body = await source.read(entry, undefined, signal);
      return (body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
    };
    const { signal } = new AbortController();
    const reader = await begin(signal);
    expect((await reader.next()).done).toBe(false);
    expect(isOpen()).toBe(true);
    await reader.return?.();
    await until("the end of a read", async () => !isOpen());

    // Given up while it is opened: it is closed once it is open.
    for (let i = 0; i < 20; i++) {
      const leaving = new AbortController();
      const opening = await begin(leaving.signal);
      const outcome = opening.next().catch((error: Error) => error.message);
      for (let turn = 0; turn < i; turn++) await nextTurn();
      leaving.abort(new Error("left"));
      expect(await outcome).toBe("left");
    }
    // The end of the helper, which lasts for 10 s more, would close them as well.
    const before = helpers().map(({ pid }) => pid);
    await until("the end of all reads", async () => !isOpen());
    expect(helpers().filter(({ pid }) => before.includes(pid))).not.toEqual([]);
    expect(String(await readAll(source, entry)).length).toBe(3 << 20);
  });

  test("a share whose directory disappears and returns", async () => {
    const at = await mkdtemp(join(root, "moving-"));
    await chmod(at, 0o755);
    await writeFile(join(at, "file"), "x");
    const { source } = await open(urlOf(`/${basename(at)}`));
    expect((await listAll(source)).paths).toEqual(["file"]);
    await rename(at, `${at}-away`);
    await expect(listAll(source)).rejects.toMatchObject({ code: "not-found" });
    await rename(`${at}-away`, at);
    expect((await listAll(source)).paths).toEqual(["file"]);
  });

  test("a share that is withdrawn and comes back", async () => {
    const own = await listening("smbd", 1, ([one]) => runSmb(server, one as number));
    onTestFinished(() => end(own.child));
    const [ownPort] = own.ports as [number];
    const { source } = await open(urlOf(path, ownPort));
    const outcome = () =>
      listAll(source).then(
        ({ paths }) => paths.join(),
        ({ code }: SourceError) => code,
      );
    expect(await outcome()).toBe("a,sub/b");
    await offerShare(server, ownPort, "files", false);
    // Who is put out is told that the connection broke.
    await until("the end of the share", async () => (await outcome()) === "not-found");
    await offerShare(server, ownPort, "files", true);
    await until("the share", async () => (await outcome()) === "a,sub/b");
    expect(await outcome()).toBe("a,sub/b");
  });

  test("a directory that disappears while it is listed is not taken for one that lost the rest", async () => {
    const at = await mkdtemp(join(root, "vanishing-"));
    await chmod(at, 0o755);
    for (let i = 0; i < 30; i++) {
      await mkdir(join(at, `${i}`));
      await writeFile(join(at, `${i}/file`), "x");
      // So old that it is not read once more.
      await utimes(join(at, `${i}/file`), 1000, 1000);
    }
    const target = await scratch("target");
    let lists = 0;
    const run = () =>
      sync({
        sources: [smb(urlOf(`/${basename(at)}`))],
        target,
        credentials,
        maxDelete: "100%",
        onEvent: (event) => {
          if (event.type === "request" && event.operation === "list" && ++lists === 31 + 20)
            renameSync(at, `${at}-away`);
        },
      });
    expect(await run()).toMatchObject({ files: 30 });
    await expect(run()).rejects.toMatchObject({ cause: { code: "not-found" } });
    expect(await readFile(join(target, "current/29/file"), "utf8")).toBe("x");
  });

  describe("the helper processes", () => {
    test("one that is killed costs a retry", async () => {
      const at = await mkdtemp(join(root, "killed-"));
      await chmod(at, 0o755);
      const content = Buffer.alloc(64 << 20, "content");
      await writeFile(join(at, "large"), content);
      const target = await scratch("target");
      let killed = 0;
      await sync({
        sources: [smb(urlOf(`/${basename(at)}`))],
        target,
        credentials,
        onEvent: (event) => {
          if (event.type !== "progress" || event.bytes < 1 << 20 || killed > 0) return;
          for (const { pid } of helpers()) {
            process.kill(pid, "SIGKILL");
            killed++;
          }
        },
      });
      expect(killed).toBeGreaterThan(0);
      expect((await readFile(join(target, "current/large"))).equals(content)).toBe(true);
    });

    test("nothing that others can see of them holds the password, and they end with the source", async () => {
      const opened = await open(urlOf(path));
      await listAll(opened.source);
      const found = helpers();
      expect(found.length).toBeGreaterThan(0);
      for (const { seen } of found) {
        expect(seen).toContain("smb-helper");
        expect(seen).not.toContain(password);
      }
      await opened.close();
      await until("the end of the helpers", async () => helpers().length === 0);
    });
  });

  async function program(
    source: string,
    env: Record<string, string> = {},
    by: readonly string[] = [],
  ) {
    const { code, stderr } = await runPannier(["sync", source, await scratch("target")], {
      by,
      env: {
        PANNIER_USERNAME: user,
        PANNIER_PASSWORD: password,
        ...env,
      },
    });
    const lines = stderr
      .trim()
      .split("\n")
      .filter((line) => !line.includes(" is tried again in "));
    expect(lines.length, stderr).toBe(1);
    return { code, line: lines[0] };
  }

  describe("what is wrong is told in one line, with the contract's exit code", () => {
    type Case = readonly [make: () => string, exit: number, words: RegExp, password?: string];
    const cases: Readonly<Record<string, Case>> = {
      "no such path": [() => urlOf(`${path}/missing`), 4, /does not exist\. Check the path/],
      "no such share": [() => urlOf(path, port, "nope"), 4, /has no share "nope"\. Check/],
      "no share at all": [() => `smb://127.0.0.1:${port}/`, 2, /needs a share\. Write smb:/],
      "a share for others": [() => urlOf("", port, "closed"), 3, /or not into the share\. Check/],
      "a wrong password": [
        () => urlOf(path),
        3,
        /did not let us sign in.*one of them is wrong/,
        "incorrect",
      ],
      "no encryption": [
        () => `${urlOf(path, server.plainPort)}?encrypt=required`,
        2,
        /not encrypted/,
      ],
      "an unknown option": [() => `${urlOf(path)}?encript=x`, 2, /did you mean "encrypt"/i],
      "nobody there": [() => "smb://127.0.0.1:1/files/", 5, /refused.*check the host/i],
      "no such host": [
        () => "smb://nowhere.invalid/files/",
        5,
        /host name (is not known|cannot be)/,
      ],
    };
    test.each(Object.keys(cases))("%s", async (name) => {
      const [make, exit, words, given = password] = cases[name] as Case;
      const { code, line } = await program(make(), { PANNIER_PASSWORD: given });
      expect(line).toMatch(words);
      expect(line).not.toContain(password);
      expect(code).toBe(exit);
    });

    test("the library is not installed", async () => {
      const hidden = `mount --bind /dev/null ${libraryPath()} && exec "$@"`;
      const { code, line } = await program(urlOf(path), {}, [
        "unshare",
        "--mount",
        "sh",
        "-ec",
        hidden,
        "sh",
      ]);
      expect(line).toMatch(/libsmbclient, .* is not installed\. Install the package libsmbclient/);
      expect(code).toBe(2);
    });

    test("a server of another protocol on the port", async () => {
      for (const greeting of ["220 ftp ready\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"]) {
        const other = createServer((socket) => {
          socket.on("error", () => {});
          socket.end(greeting);
        }).listen(0, "127.0.0.1");
        await once(other, "listening");
        const { port: own } = other.address() as AddressInfo;
        const { code, line } = await program(`smb://127.0.0.1:${own}/x/`);
        other.close();
        expect(line).toMatch(/check that a server of SMB 2 or 3 listens/i);
        expect(code).toBe(5);
      }
    });
  });

  async function open(url: string, by: Credentials = credentials) {
    const opened = await openSource(smb(url), { credentials: by });
    onTestFinished(() => opened.close());
    return opened;
  }

  async function pathsOf(url: string, by?: Credentials): Promise<readonly string[]> {
    return (await listAll((await open(url, by)).source)).paths;
  }

  async function failing(url: string, by?: Credentials): Promise<unknown> {
    const { source } = await open(url, by);
    return listAll(source).then(
      () => expect.unreachable("it was listed"),
      (error: unknown) => error,
    );
  }
});

async function toTheEnd(reader: AsyncIterator<Uint8Array>): Promise<void> {
  let result: IteratorResult<Uint8Array>;
  do result = await reader.next();
  while (result.done !== true);
}

/** Those that this process started, and what others can see of them: arguments and environment. */
function helpers(): { pid: number; seen: string }[] {
  const own = readFileSync(`/proc/self/task/${process.pid}/children`, "utf8");
  const pids = own.trim().split(/\s+/).filter(Boolean).map(Number);
  return pids.flatMap((pid) => {
    try {
      const seen = ["cmdline", "environ"]
        .map((name) => readFileSync(`/proc/${pid}/${name}`, "utf8"))
        .join();
      return seen.includes("smb-helper") ? [{ pid, seen }] : [];
    } catch {
      // It has ended since.
      return [];
    }
  });
}

function libraryPath(): string {
  const directories = readdirSync("/usr/lib").map((name) => `/usr/lib/${name}/libsmbclient.so.0`);
  return realpathSync(directories.find((path) => existsSync(path)) as string);
}

/** A path of the test's own, with a file at it where there is content. */
async function scratch(name: string, content?: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "pannier-smb-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  if (content !== undefined) await writeFile(join(dir, name), content);
  return join(dir, name);
}
