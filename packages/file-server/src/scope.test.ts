import type { Entry, Scope } from "@pannier/core/adapter";
import { expect, test } from "vitest";
import { type DirectoryItem, failedItem } from "./directory-item.ts";
import { walk } from "./walk.ts";

const signal = new AbortController().signal;
const entry = (path: string): Entry => ({ kind: "file", path, fingerprint: "x" });
const file = (name: string): DirectoryItem => ({ name, kind: "entry", entry });
const directory = (name: string): DirectoryItem => ({ name, kind: "directory" });
const bad = new Error("not for us");

const TREE: Record<string, readonly DirectoryItem[]> = {
  "": [
    { name: "#recycle", kind: "directory", failure: bad },
    file(".pannierignore"),
    failedItem("caf\ufffd", bad),
    directory("empty"),
    directory("lost+found"),
    { name: "pipe", kind: "special" },
    { name: "what", kind: "unknown", failure: bad },
    directory("x"),
  ],
  "empty/": [],
  "x/": [file("a"), file("b"), directory("lost+found")],
};

/** Knows what is unwanted once it was told of the ignore file. */
function scopeOf(unwanted: readonly string[]): Scope {
  let known = false;
  const answer = (path: string) => !known || !unwanted.includes(path);
  return {
    get filters() {
      return known;
    },
    wants: answer,
    enters: answer,
    async ignoreFile(found) {
      known = found?.path === ".pannierignore";
    },
  };
}

async function list(scope: Scope) {
  const asked: string[] = [];
  const specials: string[] = [];
  const paths: string[] = [];
  const read = async (prefix: string) => {
    asked.push(prefix);
    const items = TREE[prefix];
    if (items === undefined) throw bad;
    return items;
  };
  const onSpecial = (path: string) => specials.push(path);
  for await (const batch of walk({ read, scope, onSpecial, concurrency: 4, signal }))
    paths.push(...batch.map(({ path }) => path));
  return { asked, specials, paths };
}

const BAD = ["#recycle", "caf\ufffd", "lost+found", "what", "x/lost+found"];

test("neither enters nor judges what is not wanted", async () => {
  expect(await list(scopeOf([...BAD, "x/b"]))).toEqual({
    asked: ["", "empty/", "x/"],
    specials: ["pipe"],
    paths: [".pannierignore", "x/a"],
  });
  expect((await list(scopeOf([...BAD, "pipe"]))).specials).toEqual([]);
});

test.each(BAD)("what is wanted is judged: %s", async (path) => {
  await expect(list(scopeOf(BAD.filter((one) => one !== path)))).rejects.toBe(bad);
});
