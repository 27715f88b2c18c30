/** The ftp adapter against vsftpd and proftpd, without TLS and with it. */
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ftp, ftpAdapter } from "@pannier/adapter-ftp";
import { describeAdapter, listAll, openSource, readAll } from "@pannier/adapter-kit";
import { type Credentials, sync } from "@pannier/core";
import * as vitest from "vitest";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { runPannier } from "../support/pannier.ts";
import { makeShare } from "../support/share.ts";
import { type FtpServer, runFtp, setFtpPassword } from "./servers/ftp.ts";
import { shareTrials } from "./share-trials.ts";
import { describeWith } from "./support.ts";

for (const name of ["vsftpd", "proftpd"] as const) {
  describeWith(name, `FTP from ${name}`, (server) => {
    const { user, password, ca, root } = server;
    const credentials: Credentials = { username: user, password };
    const trusted: Credentials = { ...credentials, caFile: ca };
    /** vsftpd has no prison here, so its paths are those of the machine; proftpd begins at its root. */
    const pathOf = (directory: string) =>
      name === "vsftpd"
        ? `/%2F${encodePath(directory.slice(1))}`
        : encodePath(directory.slice(root.length));
    let directory = "";

    beforeAll(async () => {
      directory = await mkdtemp(join(root, "plain-"));
      await chmod(directory, 0o755);
      await mkdir(join(directory, "sub"));
      await writeFile(join(directory, "a"), "1");
      await writeFile(join(directory, "sub/b"), "22");
    });

    const conformance = (way: "plain" | "explicit" | "implicit") => {
      const scheme = way === "implicit" ? "ftps" : "ftp";
      const options = way === "explicit" ? { tls: "explicit" } : {};
      const signIn = way === "plain" ? credentials : trusted;
      describeAdapter(
        vitest,
        {
          adapter: ftpAdapter as never,
          traits: {
            network: "tcp",
            integrity: way !== "plain",
            // proftpd lists what a symlink leads to, if that is there.
            symlinks: name === "vsftpd",
            // What an FTP command cannot say.
            holds: (path) => !/[\r\n]/.test(path),
          },
          failures: {
            "not-found": (store) => ({
              ...store.source({}),
              url: `${store.source({}).url}/missing`,
            }),
            auth: (store) => ({
              ...store.source({}),
              credentials: { ...signIn, password: "incorrect" },
            }),
          },
          create: (files) =>
            makeShare(files, {
              parent: root,
              server: { host: "127.0.0.1", port: server[way] },
              // vsftpd runs as who starts it.
              otherUser: name === "proftpd" && process.getuid?.() === 0,
              address: (at, port) => ({
                url: `${scheme}://127.0.0.1:${port}${pathOf(at)}`,
                options,
                credentials: signIn,
              }),
            }),
        },
        { idleTimeout: 1500, largeFile: 32 << 20 },
      );
    };

    describe("without TLS", () => {
      conformance("plain");
    });
    describe("with explicit TLS, its session reused", () => {
      conformance("explicit");
    });
    describe("with implicit TLS", () => {
      conformance("implicit");
    });

    describe("a server in trouble", () => {
      shareTrials({
        root,
        port: server.plain,
        start: (port) => runFtp(server, port),
        source: (at, port) => ftp(`ftp://127.0.0.1:${port}${pathOf(at)}/`),
        credentials,
      });
    });

    test("a password that is rotated is taken over where the file has the new one", async () => {
      const passwordFile = await scratch("password", password);
      const url = `ftp://${user}@127.0.0.1:${server.plain}${pathOf(directory)}/`;
      expect(await pathsOf(url, { passwordFile })).toEqual(["a", "sub/b"]);
      await setFtpPassword(server, "another");
      onTestFinished(() => setFtpPassword(server, password));
      expect(await failing(url, { passwordFile })).toMatchObject({ code: "auth" });
      await writeFile(passwordFile, "another\n");
      expect(await pathsOf(url, { passwordFile })).toEqual(["a", "sub/b"]);
    });

    test("behind NAT, where PASV tells an address that leads nowhere", async () => {
      expect(
        await contents(`ftp://127.0.0.1:${server.nat}${pathOf(directory)}/`, credentials),
      ).toEqual({ a: "1", "sub/b": "22" });
    });

    test("a server that takes two connections is read on two", async () => {
      const at = await mkdtemp(join(root, "limited-"));
      await chmod(at, 0o755);
      for (let i = 0; i < 30; i++) {
        await mkdir(join(at, `d${i}`));
        await writeFile(join(at, `d${i}/f`), String(i).repeat(1000));
      }
      const target = await scratch("target");
      const source = ftp(`ftp://127.0.0.1:${server.limited}${pathOf(at)}/`);
      const retries: string[] = [];
      const result = await sync({
        sources: [source],
        target,
        credentials,
        onEvent: (event) => {
          if (event.type === "retry") retries.push(event.error.message);
        },
      });
      expect(result).toMatchObject({ files: 30, result: "published" });
      expect(retries).toEqual([]);
      // With all of them taken by others, it is the server that asks to wait.
      const small = ftp(`ftp://127.0.0.1:${server.limited}${pathOf(at)}/d0/`);
      const others = await Promise.all([0, 1].map(() => open(small, credentials)));
      for (const other of others) await listAll(other);
      expect(
        await failing(`ftp://127.0.0.1:${server.limited}${pathOf(at)}/`, credentials),
      ).toMatchObject({
        code: "throttled",
        message: expect.stringMatching(/accepts no more connections/),
      });
    });

    test("certificates are checked: an unknown authority, a host of another name, an expired one", async () => {
      const path = pathOf(directory);
      const explicit = `ftp://127.0.0.1:${server.explicit}${path}/?tls=explicit`;
      const implicit = `ftps://127.0.0.1:${server.implicit}${path}/`;
      for (const url of [explicit, implicit]) {
        expect(await pathsOf(url, trusted)).toEqual(["a", "sub/b"]);
        expect(await failing(url, credentials), url).toMatchObject({
          code: "unavailable",
          transient: false,
          message: expect.stringMatching(/certificate is not trusted/),
        });
        expect(await failing(url.replace("127.0.0.1", "localhost"), trusted), url).toMatchObject({
          message: expect.stringMatching(/ERR_TLS_CERT_ALTNAME_INVALID/),
        });
      }
      expect(
        await failing(`ftp://127.0.0.1:${server.expired}${path}/?tls=explicit`, trusted),
      ).toMatchObject({ message: expect.stringMatching(/not trusted \(CERT_HAS_EXPIRED\)/) });
    });

    test("a password is not sent without the TLS that was asked for", async () => {
      const at = `127.0.0.1:${server.plain}${pathOf(directory)}/`;
      expect(await failing(`ftp://${at}?tls=explicit`, trusted)).toMatchObject({
        code: "unsupported",
        message: "the server has no TLS on this port",
      });
      expect(
        await failing(`ftp://127.0.0.1:${server.explicit}${pathOf(directory)}/`, credentials),
      ).toMatchObject({
        code: "auth",
        hint: expect.stringMatching(/tls=explicit/),
      });
    });

    test("names in UTF-8 and in Latin-1, side by side and below each other", async () => {
      const at = await mkdtemp(join(root, "latin-"));
      await chmod(at, 0o755);
      const latin = (...parts: (string | number)[]) =>
        Buffer.concat([
          Buffer.from(`${at}/`),
          ...parts.map((part) =>
            typeof part === "string" ? Buffer.from(part) : Buffer.from([part]),
          ),
        ]);
      await writeFile(latin("caf", 0xe9, ".txt"), "latin file");
      await mkdir(latin("d", 0xfc, "r"));
      await writeFile(latin("d", 0xfc, "r/plain"), "in latin");
      await writeFile(latin("d", 0xfc, "r/日本"), "both");
      await writeFile(latin("naïve"), "utf-8");
      expect(await contents(`ftp://127.0.0.1:${server.plain}${pathOf(at)}/`, credentials)).toEqual({
        "café.txt": "latin file",
        "dür/plain": "in latin",
        "dür/日本": "both",
        naïve: "utf-8",
      });
    });

    test("a name with a line break ends the listing or the read, and becomes no command", async () => {
      const at = await mkdtemp(join(root, "lines-"));
      await chmod(at, 0o755);
      await writeFile(join(at, "a"), "1");
      const { source } = await openBy(`ftp://127.0.0.1:${server.plain}${pathOf(at)}/`, credentials);
      expect((await listAll(source)).paths).toEqual(["a"]);
      const entry = (await listAll(source)).file("a");
      for (const path of ["a\r\nDELE a", "a\nb", "a\rb"]) {
        await expect(readAll(source, { ...entry, path })).rejects.toMatchObject({
          code: "invalid",
          message: expect.stringMatching(/holds a line break/),
        });
      }
      await expect(
        openBy(`ftp://127.0.0.1:${server.plain}/x%0D%0ADELE%20a/`, credentials),
      ).rejects.toMatchObject({ name: "UsageError" });
      await writeFile(join(at, "two\r\nlines"), "x");
      await expect(listAll(source)).rejects.toMatchObject({ code: "invalid" });
    });

    test("one file, and a path that begins at the server's root", async () => {
      const path = `${pathOf(directory)}/sub/b`;
      const url = `ftp://127.0.0.1:${server.plain}${path}`;
      expect(await contents(url, credentials)).toEqual({ b: "22" });
      const absolute = `/%2F${path.replace(/^\/(%2F)?/, "")}`;
      expect(await contents(`ftp://127.0.0.1:${server.plain}${absolute}`, credentials)).toEqual({
        b: "22",
      });
    });

    test("symlinks are listed as such, and a loop is not walked for ever", async () => {
      const at = await mkdtemp(join(root, "links-"));
      await chmod(at, 0o755);
      await mkdir(join(at, "dir"));
      await writeFile(join(at, "dir/file"), "x");
      await symlink("dir/file", join(at, "link"));
      await symlink("../dir", join(at, "dir/again"));
      const { source, warnings } = await openBy(
        `ftp://127.0.0.1:${server.plain}${pathOf(at)}/`,
        credentials,
      );
      const { entries } = await listAll(source);
      expect([...entries.values()]).toMatchObject([
        { kind: "symlink", path: "dir/again", target: "../dir" },
        { kind: "file", path: "dir/file" },
        { kind: "symlink", path: "link", target: "dir/file" },
      ]);
      expect(warnings).toEqual([]);
    });

    test("a symlink whose target is kept back is no symlink less", async () => {
      const at = await mkdtemp(join(root, "kept-"));
      await chmod(at, 0o755);
      await symlink("..", join(at, "up"));
      const url = `ftp://127.0.0.1:${server.plain}${pathOf(at)}/`;
      // proftpd tells of this one only that it is a symlink.
      const listing = openBy(url, credentials).then(({ source }) => listAll(source));
      const outcome = await listing.then(
        ({ entries }) => entries.get("up"),
        (error: unknown) => error,
      );
      const told = { kind: "symlink", target: ".." };
      const named = expect.stringContaining('symlink "up"');
      const refused = { code: "invalid", message: named };
      expect(outcome).toMatchObject(name === "vsftpd" ? told : refused);
    });

    test("~/.netrc signs in", async () => {
      const netrc = await scratch(
        "netrc",
        `machine 127.0.0.1 login ${user} password "${password}"\n`,
      );
      vitest.vi.stubEnv("NETRC", netrc);
      onTestFinished(() => void vitest.vi.unstubAllEnvs());
      expect(await pathsOf(`ftp://127.0.0.1:${server.plain}${pathOf(directory)}/`, {})).toEqual([
        "a",
        "sub/b",
      ]);
    });

    describe("what is wrong is told in one line, with the contract's exit code", () => {
      test.each([
        [
          "no such path",
          () => `ftp://127.0.0.1:${server.plain}${pathOf(root)}/missing/`,
          password,
          4,
          /does not exist.*Check the path/,
        ],
        [
          "a wrong password",
          () => `ftp://127.0.0.1:${server.plain}/`,
          "incorrect",
          3,
          /did not let us sign in.*The user or the password is wrong/,
        ],
        [
          "an expired certificate",
          () => `ftp://127.0.0.1:${server.expired}/?tls=explicit`,
          password,
          5,
          /not trusted \(CERT_HAS_EXPIRED\)/,
        ],
        [
          "TLS where there is none",
          () => `ftps://127.0.0.1:${server.plain}/`,
          password,
          5,
          /TLS failed/,
        ],
        [
          "an unknown option",
          () => `ftp://127.0.0.1:${server.plain}/?tlss=explicit`,
          password,
          2,
          /did you mean "tls"/i,
        ],
      ] as const)("%s", async (_, make, secret, exit, words) => {
        const outcome = await program(make(), { user, password: secret, ca });
        expect(outcome.line).toMatch(words);
        expect(outcome.code).toBe(exit);
      });

      test("a server of another protocol on the port", async () => {
        for (const greeting of ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"]) {
          const other = createServer((socket) => {
            socket.on("error", () => {});
            socket.end(greeting);
          }).listen(0, "127.0.0.1");
          await once(other, "listening");
          const { port } = other.address() as AddressInfo;
          const outcome = await program(`ftp://127.0.0.1:${port}/`, { user, password, ca });
          other.close();
          expect(outcome.line).toMatch(/does not speak FTP\. Check the port/);
          expect(outcome.code).toBe(5);
        }
      });
    });
  });
}

function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

async function program(
  source: string,
  { user, password, ca }: Pick<FtpServer, "user" | "password" | "ca">,
) {
  const target = await scratch("target");
  const { code, stderr } = await runPannier(["sync", source, target], {
    env: {
      PANNIER_USERNAME: user,
      PANNIER_PASSWORD: password,
      PANNIER_CA_FILE: ca,
      PANNIER_ATTEMPTS: "1",
    },
  });
  const lines = stderr.trim().split("\n");
  expect(lines.length, stderr).toBe(1);
  return { code, line: lines[0] };
}

async function open(spec: ReturnType<typeof ftp>, credentials: Credentials) {
  const opened = await openSource(spec, { credentials });
  onTestFinished(() => opened.close());
  return opened.source;
}

async function openBy(url: string, credentials: Credentials) {
  const opened = await openSource(ftp(url), { credentials });
  onTestFinished(() => opened.close());
  return opened;
}

async function pathsOf(url: string, credentials: Credentials): Promise<readonly string[]> {
  return (await listAll((await openBy(url, credentials)).source)).paths;
}

async function contents(url: string, credentials: Credentials): Promise<Record<string, string>> {
  const { source } = await openBy(url, credentials);
  const listed = await listAll(source);
  const found: Record<string, string> = {};
  for (const path of listed.paths) found[path] = String(await readAll(source, listed.file(path)));
  return found;
}

async function failing(url: string, credentials: Credentials): Promise<unknown> {
  const { source } = await openBy(url, credentials);
  return listAll(source).then(
    () => expect.unreachable("it was listed"),
    (error: unknown) => error,
  );
}

/** A path of the test's own, with a file at it where there is content. */
async function scratch(name: string, content?: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "pannier-ftp-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  if (content !== undefined) await writeFile(join(dir, name), content);
  return join(dir, name);
}
