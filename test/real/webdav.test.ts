/** The webdav adapter against Apache's mod_dav and nginx with dav-ext. */
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describeAdapter, listAll, openSource, readAll } from "@pannier/adapter-kit";
import { webdav, webdavAdapter } from "@pannier/adapter-webdav";
import type { Credentials } from "@pannier/core";
import * as vitest from "vitest";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { runPannier } from "../support/pannier.ts";
import { makeShare } from "../support/share.ts";
import { type DavServer, runDav, setDavPassword } from "./servers/webdav.ts";
import { shareTrials } from "./share-trials.ts";
import { describeWith } from "./support.ts";

for (const name of ["apacheDav", "nginxDav"] as const) {
  describeWith(name, `WebDAV from ${name === "apacheDav" ? "Apache" : "nginx"}`, (server) => {
    const { user, password, ca, root } = server;
    const credentials: Credentials = { username: user, password };
    const pathOf = (directory: string) => encodePath(directory.slice(root.length));
    let directory = "";

    beforeAll(async () => {
      directory = await mkdtemp(join(root, "plain-"));
      await chmod(directory, 0o755);
      await mkdir(join(directory, "sub/empty"), { recursive: true });
      await writeFile(join(directory, "a"), "1");
      await writeFile(join(directory, "sub/b"), "22");
    });

    const conformance = (location: string, scheme: "dav" | "davs") => {
      const signIn = scheme === "davs" ? { ...credentials, caFile: ca } : credentials;
      const isPrivate = location === "basic" || location === "digest";
      describeAdapter(
        vitest,
        {
          adapter: webdavAdapter as never,
          traits: {
            network: scheme === "dav" ? "http" : "tcp",
            integrity: scheme === "davs",
            symlinks: false,
            modes: "none",
            holds: (path) => holds(server.name, path),
          },
          failures: {
            "not-found": (store) => ({
              ...store.source({}),
              url: `${store.source({}).url}/missing/`,
            }),
            ...(isPrivate
              ? {
                  auth: (store) => ({
                    ...store.source({}),
                    credentials: { ...signIn, password: "incorrect" },
                  }),
                }
              : {}),
          },
          create: (files) =>
            makeShare(files, {
              parent: root,
              server: { host: "127.0.0.1", port: scheme === "dav" ? server.plain : server.tls },
              // nginx runs as who starts it.
              otherUser: server.name === "apache" && process.getuid?.() === 0,
              address: (at, port) => ({
                url: `${scheme}://127.0.0.1:${port}/${location}${pathOf(at)}`,
                credentials: signIn,
              }),
            }),
        },
        { idleTimeout: 1500, largeFile: 32 << 20 },
      );
    };

    describe("collection by collection", () => {
      conformance("shallow", "dav");
    });
    describe("all at once", () => {
      conformance("deep", "dav");
    });
    describe("signed in by a password, over TLS", () => {
      conformance("basic", "davs");
    });
    describe.each(server.name === "apache" ? ["digest"] : [])("signed in by %s", (location) => {
      conformance(location, "dav");
    });

    describe("a server in trouble", () => {
      shareTrials({
        root,
        port: server.plain,
        start: (port) => runDav(server, port),
        source: (at, port) => webdav(`dav://127.0.0.1:${port}/deep${pathOf(at)}/`),
        credentials: {},
      });
    });

    test("certificates are checked: an unknown authority, a host of another name, an expired one", async () => {
      const url = `davs://127.0.0.1:${server.tls}/basic${pathOf(directory)}/`;
      const trusted = { ...credentials, caFile: ca };
      expect(await pathsOf(url, trusted)).toEqual(["a", "sub/b"]);
      for (const [at, signIn] of [
        [url, credentials],
        [url.replace("127.0.0.1", "localhost"), trusted],
        [url.replace(String(server.tls), String(server.expired)), trusted],
      ] as const) {
        expect(await failing(at, signIn), at).toMatchObject({
          code: "unavailable",
          transient: false,
          message: expect.stringMatching(/certificate is not trusted/),
        });
      }
    });

    test.each(server.name === "apache" ? ["basic", "digest"] : ["basic"])(
      "a password that is rotated is taken over where the file has the new one (%s)",
      async (location) => {
        const passwordFile = await scratch("password", password);
        const url = `dav://${user}@127.0.0.1:${server.plain}/${location}${pathOf(directory)}/`;
        const { source } = await openBy(url, { passwordFile });
        expect((await listAll(source)).paths.toSorted()).toEqual(["a", "sub/b"]);
        await setDavPassword(server, "another");
        onTestFinished(() => setDavPassword(server, password));
        await expect(listAll(source)).rejects.toMatchObject({ code: "auth" });
        await writeFile(passwordFile, "another\n");
        expect((await listAll(source)).paths.toSorted()).toEqual(["a", "sub/b"]);
      },
    );

    test("one file, and a collection named without its slash", async () => {
      const url = `dav://127.0.0.1:${server.plain}/shallow${pathOf(directory)}`;
      expect(await contents(`${url}/sub/b`, {})).toEqual({ b: "22" });
      expect(await contents(url, {})).toEqual({ a: "1", "sub/b": "22" });
    });

    describe("what is wrong is told in one line, with the contract's exit code", () => {
      test.each([
        [
          "no such path",
          () => `dav://127.0.0.1:${server.plain}/deep/missing/`,
          password,
          4,
          /404 Not Found\. Check the path/,
        ],
        [
          "a wrong password",
          () => `dav://127.0.0.1:${server.plain}/basic/`,
          "incorrect",
          3,
          /401 Unauthorized\. The user, the password or the token is wrong/i,
        ],
        [
          "an expired certificate",
          () => `davs://127.0.0.1:${server.expired}/deep/`,
          password,
          5,
          /not trusted \(CERT_HAS_EXPIRED\)/,
        ],
        [
          "TLS where there is none",
          () => `davs://127.0.0.1:${server.plain}/deep/`,
          password,
          5,
          /TLS failed/,
        ],
        ["no WebDAV there", () => `dav://127.0.0.1:${server.plain}/`, password, 5, /405 /],
        [
          "an unknown option",
          () => `dav://127.0.0.1:${server.plain}/deep/?depth=1`,
          password,
          2,
          /unknown option "depth"/,
        ],
      ] as const)("%s", async (_, make, secret, exit, words) => {
        const outcome = await program(make(), { user, password: secret, ca });
        expect(outcome.line).toMatch(words);
        expect(outcome.code).toBe(exit);
      });

      test("a server of another protocol on the port", async () => {
        const other = createServer((socket) => {
          socket.on("error", () => {});
          socket.end("SSH-2.0-OpenSSH_9.2\r\n");
        }).listen(0, "127.0.0.1");
        await once(other, "listening");
        const { port } = other.address() as AddressInfo;
        const { code, line } = await program(`dav://127.0.0.1:${port}/`, { user, password, ca });
        other.close();
        expect(line).toMatch(/not valid HTTP.*another kind of server may listen on this port/);
        expect(code).toBe(5);
      });
    });
  });
}

describeWith("apacheDav", "WebDAV from Apache, by digest", (server) => {
  const { user, password, root, plain } = server;

  test("signs in by digest, on every path, and not with a wrong password", async () => {
    const at = await mkdtemp(join(root, "digest-"));
    await chmod(at, 0o755);
    await mkdir(join(at, "with space"));
    await writeFile(join(at, "with space/é?#%"), "1");
    await writeFile(join(at, "large"), "x".repeat(2_000_000));
    const url = `dav://127.0.0.1:${plain}/digest${encodePath(at.slice(root.length))}`;
    for (const one of [`${url}/`, url]) {
      expect(Object.keys(await contents(one, { username: user, password }))).toEqual([
        "large",
        "with space/é?#%",
      ]);
    }
    expect(await failing(url, { username: user, password: "incorrect" })).toMatchObject({
      code: "auth",
    });
    expect(await failing(url, {})).toMatchObject({ code: "auth" });
  });
});

/** nginx leaves what begins with a dot out of its listings. */
function holds(name: DavServer["name"], path: string): boolean {
  return name === "apache" || !/(^|\/)\./.test(path);
}

function encodePath(path: string): string {
  return path.split("/").map(encodeURIComponent).join("/");
}

async function program(
  source: string,
  { user, password, ca }: Pick<DavServer, "user" | "password" | "ca">,
) {
  const target = await scratch("target");
  const { code, stderr } = await runPannier(["sync", source, target], {
    env: { PANNIER_USERNAME: user, PANNIER_PASSWORD: password, PANNIER_CA_FILE: ca },
  });
  const lines = stderr
    .trim()
    .split("\n")
    .filter((line) => !line.includes(" is tried again in "));
  expect(lines.length, stderr).toBe(1);
  return { code, line: lines[0] };
}

async function openBy(url: string, credentials: Credentials) {
  const opened = await openSource(webdav(url), { credentials });
  onTestFinished(() => opened.close());
  return opened;
}

async function pathsOf(url: string, credentials: Credentials): Promise<readonly string[]> {
  return (await listAll((await openBy(url, credentials)).source)).paths.toSorted();
}

async function contents(url: string, credentials: Credentials): Promise<Record<string, string>> {
  const { source } = await openBy(url, credentials);
  const listed = await listAll(source);
  const found: Record<string, string> = {};
  for (const path of listed.paths.toSorted())
    found[path] = String(await readAll(source, listed.file(path)));
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
  const dir = await mkdtemp(join(tmpdir(), "pannier-dav-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  if (content !== undefined) await writeFile(join(dir, name), content);
  return join(dir, name);
}
