/** What both engines have to do alike. */
import { execFile } from "node:child_process";
import { appendFile, chmod, mkdir, readdir, stat, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { listAll, readAll } from "@pannier/adapter-kit";
import {
  type FileEntry,
  filterScope,
  makeFilter,
  type Scope,
  type SourceError,
  sync,
} from "@pannier/core";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  answerFetch,
  commitOf,
  objectId,
  packOf,
  type PackObject,
} from "../../../test/support/git-pack.ts";
import {
  changesOf,
  contentOf,
  errorOf,
  open,
  type Options,
  scratchDirectory,
  setup,
  signal,
  skipped,
  withoutGit,
} from "./setup.ts";

import { git } from "../src/index.ts";

const shared = setup();

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Items of a tree that git checks out, and that come as they are. */
const LEGAL: readonly (readonly [mode: string, name: string])[] = [
  ["100644", "plain"],
  ["100664", "of old times"],
  ["0100755", "padded"],
  ["160000", "module"],
  ["100644", ".gitignore"],
  ["100644", ".gitmodules"],
  ["120000", ".gitmodules.txt"],
  ["120000", "gitmodules"],
  ["100644", ".git2"],
  ["100644", ".git..x"],
  ["100644", "a.git"],
  ["100644", "git~2"],
  ["100644", "xgit~1"],
  ["100644", "git"],
  ["120000", "gi7eba~0"],
  ["120000", "gi7eba~1x"],
  ["100644", "gi7eba~1"],
  ["100644", "\u200c"],
];

/** Items that git's own verify_path and fsck refuse. */
const ILLEGAL: readonly (readonly [mode: string, name: string])[] = [
  // By mode: git ls-tree takes these for submodules.
  ["777777777777777777777", "a"],
  ["10644", "a"],
  ["644", "a"],
  ["0", "a"],
  ["20644", "character-device"],
  ["60644", "block-device"],
  ["140755", "socket"],
  ["160755", "submodule"],
  // .git, as somebody's file system reads it.
  ...["100644", "100755", "120000", "160000"].map((mode) => [mode, ".git"] as const),
  ...[".GIT", ".gIt", "git~1", "GIT~1", ".git ", ".git.", ".git . .", "git~1 ", "git~1."].map(
    (name) => ["100644", name] as const,
  ),
  ["100644", ".git::$INDEX_ALLOCATION"],
  ["100644", ".git:x"],
  ["100644", "git~1::$INDEX_ALLOCATION"],
  ["100644", ".git . ::$DATA"],
  ["100644", ".git\\config"],
  ["100644", "x\\.git"],
  ["100644", "x\\git~1\\hooks"],
  ["100644", ".g\u200cit"],
  ["100644", "\ufeff.git"],
  ["100644", ".git\u202e"],
  ["100644", ".\u206aG\u206fI\u200fT"],
  // A symlink in the place of .gitmodules.
  ...[
    ".gitmodules",
    ".GitModules",
    ".gitmodules ",
    ".gitmodules.",
    ".gitmodules::$DATA",
    "GITMOD~1",
    "gitmod~4 .",
    "gi7eba~1",
    "GI7EBA~9",
    "gi7eb~10",
    "gi7~1234",
    "~1000000",
    "x\\.gitmodules",
    ".git\u200cmodules",
  ].map((name) => ["120000", name] as const),
];

const id = ({ type, data }: PackObject): string => objectId(type, data);

/** How many commits of what was fetched last a cache holds. */
async function commitsIn(dir: string): Promise<number> {
  const args = ["-C", dir, "rev-list", "--count", "refs/heads/latest"];
  return Number((await promisify(execFile)("git", args)).stdout);
}

const leavingOut = (...patterns: readonly string[]) => filterScope(makeFilter([], patterns));
const latin1 = (text: string) => Buffer.from(text, "latin1");

const modules = (urls: Record<string, string>) =>
  Object.entries(urls)
    .map(([path, url]) => `[submodule "${path}"]\n\tpath = ${path}\n\turl = ${url}\n`)
    .join("");

describe.skipIf(withoutGit).each(["cli", "js"] as const)(`engine=%s${skipped}`, (engine) => {
  test("follows a branch over additions, changes, modes and deletions", async () => {
    const repository = await shared.repository();
    const first = await repository.commit({
      "a.txt": "one",
      "bin/run": { executable: "#!/bin/sh\n" },
      "bin/link": { symlink: "../a.txt" },
      "deep/er/and/deeper": "x",
      empty: "",
    });
    const { source } = await open(repository.url, { engine, ref: "main" });
    expect(await source.probe(signal())).toEqual({ token: first, revision: first });
    expect(await contentOf(source)).toEqual({
      "a.txt": "one",
      "bin/link": "-> ../a.txt",
      "bin/run": "*#!/bin/sh\n",
      "deep/er/and/deeper": "x",
      empty: "",
    });

    const second = await repository.commit(
      {
        "a.txt": { executable: "one" },
        bin: "now a file",
        "deep/er/and/deeper": undefined,
        empty: "no more",
        new: { symlink: "a.txt" },
      },
      { time: 1_700_000_123 },
    );
    expect((await source.probe(signal()))?.revision).toBe(second);
    expect(await changesOf(source, first, second)).toEqual({
      "a.txt": "*one",
      bin: "now a file",
      "bin/link": "deleted",
      "bin/run": "deleted",
      "deep/er/and/deeper": "deleted",
      empty: "no more",
      new: "-> a.txt",
    });
    const { entries } = await listAll(source);
    expect([...entries.values()].map(({ mtime }) => mtime)).toEqual(
      Array.from(entries, () => 1_700_000_123_000),
    );
    // And back, from what is in the cache.
    shared.server.requests.length = 0;
    expect(Object.keys((await changesOf(source, second, first)) ?? {}).toSorted()).toEqual([
      "a.txt",
      "bin",
      "bin/link",
      "bin/run",
      "deep/er/and/deeper",
      "empty",
      "new",
    ]);
    expect(shared.server.requests).toEqual([]);
  });

  test("follows a branch that was pushed by force", async () => {
    const repository = await shared.repository();
    const first = await repository.commit({ kept: "1", gone: "2" });
    const { source } = await open(repository.url, { engine });
    await contentOf(source);
    const second = await repository.commit({ kept: "1", other: "3" }, { orphan: true });
    await repository.git("reflog", "expire", "--expire=now", "--all");
    await repository.git("gc", "-q", "--prune=now");
    expect(await changesOf(source, first, second)).toEqual({ gone: "deleted", other: "3" });
  });

  test("does not know changes from a revision that is not in the cache", async () => {
    const repository = await shared.repository();
    const first = await repository.commit({ a: "1" });
    const second = await repository.commit({ a: "2" });
    const { source } = await open(repository.url, { engine });
    expect(await source.changes?.(first, second, signal())).toBeUndefined();
  });

  test("peels annotated tags, follows moved ones, and prefers a tag to a branch of its name", async () => {
    const repository = await shared.repository();
    const first = await repository.commit({ a: "1" });
    const second = await repository.commit({ a: "2" });
    await repository.git("tag", "-a", "-m", "x", "v1", first);
    const { source } = await open(repository.url, { engine, ref: "v1" });
    expect((await source.probe(signal()))?.revision).toBe(first);
    expect(await contentOf(source)).toEqual({ a: "1" });
    await repository.git("tag", "-f", "-a", "-m", "x", "v1", second);
    expect((await source.probe(signal()))?.revision).toBe(second);
    await repository.git("tag", "-f", "light", first);
    await repository.git("branch", "light", second);
    const light = await open(repository.url, { engine, ref: "light" });
    for (let poll = 0; poll < 3; poll++)
      expect((await light.source.probe(signal()))?.revision).toBe(first);
    expect(light.warnings).toEqual([
      "ref=light has two meanings: refs/tags/light is taken; write ref=refs/heads/light for the other",
    ]);
    await repository.git("branch", "heads/light", first);
    await repository.git("update-ref", "refs/remotes/origin/main", first);
    for (const [ref, commit] of [
      ["refs/tags/light", first],
      ["tags/light", first],
      ["tags/v1", second],
      ["heads/light", second],
      ["heads/main", second],
      ["origin/main", first],
      ["remotes/origin/main", first],
      ["refs/heads/light", second],
    ] as const) {
      const exact = await open(repository.url, { engine, ref });
      expect([ref, (await exact.source.probe(signal()))?.revision]).toEqual([ref, commit]);
      // As git says.
      expect((await repository.git("rev-parse", `${ref}^{commit}`)).trim()).toBe(commit);
    }
  });

  test("takes a full SHA without asking, and says that it never changes", async () => {
    const repository = await shared.repository();
    const first = await repository.commit({ a: "1" });
    await repository.commit({ a: "2" });
    const { source } = await open(repository.url, { engine, ref: first });
    expect(await source.probe(signal())).toEqual({
      token: first,
      revision: first,
      immutable: true,
    });
    expect(shared.server.requests).toEqual([]);
    expect(await contentOf(source)).toEqual({ a: "1" });
    const missing = await open(repository.url, { engine, ref: "1".repeat(40) });
    expect(await errorOf(missing.source.list(signal()))).toMatchObject({ code: "not-found" });
  });

  test("takes the remote's HEAD without a ref", async () => {
    const repository = await shared.repository();
    await repository.commit({ a: "main" });
    const other = await repository.commit({ a: "trunk" }, { branch: "trunk" });
    await repository.git("symbolic-ref", "HEAD", "refs/heads/trunk");
    const { source } = await open(repository.url, { engine });
    expect((await source.probe(signal()))?.revision).toBe(other);
  });

  test("lists a subdirectory as the root, and nothing beside it", async () => {
    const repository = await shared.repository();
    const first = await repository.commit({
      "site/a": "1",
      "site/b/c": "2",
      "site-old/x": "3",
      y: "4",
    });
    const { source } = await open(repository.url, { engine, path: "/site/" });
    expect(await contentOf(source)).toEqual({ a: "1", "b/c": "2" });
    const second = await repository.commit({ "site/a": "one", y: "four" });
    expect(await changesOf(source, first, second)).toEqual({ a: "one" });
    const file = await open(repository.url, { engine, path: "y" });
    const error = await errorOf(file.source.list(signal()));
    expect(error).toMatchObject({ code: "not-found" });
    expect(error.message).toContain('"y"');
  });

  test("follows no symlink to its subdirectory (CVE-2025-8959)", async () => {
    const repository = await shared.repository();
    await repository.commit({
      site: { symlink: "../../etc" },
      up: { symlink: "real" },
      "real/a": "1",
    });
    for (const path of ["site", "site/ssl", "up", "up/a"]) {
      const { source } = await open(repository.url, { engine, path });
      expect(await errorOf(source.list(signal()))).toMatchObject({ code: "not-found" });
    }
  });

  test("says what is missing: the ref, the repository, a first commit", async () => {
    const repository = await shared.repository();
    const empty = await open(repository.url, { engine });
    expect(await errorOf(empty.source.list(signal()))).toMatchObject({
      code: "not-found",
      message: "the repository has no commits yet",
    });
    await repository.commit({ a: "1" }, { branch: "release" });
    const { source } = await open(repository.url, { engine, ref: "relaese" });
    expect(await errorOf(source.probe(signal()))).toMatchObject({
      code: "not-found",
      message: 'there is no branch or tag "relaese"',
      hint: 'did you mean "release"?',
    });
    const short = await open(repository.url, { engine, ref: "abcdef1" });
    expect((await errorOf(short.source.probe(signal()))).hint).toMatch(/whole SHA/);
    const gone = await open(`${shared.server.url}/gone.git`, { engine });
    expect(await errorOf(gone.source.probe(signal()))).toMatchObject({
      code: "not-found",
      message: "the repository does not exist",
    });
  });

  test("says nothing is missing where the server fails before that is certain", async () => {
    const repository = await shared.repository();
    await repository.commit({ a: "1" });
    const { source } = await open(repository.url, { engine, ref: "other" });
    let asked = 0;
    shared.server.intercept = (_, response) => {
      if (++asked < 2) return false;
      response.writeHead(503).end();
      return true;
    };
    expect(await errorOf(source.probe(signal()))).toMatchObject({
      code: "unavailable",
      transient: true,
    });
  });

  test("speaks the original protocol with a server that has no other", async () => {
    shared.server.protocol2 = false;
    const repository = await shared.repository();
    const first = await repository.commit({ a: "1", b: "2" });
    await repository.git("tag", "-a", "-m", "x", "v1", first);
    const { source } = await open(repository.url, { engine });
    expect(await contentOf(source)).toEqual({ a: "1", b: "2" });
    const second = await repository.commit({ a: "one" });
    expect(await changesOf(source, first, second)).toEqual({ a: "one" });
    shared.server.requests.length = 0;
    await source.probe(signal());
    expect(shared.server.requests).toHaveLength(1);
    const tag = await open(repository.url, { engine, ref: "v1" });
    expect((await tag.source.probe(signal()))?.revision).toBe(first);
  });

  test.each([400, 403, 404, 415, 500, 502, 503])(
    "asks a server first that answers %i to a request of protocol 2, and remembers that",
    async (status) => {
      shared.server.protocol2 = false;
      const repository = await shared.repository();
      const first = await repository.commit({ a: "1" });
      shared.server.intercept = (request, response) => {
        if (request.headers["git-protocol"] !== "version=2" || request.method !== "POST")
          return false;
        response.writeHead(status).end("what is this?");
        return true;
      };
      const { source } = await open(repository.url, { engine });
      // A server's error is one until the engine tries again.
      const found = await contentOf(source).catch(({ code, transient }: SourceError) => {
        return { code, transient };
      });
      expect(found).toEqual(status >= 500 ? { code: "unavailable", transient: true } : { a: "1" });
      expect(await contentOf(source)).toEqual({ a: "1" });
      const second = await repository.commit({ a: "2" });
      shared.server.requests.length = 0;
      expect((await source.probe(signal()))?.revision).toBe(second);
      expect(await changesOf(source, first, second)).toEqual({ a: "2" });
      expect(shared.server.requests.map(({ url }) => url.replace(/.*\.git/, ""))).toEqual([
        "/info/refs?service=git-upload-pack",
        "/git-upload-pack",
      ]);
    },
  );

  test("takes a server's refusal for what it is where the other way is refused, too", async () => {
    const { source } = await open(`${shared.server.url}/any.git`, { engine });
    for (const [status, code] of [
      [403, "auth"],
      [500, "unavailable"],
    ] as const) {
      shared.server.intercept = (_, response) => response.writeHead(status).end() !== undefined;
      expect(await errorOf(source.probe(signal()))).toMatchObject({ code });
    }
  });

  test.each([true, false])("heeds media types alone: protocol 2 is %s", async (protocol2) => {
    shared.server.protocol2 = protocol2;
    const repository = await shared.repository();
    await repository.commit({ a: "1" });
    shared.server.intercept = (_, response) => {
      const set = response.setHeader.bind(response);
      response.setHeader = (name, value) =>
        set(
          name,
          /^content-type$/i.test(name) ? `${String(value).toUpperCase()} ; charset=utf-8` : value,
        );
      return false;
    };
    const { source } = await open(repository.url, { engine });
    expect(await contentOf(source)).toEqual({ a: "1" });
  });

  test("says that a server only has files", async () => {
    const refs = `${"1".repeat(40)}\trefs/heads/main\n`;
    shared.server.intercept = (request, response) => {
      if (request.method === "GET") response.setHeader("content-type", "text/plain").end(refs);
      else response.writeHead(405).end();
      return true;
    };
    const { source } = await open(`${shared.server.url}/dumb.git`, { engine });
    expect(await errorOf(source.probe(signal()))).toMatchObject({
      code: "unsupported",
      message: "the server only knows git's dumb HTTP protocol",
    });
  });

  test("fetches only what is new", async () => {
    const repository = await shared.repository();
    const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(60_000)));
    const first = await repository.commit({ large: noise, small: "1" });
    const scratch = await scratchDirectory();
    const { source } = await open(repository.url, { engine }, { scratch: async () => scratch });
    await contentOf(source);
    const second = await repository.commit({ small: "2" });
    await changesOf(source, first, second);
    const packs = join(scratch, "repository/objects/pack");
    const sizes = await Promise.all(
      (await readdir(packs))
        .filter((name) => name.endsWith(".pack"))
        .map(async (name) => (await stat(join(packs, name))).size),
    );
    expect(sizes).toHaveLength(2);
    expect(Math.min(...sizes)).toBeLessThan(1000);
  });

  test.each([
    [0, 2],
    [3, 2],
    [3, 0],
  ])("keeps as much history as asked for: depth=%i, protocol %i", async (depth, protocol) => {
    shared.server.protocol2 = protocol === 2;
    const repository = await shared.repository();
    let last = "";
    for (const a of ["1", "2", "3", "4"]) last = await repository.commit({ a, b: "same" });
    const scratch = await scratchDirectory();
    const context = { scratch: async () => scratch };
    const { source } = await open(repository.url, { engine, depth }, context);
    expect(await contentOf(source)).toEqual({ a: "4", b: "same" });
    const history = () => commitsIn(join(scratch, "repository"));
    expect(await history()).toBe(depth === 0 ? 4 : 3);
    const next = await repository.commit({ a: "5" });
    expect(await changesOf(source, last, next)).toEqual({ a: "5" });
    const forced = await repository.commit({ a: "new", c: "1" }, { orphan: true });
    expect(await changesOf(source, next, forced)).toEqual({ a: "new", b: "deleted", c: "1" });
    expect(await history()).toBe(1);
    await source.close();
    // Back where it was, with more history than is there.
    await repository.git("update-ref", "refs/heads/main", next);
    await repository.commit({ a: "6" });
    const more = await open(repository.url, { engine, depth: depth === 0 ? 0 : 5 }, context);
    expect(await contentOf(more.source)).toEqual({ a: "6", b: "same" });
    expect(await history()).toBe(depth === 0 ? 6 : 5);
  });

  test("takes in no more at once than the tree may have", async () => {
    const repository = await shared.repository();
    await repository.commit({ noise: Buffer.from(crypto.getRandomValues(new Uint8Array(60_000))) });
    const scratch = await scratchDirectory();
    const limits = { maxFiles: 10, maxBytes: 20_000, maxFileBytes: 1e9, maxExpansion: 200 };
    const context = { scratch: async () => scratch, limits };
    const { source } = await open(repository.url, { engine }, context);
    await expect(source.list(signal())).rejects.toMatchObject({ name: "NoRoomError" });
    expect(await readdir(join(scratch, "repository/objects/pack"))).toEqual([]);
  });

  test("lists any names in the order of their bytes", async () => {
    const name = fc.string({ unit: "binary", minLength: 1, maxLength: 3 });
    const part = name.filter((text) => !/[\0/]/.test(text) && !/^\.{1,2}$|^\.git$/i.test(text));
    const near = fc.constantFrom(
      "a",
      "a.",
      "a-",
      "a0",
      "a!",
      "b",
      "\u{1f600}",
      "\uffee",
      "\u{e000}",
    );
    const path = fc.array(fc.oneof(part, near), { minLength: 1, maxLength: 4 });
    const sample = fc.sample(path, { numRuns: 400, seed: 42 }).map((parts) => parts.join("/"));
    const files = Object.fromEntries(sample.map((each) => [each, "x"]));
    const repository = await shared.repository();
    await repository.commit(files);
    const { paths } = await listAll((await open(repository.url, { engine })).source);
    expect(paths.length).toBeGreaterThan(200);
    expect(paths).toEqual(paths.toSorted(byBytes));
  });

  test("lets nothing but an object id get to git", async () => {
    const repository = await shared.repository();
    const sha = await repository.commit({ a: "1" });
    const { source } = await open(repository.url, { engine });
    const entry = (await listAll(source)).file("a");
    for (const fingerprint of [
      "--batch-all-objects",
      `${entry.fingerprint}\n${sha}`,
      "HEAD:a",
      sha.slice(0, 8),
    ])
      for (const size of [1, 9_000_000])
        expect(await errorOf(readAll(source, { ...entry, fingerprint, size }))).toMatchObject({
          code: "changed",
        });
    expect(await source.changes?.("--output=x", sha, signal())).toBeUndefined();
    expect(await source.changes?.(sha, "HEAD", signal())).toBeUndefined();
  });

  test("works on with the cache of an earlier run", async () => {
    const repository = await shared.repository();
    const first = await repository.commit({ a: "1" });
    const scratch = await scratchDirectory();
    const context = { scratch: async () => scratch };
    const before = await open(repository.url, { engine }, context);
    const entry = (await listAll(before.source)).file("a");
    await before.source.close();
    const second = await repository.commit({ a: "2" });
    const { source } = await open(repository.url, { engine }, context);
    expect((await readAll(source, entry)).toString()).toBe("1");
    expect(await changesOf(source, first, second)).toEqual({ a: "2" });
  });

  test.each([
    [
      "a pack that lost its end",
      async (packs: string, pack: string) => truncate(join(packs, pack), 50),
    ],
    [
      "a pack full of zeros",
      async (packs: string, pack: string) => writeFile(join(packs, pack), Buffer.alloc(500)),
    ],
    [
      "an index of noise",
      async (packs: string, pack: string) =>
        writeFile(join(packs, pack.replace(/pack$/, "idx")), "noise"),
    ],
  ])("heals a damaged cache: %s", async (_, damage) => {
    const repository = await shared.repository();
    await repository.commit({ a: "1".repeat(500), b: "2" });
    const scratch = await scratchDirectory();
    const context = { scratch: async () => scratch };
    const before = await open(repository.url, { engine }, context);
    await contentOf(before.source);
    await before.source.close();
    const packs = join(scratch, "repository/objects/pack");
    for (const name of await readdir(packs)) {
      await chmod(join(packs, name), 0o644);
      if (name.endsWith(".pack")) await damage(packs, name);
    }
    const { source } = await open(repository.url, { engine }, context);
    // The engine tries again what failed for a while.
    const codes: unknown[] = [];
    let content: Record<string, string> | undefined;
    for (let tries = 0; content === undefined && tries < 3; tries++)
      content = await contentOf(source).catch((error: { code?: string }) => {
        codes.push(error.code);
        return undefined;
      });
    expect(codes.filter((code) => code !== "unavailable" && code !== "changed")).toEqual([]);
    expect(content).toEqual({ a: "1".repeat(500), b: "2" });
  });

  test("removes what others put into its cache, and what an interrupted run left", async () => {
    const repository = await shared.repository();
    await repository.commit({ a: "1" });
    const scratch = await scratchDirectory();
    const context = { scratch: async () => scratch };
    await contentOf((await open(repository.url, { engine }, context)).source);
    const cache = join(scratch, "repository");
    const proof = join(scratch, "proof");
    await mkdir(join(cache, "hooks"));
    await mkdir(join(cache, "objects/info"));
    for (const hook of ["post-checkout", "reference-transaction", "post-index-change"])
      await writeFile(join(cache, "hooks", hook), `#!/bin/sh\ntouch ${proof}\n`, { mode: 0o755 });
    await appendFile(
      join(cache, "config"),
      `[core]\n\tfsmonitor = touch ${proof}\n\thooksPath = ${cache}/hooks\n\tpager = touch ${proof}\n`,
    );
    await writeFile(join(cache, "objects/info/alternates"), "/somewhere/else\n");
    await writeFile(join(cache, "shallow.lock"), "");
    await writeFile(join(cache, "objects/pack/tmp_pack_x"), "half");
    const second = await repository.commit({ a: "2" });
    const { source } = await open(repository.url, { engine }, context);
    expect(await contentOf(source)).toEqual({ a: "2" });
    expect(await readdir(scratch)).toEqual(["repository"]);
    expect((await readdir(cache)).toSorted()).toEqual(
      ["HEAD", "config", "objects", "refs"].concat(second ? ["shallow"] : []),
    );
    expect(await readdir(join(cache, "objects"))).toEqual(["pack"]);
    expect(
      (await readdir(join(cache, "objects/pack"))).filter((name) => name.startsWith("tmp")),
    ).toEqual([]);
  });

  test("passes names on that the engine judges", async () => {
    const { listed } = await treeOf([["100644", ".."]]);
    expect((await listed()).paths).toEqual([".."]);
  });

  test.each(LEGAL)("takes what git takes: mode %s, name %j", async (mode, name) => {
    const { listed, changes } = await treeOf([[mode, name]]);
    const paths = mode === "160000" ? [] : [name];
    expect((await listed()).paths).toEqual(paths);
    expect(Object.keys((await changes()) ?? {}).toSorted()).toEqual(["first", ...paths].toSorted());
  });

  test.each(ILLEGAL)("refuses what git refuses: mode %s, name %j", async (mode, name) => {
    const { listed, changes } = await treeOf([[mode, name]]);
    expect(await errorOf(listed())).toMatchObject({ code: "invalid", transient: false });
    expect(await errorOf(changes())).toMatchObject({ code: "invalid", transient: false });
  });

  test.each([
    ["777777777777777777777", "a"],
    ["100644", ".git"],
    ["120000", ".gitmodules"],
  ])("refuses it at any depth: mode %s, name %j", async (mode, name) => {
    const { listed, changes } = await treeOf([[mode, name]], "deep/er");
    expect(await errorOf(listed())).toMatchObject({ code: "invalid", transient: false });
    expect(await errorOf(changes())).toMatchObject({ code: "invalid", transient: false });
  });

  test.each([
    [
      ["100644", "a"],
      ["100644", "a"],
    ],
    [
      ["100644", "b"],
      ["100644", "a"],
    ],
  ] as const)("refuses a tree in disorder: %j, %j", async (...items) => {
    const { listed, changes } = await treeOf(items);
    expect(await errorOf(listed())).toMatchObject({ code: "invalid" });
    expect(await errorOf(changes())).toMatchObject({ code: "invalid" });
  });

  test.each(["100644 a", "100644 a\0short", "100x44 a\0aaaaaaaaaaaaaaaaaaaa", "nothing"])(
    "refuses a tree whose bytes have no form: %j",
    async (bytes) => {
      const tree = { type: "tree" as const, data: Buffer.from(bytes) };
      const commit = commitOf(id(tree));
      shared.server.intercept = (request, response) => {
        void answerFetch(request, response, id(commit), [packOf([tree, commit])]);
        return true;
      };
      const { source } = await open(`${shared.server.url}/any.git`, { engine });
      expect(await errorOf(listAll(source))).toMatchObject({ code: "invalid", transient: false });
    },
  );

  test.each<[mode: string, name: string | Buffer, pattern: string]>([
    ["777777777777777777777", "a", "/deep/a"],
    ["20644", "device", "device"],
    ["100644", ".git", ".git"],
    ["160000", ".GIT", "deep/"],
    ["120000", ".gitmodules", "/deep/.git*"],
    ["100644", latin1("caf\u00e9"), "caf*"],
    ["160000", latin1("caf\u00e9"), "/deep/**"],
  ])("does not judge what is left out: mode %s, name %s", async (mode, name, pattern) => {
    const items = [
      [mode, name],
      ["100644", "z"],
    ] as const;
    const { listed, changes } = await treeOf(items, "deep");
    const paths = pattern.startsWith("deep") || pattern.endsWith("**") ? [] : ["deep/z"];
    const scope = leavingOut(pattern);
    const seen = async () => (await listed(scope)).paths.filter((path) => scope.wants(path));
    expect(await seen()).toEqual(paths);
    const changed = Object.keys((await changes(scope)) ?? {}).filter((path) => scope.wants(path));
    expect(changed.toSorted()).toEqual([...paths, "first"].toSorted());
    const other = leavingOut("else");
    expect(await errorOf(listed(other))).toMatchObject({ code: "invalid" });
    expect(await errorOf(changes(other))).toMatchObject({ code: "invalid" });
    // Of what path= leaves out, only names are seen.
    const beside = await treeOf([...items, ["40000", "zz"]], "", { path: "zz" });
    expect((await beside.listed()).paths).toEqual(["first"]);
  });

  test("two directories whose names are not UTF-8 are not taken for one", async () => {
    const { listed, changes } = await treeOf([
      ["40000", latin1("caf\u00e8")],
      ["40000", latin1("caf\u00e9")],
      ["100644", "caf\ufffd"],
      ["40000", "d"],
    ]);
    const scope = leavingOut("caf*/");
    const paths = ["caf\ufffd", "d/first"];
    expect((await listed(scope)).paths).toEqual(paths);
    const changed = Object.keys((await changes(scope)) ?? {});
    expect(changed.toSorted()).toEqual([...paths, "first"].toSorted());
    expect(await errorOf(listed(leavingOut("/caf?/x")))).toMatchObject({ code: "invalid" });
  });

  describe("submodules", () => {
    const GONE = "http://127.0.0.1:1/private.git";
    async function withModules(early = "") {
      const inner = await shared.repository();
      const there = await inner.commit({ "in.txt": "1" });
      const nested = await shared.repository();
      const middle = await nested.commit({
        ".gitmodules": modules({ deep: GONE }),
        deep: { submodule: there },
        "n.txt": "2",
      });
      const outer = await shared.repository();
      await outer.commit({
        ".gitmodules": modules({
          ...(early === "" ? {} : { [early]: GONE }),
          "lib/a": inner.url,
          "lib/private": GONE,
          nested: nested.url,
        }),
        ...(early === "" ? {} : { [early]: { submodule: there } }),
        "lib/a": { submodule: there },
        "lib/private": { submodule: there },
        nested: { submodule: middle },
        top: "0",
      });
      return outer;
    }

    const ALL = ["lib/a/in.txt", "nested/n.txt", "top"];

    test.each([
      ["by name", [], ["/lib/private/", "/nested/deep/"], ALL],
      ["with all of them", [], ["lib/", "nested"], ["top"]],
      ["by what is wanted", ["lib/a/**", "/top"], [], ["lib/a/in.txt", "top"]],
    ])("one that is left out %s is not fetched", async (_, include, exclude, paths) => {
      const { url } = await withModules();
      const { source, warnings } = await open(url, { engine, submodules: "recursive" });
      const scope = filterScope(makeFilter(include, exclude));
      const listed = await listAll(source, signal(), scope);
      const wanted = listed.paths.filter((path) => scope.wants(path) && path !== ".gitmodules");
      expect(wanted.filter((path) => !path.endsWith(".gitmodules"))).toEqual(paths);
      expect(warnings).toEqual([]);
    });

    test("one that cannot be fetched fails the listing, and the error says how to leave it out", async () => {
      const { url } = await withModules();
      const { source } = await open(url, { engine, submodules: "recursive" });
      const first = await errorOf(listAll(source));
      expect(first).toMatchObject({ code: "unavailable", transient: true });
      expect(first.message).toContain('the submodule "lib/private" cannot be fetched: ');
      expect(first.hint).toMatch(/--exclude \/lib\/private\/ leaves it out$/);
      const scope = leavingOut("/lib/private/");
      const second = await errorOf(listAll(source, signal(), scope));
      expect(second.hint).toMatch(/--exclude \/nested\/deep\/ leaves it out$/);
      // Where the URL is of no use.
      const repository = await shared.repository();
      const commit = await repository.commit({ a: "1" });
      await repository.commit({
        ".gitmodules": modules({ lib: "rsync://example.com/x" }),
        lib: { submodule: commit },
      });
      const odd = await open(repository.url, { engine, submodules: "shallow" });
      const third = await errorOf(listAll(odd.source));
      expect(third).toMatchObject({
        code: "unsupported",
        hint: expect.stringMatching(/\/lib\/ leaves/),
      });
    });

    test(".pannierignore leaves one out, from the first sync on", async () => {
      // Listed before the ignore file.
      const outer = await withModules("-private");
      await outer.commit({ ".pannierignore": "*private/\ndeep/\n.gitmodules\n" });
      const target = await scratchDirectory();
      const again = () =>
        sync({ sources: [git(outer.url, { engine, submodules: "recursive" })], target });
      const files = async () =>
        (await readdir(join(target, "current"), { recursive: true, withFileTypes: true }))
          .filter((entry) => entry.isFile())
          .map(({ name }) => name)
          .toSorted();
      await again();
      expect(await files()).toEqual(["in.txt", "n.txt", "top"]);
      await outer.commit({ top: "1", more: "2" });
      await again();
      expect(await files()).toEqual(["in.txt", "more", "n.txt", "top"]);
      await outer.commit({ ".pannierignore": undefined });
      await expect(again()).rejects.toThrow('"-private" cannot be fetched');
    });
  });

  /** A source with a first commit, and then one with a tree as it is given: listed, and to be asked for changes. No git server would send it. */
  async function treeOf(
    items: readonly (readonly [mode: string, name: string | Uint8Array])[],
    below = "",
    options: Options = {},
  ) {
    const blob: PackObject = { type: "blob", data: Buffer.from("x") };
    const treeWith = (oid: string, names: typeof items): PackObject => {
      const raw = names.flatMap(([mode, name]) => [
        Buffer.from(`${mode} `),
        Buffer.from(name),
        Buffer.from([0]),
        Buffer.from(mode === "40000" && oid === id(blob) ? id(good) : oid, "hex"),
      ]);
      return { type: "tree", data: Buffer.concat(raw) };
    };
    const good: PackObject = {
      type: "tree",
      data: Buffer.concat([Buffer.from("100644 first\0"), Buffer.from(id(blob), "hex")]),
    };
    const trees = [treeWith(id(blob), items)];
    for (const name of below === "" ? [] : below.split("/").toReversed())
      trees.push(treeWith(id(trees.at(-1) as PackObject), [["40000", name]]));
    const commits = [good, trees.at(-1) as PackObject].map((tree) => commitOf(id(tree)));
    const [first = "", second = ""] = commits.map(id);
    let head = first;
    const pack = packOf([blob, good, ...trees, ...commits]);
    shared.server.intercept = (request, response) => {
      void answerFetch(request, response, head, [pack]);
      return true;
    };
    const { source } = await open(`${shared.server.url}/any.git`, { ...options, engine });
    if (options.path === undefined) await listAll(source);
    head = second;
    return {
      changes: (scope?: Scope) => changesOf(source, first, second, scope),
      listed: (scope?: Scope) => listAll(source, signal(), scope),
    };
  }

  test("a server that is down is unavailable, and may be up again", async () => {
    const nobody = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => nobody.once("listening", resolve));
    const { port } = nobody.address() as { port: number };
    await new Promise((resolve) => nobody.close(resolve));
    const { source } = await open(`git+http://127.0.0.1:${port}/x.git`, { engine });
    expect(await errorOf(source.probe(signal()))).toMatchObject({
      code: "unavailable",
      transient: true,
    });
  });

  test("a fetch that is cut in the middle leaves nothing, and the next one succeeds", async () => {
    const repository = await shared.repository();
    const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(60_000)));
    await repository.commit({ noise });
    const scratch = await scratchDirectory();
    const { source } = await open(repository.url, { engine }, { scratch: async () => scratch });
    shared.server.intercept = (request, response) => {
      if (request.method !== "POST") return false;
      const write = response.write.bind(response) as (chunk: Uint8Array) => boolean;
      let sent = 0;
      response.write = ((chunk: Uint8Array) => {
        sent += chunk.length;
        if (sent > 20_000) response.destroy();
        return write(chunk);
      }) as typeof response.write;
      return false;
    };
    expect(await errorOf(source.list(signal()))).toMatchObject({ code: "unavailable" });
    expect(await readdir(join(scratch, "repository/objects/pack"))).toEqual([]);
    shared.server.intercept = undefined;
    expect((await listAll(source)).paths).toEqual(["noise"]);
  });

  test("an idle poll is one request, and many leave nothing behind", async () => {
    const repository = await shared.repository();
    await repository.commit({ a: "1" });
    const scratch = await scratchDirectory();
    const { source, requests } = await open(
      repository.url,
      { engine },
      { scratch: async () => scratch },
    );
    await contentOf(source);
    const before = await readdir(scratch, { recursive: true });
    const asked = requests.length;
    for (let i = 0; i < 50; i++) await source.probe(signal());
    expect(shared.server.requests.length).toBe(asked + 50);
    expect(await readdir(scratch, { recursive: true })).toEqual(before);
  });

  test("the cache stays small over many changes", async () => {
    const repository = await shared.repository();
    let from = await repository.commit({ a: "0", b: "kept" });
    const scratch = await scratchDirectory();
    const { source } = await open(repository.url, { engine }, { scratch: async () => scratch });
    await contentOf(source);
    let again = 0;
    for (let i = 1; i <= 45; i++) {
      const to = await repository.commit({ a: String(i) });
      const changes = await changesOf(source, from, to);
      if (changes === undefined) again++;
      expect(changes ?? { a: String(i) }).toEqual({ a: String(i) });
      from = to;
    }
    // git repacks; JavaScript has to fetch everything again.
    expect(again).toBe(engine === "cli" ? 0 : 1);
    const packs = (await readdir(join(scratch, "repository/objects/pack"))).filter((name) =>
      name.endsWith(".pack"),
    );
    expect(packs.length).toBeLessThan(20);
    expect(await contentOf(source)).toEqual({ a: "45", b: "kept" });
  });

  test("a file that is no longer in the cache has changed, and comes back with the next listing", async () => {
    const repository = await shared.repository();
    await repository.commit({ a: "1" });
    const { source } = await open(repository.url, { engine });
    const entry = (await listAll(source)).file("a");
    const other: FileEntry = { ...entry, fingerprint: "2".repeat(40) };
    expect(await errorOf(readAll(source, other))).toMatchObject({ code: "changed" });
    expect((await readAll(source, (await listAll(source)).file("a"))).toString()).toBe("1");
  });
});
