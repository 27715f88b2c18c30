/** What the whole program does with git and ssh, as processes that it starts. */
import { existsSync } from "node:fs";
import { chmod, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { gitVersion, makeRepository, startGitServer } from "../support/git-server.ts";
import { runPannier, runPannierOk } from "../support/pannier.ts";
import { pannier, workDirectory } from "./support.ts";

const skipReason = "needs the git program";

/** A server that shows a web page where its repository is, as forges do. */
async function forge() {
  const server = await startGitServer();
  onTestFinished(() => server.close());
  const repository = await server.repository("org/repo");
  await repository.commit({ a: "1", "sub/b": "2" });
  server.intercept = ({ url = "" }, response) => {
    if (/\/private.*\/info\/refs/.test(url)) response.writeHead(401).end();
    else if (/\/broken.*\/info\/refs/.test(url)) response.writeHead(500).end();
    else if (/\/kept.*\/info\/refs/.test(url)) response.writeHead(403).end();
    else if (/\/(info\/refs|git-upload-pack)/.test(url)) return false;
    else if (url.endsWith("/data"))
      response.setHeader("content-type", "application/json").end("{}");
    else if (url === "/page.html") response.setHeader("content-type", "text/html").end("<p>");
    else
      response
        .setHeader("content-type", "text/html; charset=utf-8")
        .end('<!doctype html><a href="/org/repo/tree">tree</a>');
    return true;
  };
  return server;
}

describe.skipIf(gitVersion === undefined)("git", { meta: { skipReason } }, () => {
  test("an ssh key is in no log, state or argument, and its copy is gone", async () => {
    const work = await workDirectory();
    const [bin, tmp, target] = [join(work, "bin"), join(work, "tmp"), join(work, "target")];
    const { dir, commit } = await makeRepository(join(work, "repository.git"));
    await commit({ a: "1" });
    const secret = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU";
    const key = join(work, "key");
    // As Secrets are mounted: ssh would refuse it, so that it is copied.
    await writeFile(key, `-----BEGIN OPENSSH PRIVATE KEY-----\n${secret}\n`, { mode: 0o644 });
    await chmod(key, 0o644);
    await mkdir(tmp);
    await mkdir(bin);
    // In place of ssh: notes what it is given, and lets this machine be the server.
    const ssh = `#!/bin/sh
for word; do
  echo "$word" >> "${work}/arguments"
  case $word in IdentityFile=*) eval "cat \${word#IdentityFile=}" > "${work}/used" ;; esac
done
exec sh -c "$word"
`;
    await writeFile(join(bin, "ssh"), ssh, { mode: 0o755 });
    const env = {
      PATH: `${bin}:${process.env["PATH"]}`,
      TMPDIR: tmp,
      PANNIER_SSH_KEY_FILE: key,
      PANNIER_LOG_LEVEL: "debug",
    };
    const source = `git+ssh://git@localhost${dir}`;
    const { stdout, stderr } = await runPannierOk(["sync", source, target], { env });
    expect(await readFile(join(target, "current/a"), "utf8")).toBe("1");
    expect(await readFile(join(work, "used"), "utf8")).toContain(secret);
    expect(await readdir(tmp)).toEqual([]);
    const texts = [stdout, stderr, await readFile(join(work, "arguments"), "utf8")];
    for (const file of await readdir(target, { recursive: true, withFileTypes: true }))
      if (file.isFile()) texts.push(await readFile(join(file.parentPath, file.name), "latin1"));
    expect(texts.filter((text) => text.includes(secret))).toEqual([]);
  });

  describe("a repository's URL without .git", () => {
    test.each(["", "?ref=main", "?depth=0&submodules=off", "/", "/?path=."])(
      "is a repository where its server says so: /org/repo%s",
      async (rest) => {
        const { url } = await forge();
        const target = join(await workDirectory(), "target");
        await runPannierOk(["sync", `${url}/org/repo${rest}`, target]);
        expect(await readdir(join(target, "current"))).toEqual(["a", "sub"]);
        expect(
          await runPannierOk(["sync", `${url}/org/repo${rest}`, target, "--json"]),
        ).toMatchObject({ stdout: expect.stringContaining('"unchanged"') });
      },
    );

    test("is a file where its server does not, and a web page is refused", async () => {
      const { url } = await forge();
      const target = join(await workDirectory(), "target");
      for (const name of ["data", "page.html"]) {
        await runPannierOk(["sync", `${url}/${name}`, target, "--max-delete", "100%"]);
        expect(await readdir(join(target, "current"))).toEqual([name]);
      }
      const page = await runPannier(["sync", `${url}/org/other`, target]);
      expect(page.code).toBe(6);
      expect(page.stderr).toContain(`git+${url}/org/other`);
      // As one that knows only http does.
      const env = { PANNIER_ADAPTER: "http" };
      const http = await runPannier(["sync", `${url}/org/repo`, target], { env });
      expect(http.code).toBe(6);
      expect(http.stderr).toContain(`git+${url}/org/repo`);
      await runPannierOk(["sync", `${url}/org/repo?unpack=no`, target, "--max-delete", "100%"]);
      expect(await readdir(join(target, "current"))).toEqual(["repo"]);
    });

    test("may have a dot in its last name", async () => {
      const server = await forge();
      const repository = await server.repository("org/next.js");
      await repository.commit({ a: "1" });
      const target = join(await workDirectory(), "target");
      await runPannierOk(["sync", `${server.url}/org/next.js`, target]);
      expect(await readdir(join(target, "current"))).toEqual(["a"]);
    });

    test("is not taken for a file where its server wants a sign-in, or fails", async () => {
      const { url } = await forge();
      const target = join(await workDirectory(), "target");
      for (const [name, code] of [
        ["private/data", 3],
        ["broken/data", 5],
      ] as const) {
        const refused = await runPannier(["sync", `${url}/${name}`, target, "--timeout", "3s"]);
        expect([name, refused.code]).toEqual([name, code]);
        expect(refused.stderr).toContain("PANNIER_ADAPTER=http");
      }
      const env = { PANNIER_ADAPTER: "http" };
      await runPannierOk(["sync", `${url}/private/data`, target], { env });
      // Stores of files answer so for what they do not have.
      await runPannierOk(["sync", `${url}/kept/data`, target, "--max-delete", "100%"]);
      // A page to sign in at is no content, whatever the name.
      const page = await runPannier(["sync", `${url}/kept/tool.js?ref=main`, target]);
      expect(page.code).toBe(6);
      expect(page.stderr).toContain("this is a web page");
    });

    test("is not guessed at while its server is not up to an answer", async () => {
      const server = await forge();
      const { intercept } = server;
      server.intercept = (request, response) => {
        if (!/info\/refs/.test(request.url ?? "")) return intercept?.(request, response) === true;
        response.writeHead(503).end();
        return true;
      };
      const target = join(await workDirectory(), "target");
      const { code } = await runPannier(["sync", `${server.url}/org/repo/`, target]);
      expect(code).toBe(5);
      expect(existsSync(join(target, "current"))).toBe(false);
    });
  });

  test("status tells a source's newest commit also where it changed no published file", async () => {
    const work = await workDirectory();
    const { dir, commit } = await makeRepository(join(work, "repository.git"));
    const first = await commit({ "public/a": "1" });
    const target = join(work, "target");
    const source = `git+file://${dir}?path=public`;
    await runPannierOk(["sync", source, target]);
    const second = await commit({ other: "2" });
    await runPannierOk(["sync", source, target]);
    const { stdout } = await runPannierOk(["status", target, "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ revision: first, sources: [{ revision: second }] });
    expect((await runPannierOk(["status", target])).stdout).toContain(`, at ${second}`);
  });

  test("a file .git leads git nowhere, wherever somebody puts it", async () => {
    const work = await workDirectory();
    const [target, proof] = [join(work, "target"), join(work, "proof")];
    const { dir, commit } = await makeRepository(join(work, "repository.git"));
    const evil = await makeRepository(join(work, "evil.git"));
    await mkdir(join(evil.dir, "hooks"));
    const hook = `#!/bin/sh\ntouch ${proof}\n`;
    for (const name of ["post-index-change", "reference-transaction", "pre-auto-gc"])
      await writeFile(join(evil.dir, "hooks", name), hook, { mode: 0o755 });
    await writeFile(
      join(evil.dir, "config"),
      `[core]\n\tbare = true\n\tfsmonitor = touch ${proof}\n\talternateRefsCommand = touch ${proof}\n`,
    );
    await commit({ a: "1" });
    const source = `git+file://${dir}`;
    await runPannierOk(["sync", source, target], { cwd: work });
    const scratch = join(target, ".pannier/scratch");
    const [cache = ""] = await readdir(scratch);
    const places = [
      work,
      target,
      scratch,
      join(scratch, cache),
      join(scratch, cache, "repository"),
    ];
    for (const place of places) await writeFile(join(place, ".git"), `gitdir: ${evil.dir}\n`);
    await commit({ a: "2" });
    await runPannierOk(["sync", source, target], { cwd: work });
    expect(await readFile(join(target, "current/a"), "utf8")).toBe("2");
    expect(existsSync(proof)).toBe(false);
    expect(await readdir(join(evil.dir, "objects"))).toEqual([]);
  });

  test("a ref that is not there, and a wrong password, are told in a line each", async () => {
    const server = await startGitServer();
    onTestFinished(() => server.close());
    const { commit } = await server.repository("x.git");
    await commit({ a: "1" });
    const target = join(await workDirectory(), "target");
    const env = { PANNIER_USERNAME: "me", PANNIER_PASSWORD: "wrong" };
    const sync = (ref: string) =>
      pannier(["sync", `git+${server.url}/x.git?ref=${ref}`, target], { env });
    const missing = await sync("mian");
    expect(missing.stderr).toMatch(/^pannier: .*"mian".*main\n$/);
    expect(missing.code).toBe(4);
    server.allowed = ["Basic of somebody else"];
    const denied = await sync("main");
    expect(denied.stderr).toMatch(/^pannier: .*PANNIER_.*\n$/);
    expect(denied.code).toBe(3);
  });

  test("without the program, engine=auto reads by itself what comes over http", async () => {
    const work = await workDirectory();
    const server = await startGitServer();
    onTestFinished(() => server.close());
    const repository = await server.repository("x.git");
    await repository.commit({ a: "1" });
    const sync = (source: string) =>
      runPannier(["sync", source, join(work, "target")], { env: { PATH: work } });
    expect(await sync(`git+${server.url}/x.git`)).toMatchObject({ code: 0 });
    expect(await readFile(join(work, "target/current/a"), "utf8")).toBe("1");
    for (const source of ["git+ssh://git@localhost/x.git", `git+file://${repository.dir}`]) {
      const { code, stderr } = await sync(source);
      expect(stderr).toContain("git is not installed");
      expect(code).toBe(2);
    }
  });
});
