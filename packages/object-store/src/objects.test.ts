import { filterScope, makeFilter } from "@pannier/core";
import { type Entry, parseLocation, type Scope } from "@pannier/core/adapter";
import { describe, expect, test } from "vitest";
import { locate } from "./locate.ts";
import { listObjects, type ListObjectsPage, rootOf } from "./objects.ts";

const { signal } = new AbortController();

/** Lists a bucket of these keys, whose content is their name, or empty where that ends with a slash. */
async function list(
  url: string,
  keys: readonly string[],
  contentOf = (key: string) => key.length,
  scope?: Scope,
) {
  const root = rootOf(parseLocation(url));
  const warnings: string[] = [];
  const listPage: ListObjectsPage = async (prefix, { after = "", to = "\uffff" }) => ({
    items: keys
      .filter((key) => key.startsWith(prefix) && key > after && key <= to)
      .toSorted()
      .map((key) => ({
        key,
        size: key.endsWith("/") && contentOf(key) === key.length ? 0 : contentOf(key),
        fingerprint: `etag of ${key}`,
      })),
    next: undefined,
  });
  const entries: Entry[] = [];
  const init = { root, scope, listPage, atOnce: 4, warn: (text: string) => warnings.push(text) };
  for await (const batch of listObjects(init, signal)) entries.push(...batch);
  const keyed = entries.map((entry) =>
    entry.kind === "file" ? [entry.path, locate(root, entry).key] : [],
  );
  return { found: Object.fromEntries(keyed) as Record<string, string>, warnings };
}

test("a prefix ends where it was written", async () => {
  const keys = ["site-old/a", "site/a", "site/b/c", "site.html", "sit"];
  const below = { found: { a: "site/a", "b/c": "site/b/c" }, warnings: [] };
  expect(await list("s3://b/site", keys)).toEqual(below);
  expect(await list("s3://b/site/", keys)).toEqual(below);
  expect(await list("s3://b/site.html", keys)).toEqual({
    found: { "site.html": "site.html" },
    warnings: [],
  });
  expect(await list("s3://b", keys)).toMatchObject({ found: { "site/b/c": "site/b/c" } });
  expect(await list("s3://b/", keys)).toMatchObject({ found: { sit: "sit" } });
});

test("an object and what lies below it: the directory is meant, and that is said", async () => {
  const { found, warnings } = await list("s3://b/site", ["site", "site/a"]);
  expect(found).toEqual({ a: "site/a" });
  expect(warnings).toEqual([expect.stringContaining('"site" is left out')]);
});

test("a single object has its last name, and is told apart from one of that name below", async () => {
  expect((await list("s3://b/a/b.txt", ["a/b.txt"])).found).toEqual({ "b.txt": "a/b.txt" });
  expect((await list("s3://b/x", ["x/x"])).found).toEqual({ x: "x/x" });
});

test("nothing at a prefix is an error, and a mark of a directory is not nothing", async () => {
  for (const url of ["s3://b/site", "s3://b/site/"]) {
    await expect(list(url, ["site-old/a"])).rejects.toMatchObject({ code: "not-found" });
    expect(await list(url, ["site/"])).toEqual({ found: {}, warnings: [] });
  }
  expect(await list("s3://b", [])).toEqual({ found: {}, warnings: [] });
});

test("marks of directories are no files; what cannot be one is left out, and said", async () => {
  const keys = ["a/", "a/b/", "a/b/c", "d//e", "f/g//", "h//"];
  expect(await list("s3://b", keys)).toEqual({
    found: { "a/b/c": "a/b/c" },
    warnings: [expect.stringContaining('"d//e" is left out: it has a directory without a name')],
  });
  const { warnings } = await list("s3://b", ["a/", "b"], () => 5);
  expect(warnings).toEqual([expect.stringContaining('"a/" is left out: it is named like')]);
});

test.each([
  ["d//e", "d/"],
  ["d//e", "e"],
  ["h/", "/h/"],
  ["a/h/", "/a/**"],
])("of what filters leave out nothing is said: %s by %s", async (key, pattern) => {
  const warned = async (exclude: string) => {
    const scope = filterScope(makeFilter([], [exclude]));
    return (await list("s3://b", [key], () => 5, scope)).warnings.length;
  };
  expect(await warned(pattern)).toBe(0);
  expect(await warned("else")).toBe(1);
});

/** For a store with an order of its own. */
const upwards = () => 1;

describe("a key that is not UTF-8", () => {
  const listed = ["a\uFFFD", "a\uFFFD", "b", "c/\uFFFD/", ".pannierignore"];
  const listUnreadable = async (scope?: Scope, keys = listed) => {
    const listPage: ListObjectsPage = async () => ({
      items: keys.map((key) => ({
        key,
        size: key.endsWith("/") ? 0 : 1,
        fingerprint: "x",
        unreadable: key.includes("\uFFFD") ? key.replaceAll("\uFFFD", "%FF") : undefined,
      })),
      next: undefined,
    });
    const root = rootOf(parseLocation("s3://b"));
    const init = { root, scope, listPage, compare: upwards, atOnce: 1, warn: () => {} };
    const paths: string[] = [];
    const run = async () => {
      for await (const batch of listObjects(init, signal))
        paths.push(...batch.map(({ path }) => path));
    };
    return { error: await run().catch((error: unknown) => error), paths };
  };

  test("fails the listing where it is wanted, once all else was told", async () => {
    const { error, paths } = await listUnreadable(filterScope(makeFilter([], ["b"])));
    expect(error).toMatchObject({
      code: "invalid",
      message: 'the server lists a name that is not UTF-8: "a%FF"',
      hint: expect.stringContaining("--exclude"),
    });
    expect(paths).toEqual(["b", ".pannierignore"]);
    expect((await listUnreadable()).error).toMatchObject({ code: "invalid" });
  });

  test("is not judged where it is left out, or marks a directory", async () => {
    for (const exclude of ["a?", "a*", "/a\uFFFD"]) {
      const scope = filterScope(makeFilter([], [exclude]));
      const { error, paths } = await listUnreadable(scope);
      expect({ error, paths }).toEqual({ error: undefined, paths: ["b", ".pannierignore"] });
    }
    expect((await listUnreadable(undefined, ["c/\uFFFD/"])).error).toBeUndefined();
  });
});

test("many that are left out are counted", async () => {
  const keys = Array.from({ length: 20 }, (_, i) => `a//${i}`);
  const { warnings } = await list("s3://b", keys);
  expect(warnings).toHaveLength(6);
  expect(warnings.at(-1)).toMatch(/^15 more keys/);
});

test("other names pass as they are, for the engine to judge", async () => {
  const keys = [
    "/abs",
    "../up",
    "a/../b",
    "a/./b",
    " blank ",
    "new\nline",
    "ü",
    "u\u0308",
    "a",
    "a/b",
    "%2e%2e/x",
    `${"x".repeat(255)}/`.repeat(4).slice(0, 1023),
  ];
  const { found, warnings } = await list("s3://b", keys);
  expect(Object.keys(found).toSorted()).toEqual(keys.toSorted());
  expect(warnings).toEqual([]);
});
