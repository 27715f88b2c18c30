/** What is not wanted of a directory is neither entered nor asked about nor judged. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listAll } from "@pannier/adapter-kit";
import { filterScope, makeFilter, sync, type SyncOptions } from "@pannier/core";
import { expect, onTestFinished, test } from "vitest";
import { failure, never, open, site } from "../open.ts";
import type { Page, Site } from "../site.ts";
import { http } from "../../src/index.ts";

const html = (...rows: readonly string[]): Page => ({
  type: "text/html",
  body: `<html><head><title>Index of /</title></head><body>${rows.join("\n")}</body></html>`,
});
const json = (...items: readonly object[]): Page => ({
  type: "application/json",
  body: JSON.stringify(items),
});
/** With a date, so that the index is enough. */
const row = (name: string) => `<a href="${name}">${name}</a>  03-Feb-2025 04:05  1`;
/** Without: the server has to be asked about it. */
const bare = (name: string) => `<a href="${name}">${name}</a>`;
const at = { mtime: "Mon, 03 Feb 2025 04:05:06 GMT", size: 1 };

const refused: Parameters<Site["pages"]["set"]>[1] = (_, response) => {
  response.writeHead(403).end();
};

async function listed(server: Site, include: readonly string[], exclude: readonly string[]) {
  const opened = await open(`${server.origin}/`, { manifest: "none" });
  const scope = filterScope(makeFilter(include, exclude));
  const { paths } = await listAll(opened.source, never, scope);
  return { paths: paths.filter((path) => scope.wants(path)).toSorted(), opened };
}

test.each([
  ["HTML", html(row("a"), bare("private/"), row("z"))],
  [
    "JSON",
    json(
      { name: "a", type: "file", ...at },
      { name: "private", type: "directory" },
      { name: "z", type: "file", ...at },
    ),
  ],
])("a directory of an index in %s", async (_, page) => {
  const server = await site({ "/": page, "/private/": refused });
  const opened = await open(`${server.origin}/`, { manifest: "none" });
  expect((await failure(listAll(opened.source))).code).toBe("auth");
  server.log.length = 0;
  for (const [include, exclude] of [
    [[], ["private/"]],
    [[], ["/private/**"]],
    [["/?"], []],
  ] as const) {
    expect((await listed(server, include, exclude)).paths).toEqual(["a", "z"]);
  }
  expect(new Set(server.log)).toEqual(new Set(["GET / 200"]));
});

test("a directory of a directory", async () => {
  const server = await site({
    "/": html(bare("d/")),
    "/d/": html(row("a"), bare("private/"), bare("e/")),
    "/d/e/": html(row("b")),
    "/d/private/": refused,
  });
  expect((await listed(server, [], ["/d/private/"])).paths).toEqual(["d/a", "d/e/b"]);
  expect((await failure(listed(server, [], ["/private/"]))).code).toBe("auth");
});

test("a file that the server would be asked about", async () => {
  const server = await site({
    "/": html(bare("a"), bare("secret"), bare("d")),
    "/a": { body: "a" },
    "/secret": refused,
    "/d": (_, response) => void response.writeHead(301, { location: "/d/" }).end(),
    "/d/": html(bare("x.md"), bare("x.txt")),
    "/d/x.md": { body: "x" },
    "/d/x.txt": { body: "x" },
  });
  expect((await listed(server, [], ["secret"])).paths).toEqual(["a", "d/x.md", "d/x.txt"]);
  expect(server.log.filter((line) => line.includes("secret"))).toEqual([]);
  // It may be a directory with what is wanted in it.
  expect((await failure(listed(server, ["*.md"], []))).code).toBe("auth");
  expect((await listed(server, ["*.md"], ["secret"])).paths).toEqual(["d/x.md"]);
  // One that turns out to be a directory.
  server.log.length = 0;
  expect((await listed(server, ["d", "a"], ["d/", "secret"])).paths).toEqual(["a"]);
  expect(server.log).not.toContain("GET /d/ 200");
});

test.each([
  ["a name that is not UTF-8", html(bare("caf%e9"), row("a")), ["caf*"]],
  ["a directory of such a name", html(bare("caf%e9/"), row("a")), ["caf*/"]],
  ["a path through one", html(bare("caf%e9/x/y"), row("a")), ["caf*/"]],
  ["a name of a page that is not UTF-8", html(bare("caf\ufffd"), row("a")), ["caf*"]],
  [
    "a name of such an index in JSON",
    json({ name: "caf\ufffd", type: "file", ...at }, { name: "a", type: "file", ...at }),
    ["caf*"],
  ],
  ["a link that may be a version of a file", html(bare("b?v=2"), row("a")), ["b"]],
])("%s", async (_, page, exclude) => {
  const latin1 =
    typeof page.body === "string" && page.body.includes("\ufffd")
      ? { ...page, body: Buffer.from(page.body.replace("\ufffd", "\u00e9"), "latin1") }
      : page;
  const server = await site({ "/": latin1 });
  const error = await failure(listed(server, [], ["something else"]));
  expect(error.code).toBe("invalid");
  expect(error.hint).toContain("--exclude");
  expect((await listed(server, [], exclude)).paths).toEqual(["a"]);
});

test("what the server says is no file is not told of", async () => {
  const server = await site({
    "/": json({ name: "a", type: "file", ...at }, { name: "pipe", type: "other" }),
  });
  const { opened } = await listed(server, [], []);
  expect(opened.warnings).toEqual([expect.stringContaining('"pipe"')]);
  expect((await listed(server, [], ["pipe"])).opened.warnings).toEqual([]);
});

async function synced(url: string, options: Partial<SyncOptions> = {}) {
  const target = await mkdtemp(join(tmpdir(), "pannier-test-"));
  onTestFinished(() => rm(target, { recursive: true }));
  const again = () => sync({ sources: [http(url, { manifest: "none" })], target, ...options });
  await again();
  const files = () => readdir(join(target, "current"));
  return { again, files, read: (name: string) => readFile(join(target, "current", name), "utf8") };
}

test.each([
  ["first", ".pannierignore", ".secret", "a", "private/"],
  ["between", ".secret", "private/", ".pannierignore", "a"],
  ["last", "private/", "a", ".secret", ".pannierignore"],
])(".pannierignore counts where it is listed %s", async (_, ...names) => {
  const server = await site({
    "/": html(...names.map(bare)),
    "/.pannierignore": { body: ".secret\nprivate/\n" },
    "/.secret": refused,
    "/private/": refused,
    "/a": { body: "a" },
  });
  const { again, files, read } = await synced(`${server.origin}/`);
  expect(await files()).toEqual(["a"]);
  server.pages.set("/a", { body: "b" });
  await again();
  expect(await read("a")).toBe("b");
  server.pages.set("/.pannierignore", { body: ".secret\n" });
  await expect(again()).rejects.toMatchObject({ cause: { code: "auth" } });
  server.pages.set("/private/", html());
  await again();
  expect(await files()).toEqual(["a"]);
  server.pages.set("/", html(...names.filter((name) => name !== ".pannierignore").map(bare)));
  await expect(again()).rejects.toMatchObject({ cause: { code: "auth" } });
});

test("paths are those below path=, and so is .pannierignore", async () => {
  const server = await site({
    "/": html(bare("d/")),
    "/d/": html(bare(".pannierignore"), bare("x/"), bare("private/"), bare("d/")),
    "/d/.pannierignore": { body: "/private/\n" },
    "/d/private/": refused,
    "/d/x/": refused,
    "/d/d/": html(row("a")),
    "/d/d/a": { body: "1" },
  });
  const { files } = await synced(`${server.origin}/?path=d`, { exclude: ["/x/"] });
  expect(await files()).toEqual(["d"]);
});
