import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { type Credentials, parseLocation, sync } from "@pannier/core";
import { pack } from "tar-stream";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { minisign, minisignKey } from "../../../test/support/minisign.ts";
import { type ForgeServer, sha256, startForge } from "./forge.ts";
import { assetUrl } from "../src/find.ts";
import { findForge } from "../src/forge.ts";
import { release } from "../src/index.ts";
import { checkOptions } from "../src/options.ts";

const TOKEN = "aTokenThatNobodyMaySee";
const KINDS = ["github", "gitlab", "gitea"] as const;
const { signal } = new AbortController();

let forge: ForgeServer;
let folder = "";
let site: Buffer;
beforeEach(async () => {
  for (const name of ["GH_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN", "NETRC"]) {
    vi.stubEnv(name, undefined);
  }
  folder = await mkdtemp(join(tmpdir(), "pannier-release-"));
  vi.stubEnv("HOME", folder);
  forge = await startForge();
  site = await archiveOf({ "site-1.0/index.html": "one" });
});
afterEach(async () => {
  await forge.close();
  await rm(folder, { recursive: true });
  vi.unstubAllEnvs();
});

type Options = NonNullable<Parameters<typeof release>[1]>;

function spec(options: Options = {}) {
  return release(`release+http://127.0.0.1:${forge.port}/org/repo`, { api: "github", ...options });
}

async function open(options: Options = {}, credentials: Credentials = {}) {
  const opened = await openSource(spec(options), { credentials });
  onTestFinished(() => opened.close());
  return opened.source;
}

/** What is published: each path with its content. */
async function tree(options: Options = {}, credentials: Credentials = {}) {
  const source = await open(options, credentials);
  const listed = await listAll(source);
  const texts: Record<string, string> = {};
  for (const path of listed.paths) texts[path] = String(await readAll(source, listed.file(path)));
  return texts;
}

async function archiveOf(files: Readonly<Record<string, string>>): Promise<Buffer> {
  const archive = pack();
  for (const [name, content] of Object.entries(files)) archive.entry({ name }, content);
  archive.finalize();
  return gzipSync(await buffer(archive as unknown as AsyncIterable<Buffer>));
}

function find(url: string) {
  const none = { asset: undefined, tag: undefined, semver: undefined, path: undefined };
  const settings = checkOptions({ ...none, unpack: "auto", strip: 0, api: "auto" });
  return findForge(parseLocation(url), settings);
}

describe("an address", () => {
  test.each([
    ["https://github.com/org/repo", "https://api.github.com/repos/org/repo/releases/latest"],
    ["https://github.com/org/repo.git", "https://api.github.com/repos/org/repo/releases/latest"],
    [
      "https://github.example.com/org/repo",
      "https://github.example.com/api/v3/repos/org/repo/releases/latest",
    ],
    [
      "https://codeberg.org/org/repo/",
      "https://codeberg.org/api/v1/repos/org/repo/releases/latest",
    ],
    [
      "http://gitea.lan:3000/sub/org/repo",
      "http://gitea.lan:3000/sub/api/v1/repos/org/repo/releases/latest",
    ],
  ])("%s is asked at %s", (url, latest) => {
    expect(find(`release+${url}`).latest.href).toBe(latest);
  });

  test("of GitLab may have groups in groups", () => {
    const { latest, repository } = find("release+https://gitlab.com/a/b/c");
    expect(latest.href).toMatch("https://gitlab.com/api/v4/projects/a%2Fb%2Fc/releases?");
    expect(repository).toBe("a/b/c");
  });

  test.each([
    ["release+https://github.com/org", "is not the path of a repository"],
    ["release+https://github.com/org/a%2fb", "is not the path of a repository"],
    ["release+https://host.lan/org/repo", "does not say what kind of server it is"],
  ])("%s is refused", (url, message) => {
    expect(() => find(url)).toThrow(message);
  });

  test.each([
    [{ tag: "v1", semver: "1" }, "exclude each other"],
    [{ path: "../x" }, 'must not hold ".."'],
    [{ unpack: "no", strip: 1 }, "are for archives"],
    [{ asset: "" }, 'option "asset" is empty'],
    [{ semver: "no range" }, "is not a valid range"],
  ] as const)("options %j are refused", async (options, message) => {
    await expect(open(options)).rejects.toThrow(message);
  });
});

describe.each(KINDS)("releases of %s", (api) => {
  test("the latest one, unpacked; not one for testers, nor one that is not out yet", async () => {
    const early = { "site.tgz": await archiveOf({ "site/index.html": "early" }) };
    forge.releases = [
      { tag: "v3.0.0", assets: early, draft: true, upcoming: true },
      // GitLab has no mark for those.
      ...(api === "gitlab" ? [] : [{ tag: "v2.0.0-rc.1", assets: early, prerelease: true }]),
      { tag: "v1.0.0", assets: { "site.tgz": site } },
    ];
    expect(await tree({ api, strip: 1 })).toEqual({ "index.html": "one" });
  });

  test("the highest one of a range, on whatever page it is", async () => {
    forge.pageSize = 2;
    forge.releases = ["v2.0.0", "v1.1.0-rc.1", "nightly", "v1.0.1", "v1.0.10"].map((tag) => {
      return { tag, assets: { file: tag } };
    });
    expect(await tree({ api, semver: "1" })).toEqual({ file: "v1.0.10" });
    expect(await tree({ api, semver: ">=1.1.0-rc <1.1.0" })).toEqual({ file: "v1.1.0-rc.1" });
    await expect(tree({ api, semver: "4" })).rejects.toMatchObject({
      code: "not-found",
      message: "no release is a version in the range 4",
    });
  });

  test("one by its tag", async () => {
    forge.releases = ["v2", "a/b"].map((tag) => ({ tag, assets: { file: tag } }));
    expect(await tree({ api, tag: "a/b" })).toEqual({ file: "a/b" });
    await expect(tree({ api, tag: "v9" })).rejects.toMatchObject({
      code: "not-found",
      message: 'org/repo has no release "v9", does not exist, or is private',
    });
  });

  test("a private one needs a token, which does not go where the content is", async () => {
    const storage = await startForge();
    onTestFinished(() => storage.close());
    forge.releases = storage.releases = [{ tag: "v1", assets: { file: "secret" } }];
    forge.token = TOKEN;
    forge.storage = storage.origin;
    await expect(tree({ api })).rejects.toMatchObject({ code: "not-found" });
    const tokenFile = join(folder, "token");
    await writeFile(tokenFile, `${TOKEN}\n`);
    forge.log.length = 0;
    expect(await tree({ api }, { tokenFile })).toEqual({ file: "secret" });
    expect(forge.log.every(({ headers }) => headers.authorization === `Bearer ${TOKEN}`)).toBe(
      true,
    );
    expect(storage.log.length).toBeGreaterThan(0);
    expect(JSON.stringify(storage.log)).not.toContain(TOKEN);
  });

  test("an asset with a checksum file is what the file says, or is refused", async () => {
    const assets = { "site.tgz": site, SHA256SUMS: `${sha256(site)}  site.tgz\n` };
    forge.digests = false;
    forge.releases = [{ tag: "v1", assets }];
    expect(await tree({ api })).toEqual({ "site-1.0/index.html": "one" });
    forge.releases = [{ tag: "v2", assets: { ...assets, "site.tgz": await archiveOf({ x: "" }) } }];
    await expect(tree({ api })).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringContaining("the sha256 checksum is"),
    });
  });

  test("a single file that is not what its checksum says is refused, unless it was replaced", async () => {
    forge.digests = false;
    forge.releases = [
      { tag: "v1", assets: { page: "one", SHA256SUMS: `${sha256("two")}  page\n` } },
    ];
    const source = await open({ api, asset: "page" });
    const listed = await listAll(source);
    await expect(readAll(source, listed.file("page"))).rejects.toMatchObject({ code: "invalid" });
    // Replaced while it is read.
    forge.intercept = (path, response) => {
      if (!path.startsWith("/storage/") || forge.releases[0]?.tag === "v2") return false;
      forge.releases = [
        { tag: "v2", assets: { page: "six", SHA256SUMS: `${sha256("six")}  page\n` } },
      ];
      response.end("six");
      return true;
    };
    await expect(readAll(source, listed.file("page"))).rejects.toMatchObject({ code: "changed" });
    // Until it is listed again, what was listed is asked for, and not what is there now.
    await expect(readAll(source, listed.file("page"))).rejects.toMatchObject({ code: "not-found" });
  });
});

describe("the asset", () => {
  test.each([
    ["app-linux.tgz", "app-linux.tgz"],
    ["*.zip", "app.zip"],
    ["app-l?nux.*", "app-linux.tgz"],
  ])("%s is %s", async (asset, name) => {
    const names = ["app-linux.tgz", "app-linux.tgz.sha256", "app.zip", "checksums.txt", "a.sig"];
    forge.releases = [{ tag: "v1", assets: Object.fromEntries(names.map((one) => [one, "x"])) }];
    const source = await open({ asset, unpack: "no" });
    forge.digests = true;
    forge.intercept = (path, response) => {
      if (!path.startsWith("/storage/")) return false;
      response.end(`${sha256("x")}\n`);
      return true;
    };
    expect((await listAll(source)).paths).toEqual([name]);
  });

  test("has to be one alone, where it is not said that all are published as files", async () => {
    forge.releases = [{ tag: "v1", assets: { a: "1", "b.tgz": "2", "b.tgz.sha256": sha256("2") } }];
    await expect(tree()).rejects.toMatchObject({
      code: "invalid",
      message: "v1 has 2 assets that may be meant",
      hint: 'choose with asset=NAME among "a", "b.tgz", or publish them as files with unpack=no',
    });
    expect(await tree({ unpack: "no" })).toEqual({
      a: "1",
      "b.tgz": "2",
      "b.tgz.sha256": sha256("2"),
    });
    await expect(tree({ asset: "c*" })).rejects.toMatchObject({
      code: "not-found",
      message: "v1 has no asset c*",
      hint: 'it has "a", "b.tgz", "b.tgz.sha256"; one may still be on its way',
    });
    await expect(tree({ asset: "a", strip: 1 })).rejects.toThrow("does not look like an archive");
  });

  test.each([
    ["file.sha256", sha256("right")],
    ["app_1.0_checksums.txt", `${sha256("other")}  other\n${sha256("right")} *file\n`],
  ])("by %s is refused where its content is another", async (name, text) => {
    forge.digests = false;
    forge.releases = [{ tag: "v1", assets: { file: "wrong", [name]: text } }];
    const source = await open();
    const { file } = await listAll(source);
    // The engine compares.
    expect(file("file").digest).toEqual({ algorithm: "sha256", value: sha256("right") });
    await expect(readAll(source, file("file"))).rejects.toMatchObject({ code: "invalid" });
  });

  test("by a SHA-512 is refused where its content is another", async () => {
    forge.digests = false;
    const assets = { file: "wrong", "file.sha512": "0".repeat(128) };
    forge.releases = [{ tag: "v1", assets }];
    await expect(tree()).rejects.toMatchObject({ code: "invalid" });
  });

  test("that the server has another digest of than its checksum file is refused", async () => {
    const assets = { file: "one", "file.sha256": sha256("two") };
    forge.releases = [{ tag: "v1", assets }];
    await expect(tree()).rejects.toMatchObject({
      code: "invalid",
      message: 'the server has another sha256 of "file" than "file.sha256" says',
    });
  });

  test("at plain http is refused where the source is not", () => {
    const asset = { name: "a", size: 1, checksum: undefined, version: "1" };
    const urlOf = (url: string) => assetUrl({ ...asset, url }, false, false);
    expect(() => urlOf("http://host/a")).toThrow("not at an https URL");
    expect(() => urlOf("file:///a")).toThrow("not at an https URL");
    expect(() => urlOf("a")).toThrow("not at an https URL");
    expect(urlOf("https://host/a").href).toBe("https://host/a");
  });
});

describe("a poll", () => {
  test("is one request, answered without a body where nothing changed", async () => {
    forge.releases = [{ tag: "v1", assets: { file: "1" } }];
    const source = await open();
    const { token } = (await source.probe(signal)) ?? {};
    forge.log.length = 0;
    expect((await source.probe(signal, token))?.token).toBe(token);
    expect(forge.log.map(({ status }) => status)).toEqual([304]);
  });

  test("finds nothing new where others downloaded it, or another asset came", async () => {
    forge.releases = [{ tag: "v1", assets: { "a.tgz": "1" } }];
    const source = await open({ asset: "a.tgz" });
    const before = await source.probe(signal);
    forge.downloads++;
    forge.releases = [{ tag: "v1", assets: { "a.tgz": "1", "b.tgz": "2" } }];
    expect(await source.probe(signal)).toEqual(before);
    forge.releases = [{ tag: "v1", assets: { "a.tgz": "1", "a.tgz.sha256": sha256("1") } }];
    expect((await source.probe(signal))?.token).not.toBe(before?.token);
  });

  test("of a server that asks for fewer requests says when", async () => {
    forge.intercept = (_, response) => {
      const reset = Math.floor(Date.now() / 1000) + 600;
      const headers = { "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset };
      response.writeHead(403, headers).end();
      return true;
    };
    const error: unknown = await (await open()).probe(signal).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "throttled", hint: expect.stringContaining("a token") });
    const { retryAfter } = error as { retryAfter: number };
    expect(retryAfter).toBeGreaterThan(500_000);
    expect(retryAfter).toBeLessThanOrEqual(600_000);
  });

  test.each(["[]", "[1]", "{}", '{"tag_name":"v1","assets":[{}]}', "<html>"])(
    "that is answered with %s fails",
    async (text) => {
      forge.intercept = (_, response) => {
        response.end(text);
        return true;
      };
      const code = text === "[]" ? "not-found" : "invalid";
      await expect((await open()).probe(signal)).rejects.toMatchObject({ code });
    },
  );
});

test("tokens of GitHub's and GitLab's own tools go to no other server", async () => {
  for (const name of ["GH_TOKEN", "GITHUB_TOKEN", "GITLAB_TOKEN"]) vi.stubEnv(name, TOKEN);
  forge.releases = [{ tag: "v1", assets: { file: "1" } }];
  for (const api of KINDS) expect(await tree({ api })).toEqual({ file: "1" });
  expect(JSON.stringify(forge.log)).not.toContain(TOKEN);
  const opened = await openSource(release("release+https://github.com/org/repo"));
  onTestFinished(() => opened.close());
  expect(await opened.source.identity?.(signal)).toBe("the token of GH_TOKEN");
  expect(await (await open()).identity?.(signal)).toBe("nothing: as anybody");
});

test("a sync publishes the latest release, then the next one, and checks who signed it", async () => {
  const key = minisignKey();
  const keyFile = join(folder, "minisign.pub");
  await writeFile(keyFile, `untrusted comment: key\n${key.publicKey}\n`);
  const target = join(folder, "target");
  const signedBy = [`minisign:${keyFile}`];
  const run = () => sync({ sources: [spec({ strip: 1 })], target, signedBy });
  forge.releases = [
    { tag: "v1.0.0", assets: { "site.tgz": site, "site.tgz.minisig": minisign(key, site) } },
  ];
  await run();
  expect(await readlink(join(target, "current"))).toMatch(/\/v1\.0\.0-[0-9a-f]{12}$/);
  expect(await readFile(join(target, "current", "index.html"), "utf8")).toBe("one");
  expect(await run()).toMatchObject({ result: "unchanged" });

  const next = await archiveOf({ "site-1.1/index.html": "two" });
  forge.releases = [
    { tag: "v1.1.0", assets: { "site.tgz": next, "site.tgz.minisig": minisign(key, site) } },
  ];
  await expect(run()).rejects.toMatchObject({ code: "invalid", exitCode: 6 });
  expect(await readFile(join(target, "current", "index.html"), "utf8")).toBe("one");
  forge.releases = [
    { tag: "v1.1.0", assets: { "site.tgz": next, "site.tgz.minisig": minisign(key, next) } },
  ];
  expect(await run()).toMatchObject({ result: "published" });
  expect(await readFile(join(target, "current", "index.html"), "utf8")).toBe("two");
  expect(await readdir(join(target, "current"))).toEqual(["index.html"]);
});

test("one file that is signed, and one that is not", async () => {
  const key = minisignKey();
  const keyFile = join(folder, "minisign.pub");
  await writeFile(keyFile, key.publicKey);
  const target = join(folder, "target");
  const signedBy = [`minisign:${keyFile}`];
  const run = () => sync({ sources: [spec({ asset: "file" })], target, signedBy });
  forge.releases = [{ tag: "v1", assets: { file: "1", "file.minisig": minisign(key, "1") } }];
  await run();
  expect(await readFile(join(target, "current", "file"), "utf8")).toBe("1");
  forge.releases = [{ tag: "v2", assets: { file: "2" } }];
  await expect(run()).rejects.toMatchObject({ exitCode: 6 });
});

test.each([{}, { semver: "1" }])(
  "the release that a lock file names is fetched, also where there is a later one (%j)",
  async (options) => {
    const lock = join(folder, "pannier.lock");
    const run = (target: string, locked: boolean) =>
      sync({ sources: [spec(options)], target: join(folder, target), lock, locked });
    const first = { tag: "v1.0.0", assets: { file: "1" } };
    forge.releases = [first];
    await run("one", false);
    forge.releases = [{ tag: "v1.1.0", assets: { file: "2" } }, first];
    expect(await run("two", true)).toMatchObject({ result: "published" });
    expect(await readFile(join(folder, "two/current/file"), "utf8")).toBe("1");
    // Somebody replaced it.
    forge.releases = [{ tag: "v1.0.0", assets: { file: "3" } }];
    await expect(run("three", true)).rejects.toMatchObject({ exitCode: 6 });
  },
);
