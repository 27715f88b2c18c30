/** The sftp adapter against OpenSSH. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { describeAdapter, listAll, openSource, readAll } from "@pannier/adapter-kit";
import { sftp, sftpAdapter } from "@pannier/adapter-sftp";
import type { Credentials } from "@pannier/core";
import * as vitest from "vitest";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { runPannier } from "../support/pannier.ts";
import { makeShare } from "../support/share.ts";
import { until } from "./servers/process.ts";
import { runSftp, setPassword, type SftpServer } from "./servers/sftp.ts";
import { shareTrials } from "./share-trials.ts";
import { describeWith } from "./support.ts";

const run = promisify(execFile);

function urlOf(server: Pick<SftpServer, "user">, directory: string, port: number): string {
  const path = directory.split("/").map(encodeURIComponent).join("/");
  return `sftp://${encodeURIComponent(server.user)}@127.0.0.1:${port}${path}`;
}

describeWith("sftp", "SFTP from OpenSSH", (server) => {
  const credentials: Credentials = {
    sshKeyFile: server.key,
    sshKnownHostsFile: server.knownHosts,
  };
  const by = async (...lines: string[]) => ({
    ...credentials,
    sshKnownHostsFile: await scratch("known_hosts", `${lines.join("\n")}\n`),
  });
  let directory = "";
  let url = "";

  beforeAll(async () => {
    directory = await mkdtemp(join(server.root, "plain-"));
    await chmod(directory, 0o755);
    await mkdir(join(directory, "sub"));
    await writeFile(join(directory, "a"), "1");
    await writeFile(join(directory, "sub/b"), "22");
    url = urlOf(server, directory, server.port);
  });

  describeAdapter(
    vitest,
    {
      adapter: sftpAdapter as never,
      traits: { network: "tcp", integrity: true },
      failures: {
        "not-found": (store) => ({ ...store.source({}), url: `${store.source({}).url}/missing` }),
        auth: (store) => ({
          ...store.source({}),
          credentials: { ...credentials, sshKeyFile: server.strangerKey },
        }),
        unavailable: () => ({ url: "sftp://user@127.0.0.1:1/", credentials }),
      },
      create: async (files) => {
        // Through the fault proxy the host has another port, hence another name.
        const options = { hostKey: server.fingerprint };
        return makeShare(files, {
          parent: server.root,
          server: { host: "127.0.0.1", port: server.port },
          address: (at, port) => ({
            url: urlOf(server, at, port),
            options,
            credentials: { sshKeyFile: server.key },
          }),
        });
      },
    },
    { idleTimeout: 1500 },
  );

  describe("a server in trouble", () => {
    shareTrials({
      root: server.root,
      port: server.port,
      start: (port) => runSftp(server, port),
      source: (at, port) => sftp(urlOf(server, at, port), { hostKey: server.fingerprint }),
      credentials: { sshKeyFile: server.key },
    });
  });

  describe("signing in", () => {
    test("with a key, also one that others may read, as Secrets are mounted", async () => {
      expect(await pathsOf(url, credentials)).toEqual(["a", "sub/b"]);
      const key = await scratch("open-key");
      await copyFile(server.key, key);
      await chmod(key, 0o644);
      expect(await pathsOf(url, { ...credentials, sshKeyFile: key })).toEqual(["a", "sub/b"]);
    });

    test("with a key that has a passphrase, from a file that is read again", async () => {
      const passwordFile = await scratch("passphrase", "not this\n");
      const given = { ...credentials, sshKeyFile: server.encryptedKey };
      expect(await failing(url, given)).toMatchObject({
        code: "auth",
        message: expect.stringMatching(/has a passphrase, and none is given/),
      });
      expect(await failing(url, { ...given, passwordFile })).toMatchObject({
        code: "auth",
        message: expect.stringMatching(/the passphrase is not that of the ssh key/),
      });
      await writeFile(passwordFile, `${server.passphrase}\n`);
      expect(await pathsOf(url, { ...given, passwordFile })).toEqual(["a", "sub/b"]);
    });

    test("with an agent; a key file that is given is used instead of it", async () => {
      const socket = await scratch("agent");
      const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: "ignore" });
      onTestFinished(async () => {
        agent.kill();
        await once(agent, "exit");
      });
      const env = { ...process.env, SSH_AUTH_SOCK: socket };
      await until("ssh-agent", () =>
        run("ssh-add", ["-q", server.key], { env }).then(
          () => true,
          () => false,
        ),
      );
      vitest.vi.stubEnv("SSH_AUTH_SOCK", socket);
      onTestFinished(() => void vitest.vi.unstubAllEnvs());
      const { sshKnownHostsFile } = credentials;
      expect(await pathsOf(url, { sshKnownHostsFile })).toEqual(["a", "sub/b"]);
      const stranger = { sshKnownHostsFile, sshKeyFile: server.strangerKey };
      expect(await failing(url, stranger)).toMatchObject({ code: "auth" });
      vitest.vi.stubEnv("SSH_AUTH_SOCK", `${socket}-gone`);
      expect(await failing(url, { sshKnownHostsFile })).toMatchObject({ code: "auth" });
    });
  });

  describe("the server's host key", () => {
    const { hostKeys, port } = server;
    const name = `[127.0.0.1]:${port}`;
    test.each(["ed25519", "ecdsa", "rsa"] as const)(
      "is known by its %s key alone, and that is then asked for",
      async (type) => {
        expect(await pathsOf(url, await by(`${name} ${hostKeys[type]}`))).toEqual(["a", "sub/b"]);
      },
    );

    test("is found under hashed names, lists of names and patterns, among comments and certificate authorities", async () => {
      const hashed = await by(`${name} ${hostKeys.ecdsa} a comment`);
      await run("ssh-keygen", ["-q", "-H", "-f", hashed.sshKnownHostsFile]);
      expect(await pathsOf(url, hashed)).toEqual(["a", "sub/b"]);
      for (const names of [`other,${name}`, "*", `[127.0.0.?]:${port}`]) {
        const found = await by(
          "# comment",
          "",
          `@cert-authority * ${hostKeys.rsa}`,
          `${names} ${hostKeys.rsa}`,
        );
        expect(await pathsOf(url, found), names).toEqual(["a", "sub/b"]);
      }
    });

    test("is refused where the host is not known, and its fingerprint told", async () => {
      for (const lines of [
        [],
        [`127.0.0.1 ${hostKeys.ed25519}`],
        [`*,!${name} ${hostKeys.ed25519}`],
        [`@cert-authority * ${hostKeys.ed25519}`],
      ]) {
        expect(await failing(url, await by(...lines)), lines.join()).toMatchObject({
          code: "auth",
          transient: false,
          message: `the server's ssh host key (ssh-ed25519 ${server.fingerprint}) is not in the known hosts file`,
          hint: expect.stringMatching(/credentials\.sshKnownHostsFile.*hostKey=SHA256/),
        });
      }
      const nowhere = { ...credentials, sshKnownHostsFile: "/nonexistent/known_hosts" };
      expect(await failing(url, nowhere)).toMatchObject({
        name: "UsageError",
        message: "the known hosts file /nonexistent/known_hosts cannot be read (ENOENT)",
      });
    });

    test("is refused where another is known, or it is revoked", async () => {
      const other = hostKeys.ed25519.replace(/.{6}$/, "AAAAAA");
      expect(await failing(url, await by(`${name} ${other}`))).toMatchObject({
        code: "auth",
        message: expect.stringMatching(/is not the one in the known hosts file/),
      });
      const revoked = await by(`${name} ${hostKeys.ed25519}`, `@revoked * ${hostKeys.ed25519}`);
      expect(await failing(url, revoked)).toMatchObject({
        code: "auth",
        message: expect.stringMatching(/is revoked/),
      });
    });

    test("is known by a pinned fingerprint, in the URL as well, and nothing else is then looked at", async () => {
      const alone = { sshKeyFile: server.key, sshKnownHostsFile: "/nonexistent" };
      const pinned = server.fingerprint;
      expect(await pathsOf(`${url}?hostKey=${pinned}`, alone)).toEqual(["a", "sub/b"]);
      const wrong = `SHA256:${"A".repeat(43)}`;
      expect(await pathsOf(`${url}?hostKey=${wrong},${pinned}`, alone)).toEqual(["a", "sub/b"]);
      expect(await failing(`${url}?hostKey=${wrong}`, alone)).toMatchObject({
        code: "auth",
        message: expect.stringMatching(/is not the pinned one/),
      });
    });
  });

  test("one file, a path through a symlink, and the home directory", async () => {
    expect(await pathsOf(`${url}/sub/b`, credentials)).toEqual(["b"]);
    const { source } = await open(`${url}/sub/b`, credentials);
    expect(String(await readAll(source, (await listAll(source)).file("b")))).toBe("22");
    await run("ln", ["-sfn", directory, `${directory}-link`]);
    expect(await pathsOf(`${url}-link/`, credentials)).toEqual(["a", "sub/b"]);
    // The server's idea of it, which $HOME need not be.
    const { homedir } = userInfo();
    const home = await mkdtemp(join(homedir, ".pannier-test-"));
    onTestFinished(() => rm(home, { recursive: true }));
    await writeFile(join(home, "x"), "x");
    const below = home.slice(homedir.length);
    expect(
      await pathsOf(`sftp://${server.user}@127.0.0.1:${server.port}/~${below}/`, credentials),
    ).toEqual(["x"]);
  });

  test("leaves out what is no file, and says so; refuses names that are not UTF-8", async () => {
    const at = await mkdtemp(join(server.root, "odd-"));
    await writeFile(join(at, "file"), "x");
    await run("mkfifo", [join(at, "pipe"), join(at, "pipe2")]);
    const opened = await open(urlOf(server, at, server.port), credentials);
    expect((await listAll(opened.source)).paths).toEqual(["file"]);
    expect(opened.warnings).toEqual(['left out a FIFO, a socket or a device: "pipe" and 1 more']);
    await writeFile(Buffer.concat([Buffer.from(`${at}/caf`), Buffer.from([0xe9])]), "x");
    await expect(listAll(opened.source)).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringMatching(/is not UTF-8/),
    });
  });

  test("a file that changed within the second in which it was listed is read once more", async () => {
    const at = await mkdtemp(join(server.root, "racy-"));
    await writeFile(join(at, "file"), "one");
    const { source } = await open(urlOf(server, at, server.port), credentials);
    const first = (await listAll(source)).file("file");
    expect(first.fingerprint).toMatch(/~$/);
    expect(String(await readAll(source, first))).toBe("one");
    await until(
      "the clock",
      async () => !(await listAll(source)).file("file").fingerprint.endsWith("~"),
    );
    const later = (await listAll(source)).file("file");
    expect(first.fingerprint).toBe(`${later.fingerprint}~`);
    await appendFile(join(at, "file"), "!");
    await expect(readAll(source, later)).rejects.toMatchObject({ code: "changed" });
  });

  const program = async (source: string, env: Record<string, string> = {}) => {
    const target = await scratch("target");
    const { code, stderr } = await runPannier(["sync", source, target], {
      env: {
        PANNIER_SSH_KEY_FILE: server.key,
        PANNIER_SSH_KNOWN_HOSTS_FILE: server.knownHosts,
        PANNIER_ATTEMPTS: "1",
        ...env,
      },
    });
    const lines = stderr.trim().split("\n");
    expect(lines.length, stderr).toBe(1);
    return { code, line: lines[0] };
  };

  describe("what is wrong is told in one line, with the contract's exit code", () => {
    test.each([
      ["no such path", () => `${url}/missing/`, 4, /does not exist\. Check the path/],
      [
        "a refused key",
        () => url,
        3,
        /did not let us sign in\. The user, or the key is wrong/,
        "PANNIER_SSH_KEY_FILE",
      ],
      [
        "a refused host key",
        () => `${url}?hostKey=SHA256:${"A".repeat(43)}`,
        3,
        /is not the pinned one\. Compare/,
      ],
      ["a pin that is none", () => `${url}?hostKey=SHA256:x`, 2, /must be a fingerprint/],
      ["an unknown option", () => `${url}?hostkey=x`, 2, /did you mean "hostKey"/i],
    ] as const)("%s", async (_, make, exit, words, variable?: string) => {
      const env = variable === undefined ? {} : { [variable]: server.strangerKey };
      const { code, line } = await program(make(), env);
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
        const { port } = other.address() as AddressInfo;
        const { code, line } = await program(`sftp://user@127.0.0.1:${port}/x/`);
        other.close();
        expect(line).toMatch(/does not speak ssh\. Check the port/);
        expect(code).toBe(5);
      }
    });
  });
});

describeWith("sftpPasswords", "SFTP from OpenSSH, by password", (server) => {
  const { user, port, keyboardPort, password, fingerprint } = server;
  const at = (one: number) => `${urlOf({ user }, server.root, one)}/?hostKey=${fingerprint}`;

  beforeAll(() => writeFile(join(server.root, "a"), "1"));

  test("with a password, by either method, and not with another", async () => {
    for (const one of [port, keyboardPort]) {
      expect(await pathsOf(at(one), { password })).toEqual(["a"]);
      expect(await failing(at(one), { password: "incorrect" })).toMatchObject({
        code: "auth",
        message: "the server did not let us sign in",
      });
    }
    const signedIn = at(port).replace("@", `:${encodeURIComponent(password)}@`);
    expect(await pathsOf(signedIn, {})).toEqual(["a"]);
  });

  test("a password that is rotated is taken over where the file has the new one", async () => {
    const passwordFile = await scratch("password", password);
    const { source } = await open(at(port), { passwordFile });
    expect((await listAll(source)).paths).toEqual(["a"]);
    await setPassword(server, "another");
    onTestFinished(() => setPassword(server, password));
    // The connection that is there outlives the password; a new one does not.
    expect(await failing(at(port), { passwordFile })).toMatchObject({ code: "auth" });
    await writeFile(passwordFile, "another\n");
    expect(await pathsOf(at(port), { passwordFile })).toEqual(["a"]);
    expect((await listAll(source)).paths).toEqual(["a"]);
  });

  test("a wrong password ends the program with 3 and one line", async () => {
    const { code, stderr } = await runPannier(["ls", at(port)], {
      env: { PANNIER_PASSWORD: "incorrect" },
    });
    expect(stderr).toMatch(/^[^\n]*did not let us sign in\. The user, or [^\n]* wrong[^\n]*\n$/);
    expect(code).toBe(3);
  });
});

async function open(url: string, credentials: Credentials) {
  const opened = await openSource(sftp(url), { credentials });
  onTestFinished(() => opened.close());
  return opened;
}

async function pathsOf(url: string, credentials: Credentials): Promise<readonly string[]> {
  return (await listAll((await open(url, credentials)).source)).paths;
}

async function failing(url: string, credentials: Credentials): Promise<unknown> {
  const { source } = await open(url, credentials);
  return listAll(source).then(
    () => expect.unreachable("it was listed"),
    (error: unknown) => error,
  );
}

/** A path of the test's own, with a file at it where there is content. */
async function scratch(name: string, content?: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "pannier-sftp-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  if (content !== undefined) await writeFile(join(dir, name), content);
  return join(dir, name);
}
