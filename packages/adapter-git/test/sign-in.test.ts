/** What a source signs in with, and that nobody else gets to see it. */
import { generateKeyPairSync, verify } from "node:crypto";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { inspect } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  basic,
  contentOf,
  errorOf,
  open,
  scratchDirectory,
  setup,
  signal,
  skipped,
  withoutGit,
} from "./setup.ts";

const shared = setup();

function gitmodules(path: string, url: string): string {
  return `[submodule "x"]\n\tpath = ${path}\n\turl = ${url}\n\tupdate = !touch never\n`;
}

function lastName(url: string): string {
  return url.slice(url.lastIndexOf("/") + 1);
}

/** A small server of another kind, for the length of a test. */
async function serve(
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe.skipIf(withoutGit)(`signing in${skipped}`, () => {
  test("a wrong password is auth, and is in no error", async () => {
    const repository = await shared.repository();
    await repository.commit({ a: "1" });
    shared.server.allowed = [basic("ada", "swordfish")];
    const url = repository.url.replace("//", "//ada:hunter2@");
    const { source } = await open(url);
    const error = await errorOf(source.probe(signal()));
    expect(error).toMatchObject({ code: "auth", transient: false });
    expect(inspect(error, { depth: 9 })).not.toMatch(/hunter2/);
    const right = await open(repository.url.replace("//", "//ada:swordfish@"));
    expect(await contentOf(right.source)).toEqual({ a: "1" });
  });

  test("a password in a file is read again at each use", async () => {
    const repository = await shared.repository();
    await repository.commit({ a: "1" });
    const passwordFile = join(await scratchDirectory(), "password");
    const { source } = await open(
      repository.url,
      {},
      { credentials: { username: "ada", passwordFile } },
    );
    for (const password of ["first", "second"]) {
      shared.server.allowed = [basic("ada", password)];
      await writeFile(passwordFile, `${password}\n`);
      expect(await contentOf(source)).toEqual({ a: "1" });
    }
  });

  test("a token goes as a password, as every git server takes it", async () => {
    const repository = await shared.repository();
    await repository.commit({ a: "1" });
    const tokenFile = join(await scratchDirectory(), "token");
    await writeFile(tokenFile, "ghp_secret\n");
    shared.server.allowed = [basic("x-access-token", "ghp_secret")];
    const { source } = await open(repository.url, {}, { credentials: { tokenFile } });
    expect(await contentOf(source)).toEqual({ a: "1" });
  });

  test("an askpass URL is asked once, and again when its answer is refused", async () => {
    const repository = await shared.repository();
    await repository.commit({ a: "1" });
    let password = "one";
    let asked = 0;
    const askpassUrl = await serve((_, response) => {
      asked++;
      response.end(`username=ada\npassword=${password}\n`);
    });
    shared.server.allowed = [basic("ada", "one")];
    const { source } = await open(repository.url, {}, { credentials: { askpassUrl } });
    await contentOf(source);
    await source.probe(signal());
    expect(asked).toBe(1);
    password = "two";
    shared.server.allowed = [basic("ada", "two")];
    await source.probe(signal());
    expect(asked).toBe(2);
  });

  test("a GitHub App's token is fetched with a signed claim, and kept until it ends", async () => {
    const repository = await shared.repository();
    await repository.commit({ a: "1" });
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const privateKeyFile = join(await scratchDirectory(), "app.pem");
    await writeFile(privateKeyFile, privateKey.export({ type: "pkcs1", format: "pem" }));
    let life = 3600_000;
    const issued: string[] = [];
    const apiUrl = await serve((request, response) => {
      const jwt = request.headers.authorization?.replace("Bearer ", "") ?? "";
      const [head, claims = "", signature = ""] = jwt.split(".");
      const genuine = verify(
        "RSA-SHA256",
        Buffer.from(`${head}.${claims}`),
        publicKey,
        Buffer.from(signature, "base64url"),
      );
      const { iss, iat, exp } = JSON.parse(Buffer.from(claims, "base64url").toString()) as Record<
        string,
        number
      >;
      if (!genuine || String(iss) !== "1234" || (exp ?? 0) - (iat ?? 0) > 600)
        return response.writeHead(401).end();
      if (request.url !== "/app/installations/77/access_tokens")
        return response.writeHead(404).end();
      const token = `ghs_${issued.length}`;
      issued.push(token);
      shared.server.allowed = [basic("x-access-token", token)];
      return response
        .writeHead(201)
        .end(JSON.stringify({ token, expires_at: new Date(Date.now() + life).toISOString() }));
    });
    shared.server.allowed = [];
    const githubApp = { appId: "1234", installationId: "77", privateKeyFile, apiUrl };
    const { source } = await open(repository.url, {}, { credentials: { githubApp } });
    life = 1000;
    await source.probe(signal());
    expect(issued).toHaveLength(1);
    life = 3600_000;
    await source.probe(signal());
    await source.probe(signal());
    expect(issued, "the first was about to end, the second not").toHaveLength(2);
  });

  test("a redirect is followed, and takes no credentials to another host", async () => {
    const repository = await shared.repository();
    const sha = await repository.commit({ a: "1" });
    const old = await serve((request, response) => {
      response.writeHead(301, { location: shared.server.url + (request.url ?? "") }).end();
    });
    const url = repository.url.replace(shared.server.url, old).replace("//", "//ada:swordfish@");
    const { source } = await open(url);
    expect(await contentOf(source)).toEqual({ a: "1" });
    expect((await source.probe(signal()))?.revision).toBe(sha);
    expect(shared.server.requests.length).toBeGreaterThan(2);
    for (const { headers } of shared.server.requests) expect(headers.authorization).toBeUndefined();
  });

  test("nothing of the credentials is on disk or in a git process", async () => {
    const repository = await shared.repository();
    await repository.commit({ a: "1" });
    shared.server.allowed = [basic("ada", "swordfish")];
    const scratch = await scratchDirectory();
    const url = repository.url.replace("//", "//ada:swordfish@");
    const { source } = await open(url, { engine: "cli" }, { scratch: async () => scratch });
    await contentOf(source);
    const secrets = ["swordfish", Buffer.from("ada:swordfish").toString("base64"), repository.url];
    for (const name of await readdir(scratch, { recursive: true })) {
      const path = join(scratch, name);
      const text = (await stat(path)).isFile() ? await readFile(path, "latin1") : "";
      for (const secret of secrets)
        expect(text.includes(secret), `${secret} in ${name}`).toBe(false);
    }
    // Those that read blobs are still running.
    const told: string[] = [];
    for (const pid of await readdir("/proc").catch(() => [])) {
      if (!/^\d+$/.test(pid)) continue;
      const of = async (name: string) => readFile(`/proc/${pid}/${name}`, "latin1").catch(() => "");
      if ((await of("environ")).includes(scratch))
        told.push((await of("environ")) + (await of("cmdline")));
    }
    expect(told.length).toBeGreaterThan(process.platform === "linux" ? 0 : -1);
    for (const text of told)
      for (const secret of secrets) expect(text.includes(secret)).toBe(false);
  });
});

describe.skipIf(withoutGit)(`submodules${skipped}`, () => {
  test.each(["cli", "js"] as const)(
    "are left out, or part of the tree in its order, theirs too where asked for: engine=%s",
    async (engine) => {
      const inner = await shared.repository();
      const innermost = await inner.commit({ "in/most": "deep" });
      const middle = await shared.repository();
      const sub = await middle.commit({
        file: "of the submodule",
        ".gitmodules": gitmodules("inner", `../${lastName(inner.url)}`),
        inner: { submodule: innermost },
      });
      const outer = await shared.repository();
      const first = await outer.commit({
        "libs/sub": { submodule: sub },
        "libs/sub.txt": "sorts between the two",
        "libs/zzz": "last",
        ".gitmodules": gitmodules("libs/sub", `./../${lastName(middle.url)}`),
      });
      const without = await open(outer.url, { engine });
      expect(Object.keys(await contentOf(without.source))).toEqual([
        ".gitmodules",
        "libs/sub.txt",
        "libs/zzz",
      ]);
      const shallow = await open(outer.url, { engine, submodules: "shallow", path: "libs" });
      expect(await contentOf(shallow.source)).toEqual({
        "sub.txt": "sorts between the two",
        "sub/.gitmodules": gitmodules("inner", `../${lastName(inner.url)}`),
        "sub/file": "of the submodule",
        zzz: "last",
      });
      const { source } = await open(outer.url, { engine, submodules: "recursive" });
      const all = await contentOf(source);
      expect(Object.keys(all)).toEqual([
        ".gitmodules",
        "libs/sub.txt",
        "libs/sub/.gitmodules",
        "libs/sub/file",
        "libs/sub/inner/in/most",
        "libs/zzz",
      ]);
      expect(all["libs/sub/inner/in/most"]).toBe("deep");
      // A change beside the submodule is told as such; one of the submodule has to be listed.
      const second = await outer.commit({ "libs/zzz": "changed" });
      expect(await source.changes?.(first, second, signal())).toBeDefined();
      const moved = await middle.commit({ file: "changed" });
      const third = await outer.commit({ "libs/sub": { submodule: moved } });
      expect(await source.changes?.(second, third, signal())).toBeUndefined();
      expect((await contentOf(source))["libs/sub/file"]).toBe("changed");
    },
  );

  test.each([
    ["its update is none", (url: string) => `${gitmodules("sub", url)}\tupdate = none\n`],
    ["there is no .gitmodules", () => undefined],
  ])("are left out as by git, and that is told: %s", async (why, text) => {
    const outer = await shared.repository();
    const unreachable = "http://127.0.0.1:1/private.git";
    await outer.commit({
      a: "1",
      sub: { submodule: "1".repeat(40) },
      ".gitmodules": text(unreachable),
    });
    const { source, warnings } = await open(outer.url, { submodules: "recursive" });
    expect(Object.keys(await contentOf(source)).filter((path) => path !== ".gitmodules")).toEqual([
      "a",
    ]);
    expect(warnings).toEqual([`the submodule "sub" is left out: ${why}`]);
  });

  test.each(["./sub", "sub/", ".//sub/./"])("are found by the path %s", async (path) => {
    const inner = await shared.repository();
    const sub = await inner.commit({ file: "inside" });
    const outer = await shared.repository();
    await outer.commit({
      sub: { submodule: sub },
      ".gitmodules": gitmodules(path, `../${lastName(inner.url)}`),
    });
    const { source } = await open(outer.url, { submodules: "recursive" });
    expect((await contentOf(source))["sub/file"]).toBe("inside");
  });

  test.each([
    ["that do not name it", gitmodules("other", "../x.git"), /no URL for "sub"/],
    ["that are not git's syntax", "[submodule", /line 1 is not git's syntax/],
    ["that are far too large", `#${"x".repeat(2_000_000)}`, /too large/],
  ])("are an error with .gitmodules %s", async (_, text, message) => {
    const outer = await shared.repository();
    await outer.commit({ sub: { submodule: "1".repeat(40) }, ".gitmodules": text });
    for (const engine of ["cli", "js"] as const) {
      const { source } = await open(outer.url, { engine, submodules: "recursive" });
      expect(await errorOf(contentOf(source))).toMatchObject({
        code: "invalid",
        message: expect.stringMatching(message),
      });
    }
  });

  test("on another host get no credentials", async () => {
    const seen: (string | undefined)[] = [];
    const foreign = await serve((request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(404).end();
    });
    const outer = await shared.repository();
    await outer.commit({
      sub: { submodule: "1".repeat(40) },
      ".gitmodules": gitmodules("sub", `${foreign}/x.git`),
    });
    shared.server.allowed = [basic("ada", "swordfish")];
    const credentials = { username: "ada", password: "swordfish" };
    const { source } = await open(outer.url, { submodules: "shallow" }, { credentials });
    expect(await errorOf(contentOf(source))).toMatchObject({ code: "not-found" });
    expect(seen.length).toBeGreaterThan(0);
    expect(seen.filter((value) => value !== undefined)).toEqual([]);
  });

  test.each(["file:///etc", "ext::sh -c id", "--upload-pack=touch x", "/etc/repo"])(
    "are refused from %s",
    async (url) => {
      const outer = await shared.repository();
      await outer.commit({
        sub: { submodule: "1".repeat(40) },
        ".gitmodules": gitmodules("sub", url),
      });
      const { source } = await open(outer.url, { submodules: "recursive" });
      expect(await errorOf(contentOf(source))).toMatchObject({ code: "unsupported" });
    },
  );

  test.each(["https://%zz/x.git", "ssh:///x.git", "https://a:b/x.git", "file://host/x.git"])(
    "with a URL that nobody can use are the repository's fault: %s",
    async (url) => {
      const outer = await shared.repository();
      await outer.commit({
        sub: { submodule: "1".repeat(40) },
        ".gitmodules": gitmodules("sub", url),
      });
      const { source } = await open(outer.url, { submodules: "recursive" });
      expect((await errorOf(contentOf(source))).name).toBe("SourceError");
    },
  );
});
