import { expect, test } from "vitest";
import type { Entry, Scope } from "../source/contract.ts";
import { makeFilter } from "./filter.ts";
import { makeScope } from "./scope.ts";

const ignoreFile = (fingerprint: string): Entry => ({
  kind: "file",
  path: ".pannierignore",
  fingerprint,
});

test("filters see the tree's paths, the ignore file the source's", async () => {
  const scope = makeScope(
    "into",
    makeFilter([], ["/into/a", "/b"]),
    null,
    async () => "/into\n/c/",
  );
  await scope.ignoreFile(ignoreFile("1"));
  const paths = ["a", "b", "into", "c/d", "d"];
  expect(paths.filter((path) => scope.wants(path))).toEqual(["b", "d"]);
  expect(["a", "b", "into", "c"].filter((path) => scope.enters(path))).toEqual(["b"]);
});

test("what would lead out is wanted, so that it is refused; so is the ignore file", () => {
  const scope = makeScope("", makeFilter(["nothing"], ["*"]), null, async () => "");
  const paths = ["../a", "a/../b", "/etc/passwd", "a\0b", "", "..", ".pannierignore"];
  expect(paths.filter((path) => !scope.wants(path))).toEqual([]);
  const harmless = ["a//b", "./a", "x".repeat(300), "a..b", "\ud800"];
  expect(harmless.filter((path) => scope.wants(path))).toEqual([]);
});

test("reads an ignore file only if it is another than assumed", async () => {
  let reads = 0;
  const read = async () => `${++reads}`;
  const scope = makeScope("", undefined, { fingerprint: "old", text: "a" }, read);
  await scope.ignoreFile(ignoreFile("old"));
  expect([reads, scope.filters, scope.wants("a")]).toEqual([0, true, false]);
  const first = makeScope("", undefined, null, read);
  await first.ignoreFile(ignoreFile("new"));
  expect([reads, first.filters, first.wants("1")]).toEqual([1, true, false]);
  expect([scope.outdated, first.outdated]).toEqual([undefined, undefined]);
});

test.each([ignoreFile("new"), undefined])(
  "a listing that went by another ignore file than there is fails: %o",
  async (entry) => {
    const scope = makeScope("", undefined, { fingerprint: "old", text: "a" }, async () => "");
    await expect(scope.ignoreFile(entry)).rejects.toMatchObject({ code: "changed" });
    expect(scope.outdated).toEqual({ entry });
  },
);

test.each([
  ["filters", (scope: Scope) => scope.filters],
  ["wants", (scope: Scope) => scope.wants("a")],
  ["enters", (scope: Scope) => scope.enters("a")],
])(
  "a listing that was told what is wanted before its ignore file was known fails: %s",
  async (_, ask) => {
    const scope = makeScope("", undefined, null, async () => "a");
    ask(scope);
    await scope.ignoreFile(undefined);
    await expect(scope.ignoreFile(ignoreFile("new"))).rejects.toMatchObject({ code: "changed" });
    expect(scope.outdated).toEqual({ entry: ignoreFile("new") });
  },
);
