import { execFile } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { type Credentials, UsageError } from "@pannier/core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { FROM_SOURCES } from "../../../test/support/from-sources.ts";
import { sftp } from "../src/index.ts";
import { same, type SftpServer, startSftpServer } from "./server.ts";

const PASSWORD = "s3cret, not told";
let root = "";
let server: SftpServer;
/** Run once before content of a file is given. */
let beforeRead: (() => Promise<void>) | undefined;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "pannier-sftp-"));
  await mkdir(join(root, "sub"));
  await writeFile(join(root, "a"), "1");
  await writeFile(join(root, "sub/b"), "22");
  server = await startSftpServer({
    home: root,
    methods: ["keyboard-interactive"],
    admit: (context) => context.method === "password" && same(context.password, PASSWORD),
    onRead: async () => {
      const once = beforeRead;
      beforeRead = undefined;
      await once?.();
    },
  });
});

afterAll(async () => {
  await server.close();
  await rm(root, { recursive: true });
});

const known: Credentials = { username: "user", password: PASSWORD };

function urlOf(query = "", path = root): string {
  return `sftp://127.0.0.1:${server.port}${path}${query}`;
}

async function open(url: string, credentials: Credentials = known) {
  const opened = await openSource(sftp(url), { credentials });
  onTestFinished(() => opened.close());
  return opened.source;
}

async function failure(url: string, credentials?: Credentials): Promise<Error> {
  return listAll(await open(url, credentials)).then(
    () => expect.unreachable("it was listed"),
    (error: Error) => error,
  );
}

async function hostsFile(...lines: string[]): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "pannier-known-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  await writeFile(join(dir, "hosts"), lines.join("\n"));
  return join(dir, "hosts");
}

test("several parts of a file are asked for at once", async () => {
  const dir = await mkdtemp(join(tmpdir(), "pannier-parts-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  const content = randomBytes(1 << 20);
  await writeFile(join(dir, "file"), content);
  // No part is given before four of them were asked for.
  const several = Promise.withResolvers<void>();
  let asked = 0;
  const patient = await startSftpServer({
    home: dir,
    onRead: () => {
      if (++asked === 4) several.resolve();
      return several.promise;
    },
  });
  onTestFinished(() => patient.close());
  const url = `sftp://127.0.0.1:${patient.port}${dir}/?hostKey=${encodeURIComponent(patient.fingerprint)}`;
  const source = await open(url);
  const entry = (await listAll(source)).file("file");
  expect((await readAll(source, entry)).equals(content)).toBe(true);
});

test("an unknown host key is refused before anything secret is sent", async () => {
  const sshKnownHostsFile = await hostsFile("");
  const error = await failure(urlOf(), { ...known, sshKnownHostsFile });
  expect(error).toMatchObject({ code: "auth", hint: expect.stringMatching(/hostKey=SHA256/) });
  expect(error.message).toContain(server.fingerprint);
});

test("a host is known by its hashed name, and a revoked key never trusted", async () => {
  const name = `[127.0.0.1]:${server.port}`;
  const salt = Buffer.from("twenty bytes of salt");
  const digest = createHmac("sha1", salt).update(name).digest("base64");
  const hashed = `|1|${salt.toString("base64")}|${digest} ${server.hostKey}`;
  const knownHosts = await hostsFile(hashed);
  const at = urlOf(`?knownHosts=${encodeURIComponent(knownHosts)}`);
  expect((await listAll(await open(at))).paths).toEqual(["a", "sub/b"]);
  const sshKnownHostsFile = await hostsFile(hashed, `@revoked * ${server.hostKey}`);
  expect(await failure(urlOf(), { ...known, sshKnownHostsFile })).toMatchObject({
    message: expect.stringMatching(/is revoked/),
  });
});

test("a pinned fingerprint holds also where the URL's plus signs became blanks", async () => {
  expect((await listAll(await open(urlOf(`?hostKey=${server.fingerprint}`)))).paths).toHaveLength(
    2,
  );
  const other = await failure(urlOf(`?hostKey=SHA256:${"+".repeat(43)}`));
  expect(other).toMatchObject({
    code: "auth",
    message: expect.stringMatching(/not the pinned one/),
  });
});

test("says no at once to what cannot be", async () => {
  await expect(open("sftp:///path")).rejects.toThrow(UsageError);
  for (const hostKey of ["", "MD5:00", "SHA256:short", `SHA256:${"A".repeat(44)}`]) {
    await expect(open(urlOf(`?hostKey=${hostKey}`))).rejects.toThrow(UsageError);
  }
});

test("one file, and a path from the user's home", async () => {
  const pin = `?hostKey=${encodeURIComponent(server.fingerprint)}`;
  const source = await open(urlOf(pin, "/~/sub/b"));
  const listed = await listAll(source);
  expect(listed.paths).toEqual(["b"]);
  expect(String(await readAll(source, listed.file("b")))).toBe("22");
  expect((await listAll(await open(urlOf(pin, "/~/")))).paths).toEqual(["a", "sub/b"]);
});

test("a file that changes between its first and its last byte is not taken", async () => {
  const content = Buffer.alloc(2 << 20, "x");
  for (const size of [1000, content.length]) {
    const file = join(root, "sub/changing");
    await writeFile(file, content.subarray(0, size));
    onTestFinished(() => rm(file, { force: true }));
    const source = await open(urlOf(`?hostKey=${encodeURIComponent(server.fingerprint)}`));
    const entry = (await listAll(source)).file("sub/changing");
    beforeRead = () => writeFile(file, "more", { flag: "a" });
    await expect(readAll(source, entry), `${size} bytes`).rejects.toMatchObject({
      code: "changed",
    });
  }
});

test("a file that may not be read is auth, by its name", async () => {
  if (process.getuid?.() === 0) return;
  const file = join(root, "private");
  await writeFile(file, "x", { mode: 0 });
  onTestFinished(async () => {
    await chmod(file, 0o600);
    await rm(file);
  });
  const source = await open(urlOf(`?hostKey=${encodeURIComponent(server.fingerprint)}`));
  const entry = (await listAll(source)).file("private");
  await expect(readAll(source, entry)).rejects.toMatchObject({ code: "auth" });
});

test("needs no native module", async () => {
  const url = urlOf(`?hostKey=${encodeURIComponent(server.fingerprint)}`);
  const script = `
    const { sftp } = await import("@pannier/adapter-sftp");
    const { listAll, openSource } = await import("@pannier/adapter-kit");
    const credentials = { username: "user", passwordFile: process.argv[2] };
    const { source, close } = await openSource(sftp(process.argv[1]), { credentials });
    console.log((await listAll(source)).paths.join());
    await close();`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [
      ...FROM_SOURCES,
      "--no-addons",
      "--input-type=module",
      "-e",
      script,
      url,
      await hostsFile(PASSWORD),
    ],
    { cwd: import.meta.dirname },
  );
  expect(stdout.trim()).toBe("a,sub/b");
});
