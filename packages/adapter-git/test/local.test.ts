/** Repositories on this machine, and what is refused before anything is asked. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { UsageError } from "@pannier/core";
import { describe, expect, test } from "vitest";
import { makeRepository } from "../../../test/support/git-server.ts";
import { git } from "../src/index.ts";
import {
  changesOf,
  contentOf,
  errorOf,
  open,
  scratchDirectory,
  signal,
  skipped,
  withoutGit,
} from "./setup.ts";

describe.skipIf(withoutGit)(`git+file${skipped}`, () => {
  test.each(["cli", "js"] as const)(
    "follows a repository of any path: engine=%s",
    async (engine) => {
      const dir = join(await scratchDirectory(), "it's a -- $(repo).git");
      const repository = await makeRepository(dir);
      const first = await repository.commit({ a: "1", b: "2" });
      const { source } = await open(`git+file://${encodeURI(dir)}`, { engine });
      expect(await contentOf(source)).toEqual({ a: "1", b: "2" });
      const second = await repository.commit({ a: "one" });
      expect((await source.probe(signal()))?.revision).toBe(second);
      expect(await changesOf(source, first, second)).toEqual({ a: "one" });
    },
  );

  test("follows a repository with SHA-256 names", async () => {
    const dir = await scratchDirectory();
    const repository = await makeRepository(dir);
    await writeFile(
      join(dir, "config"),
      "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n",
    );
    const first = await repository.commit({ a: "1" });
    expect(first).toHaveLength(64);
    const { source } = await open(`git+file://${dir}`, { engine: "cli" });
    expect(await contentOf(source)).toEqual({ a: "1" });
    const second = await repository.commit({ a: "2" });
    expect(await changesOf(source, first, second)).toEqual({ a: "2" });
    const js = await open(`git+file://${dir}`, { engine: "js" });
    expect(await errorOf(js.source.list(signal()))).toMatchObject({ code: "unsupported" });
  });

  test("runs nothing of the repository", async () => {
    const dir = await scratchDirectory();
    const proof = join(await scratchDirectory(), "proof");
    const repository = await makeRepository(dir);
    await repository.commit({ a: "1", ".gitattributes": "* filter=evil diff=evil\n" });
    await mkdir(join(dir, "hooks"), { recursive: true });
    for (const hook of ["post-upload-pack", "pre-upload", "reference-transaction"])
      await writeFile(join(dir, "hooks", hook), `#!/bin/sh\ntouch ${proof}\n`, { mode: 0o755 });
    await writeFile(
      join(dir, "config"),
      `[core]\n\tbare = true\n\tfsmonitor = touch ${proof}\n[uploadpack]\n\tpackObjectsHook = touch ${proof}; false\n[filter "evil"]\n\tsmudge = touch ${proof}\n`,
    );
    const { source } = await open(`git+file://${dir}`);
    expect((await contentOf(source))["a"]).toBe("1");
    const { access } = await import("node:fs/promises");
    expect(await errorOf(access(proof))).toMatchObject({ code: "ENOENT" });
  });

  test("a path without a repository is not found", async () => {
    const dir = await scratchDirectory();
    const { source } = await open(`git+file://${dir}`);
    expect(await errorOf(source.probe(signal()))).toMatchObject({ code: "not-found" });
  });
});

describe("what is refused at once", () => {
  test.each([
    "--upload-pack=touch x",
    "-x",
    "a..b",
    "a b",
    "a\nb",
    "a~1",
    "a^",
    "a:b",
    "HEAD@{1}",
    "x.lock",
    "/x",
    "x/",
    "",
    "refs/heads/.x",
  ])("the ref %j", async (ref) => {
    const spec = git("https://127.0.0.1/x.git", { ref });
    const opening = spec.adapter.open(spec.location, spec.options as never, {} as never);
    expect(await errorOf(opening)).toBeInstanceOf(UsageError);
  });

  test.each([
    ["https://127.0.0.1/x.git", { path: "a/../../b" }],
    ["git+ssh://git@127.0.0.1/x.git", { engine: "js" }],
    ["git+ssh://git@127.0.0.1/x.git", { lfs: true }],
    ["https://127.0.0.1/x.git", { lfs: true, engine: "js" }],
  ] as const)("%s with %j", async (url, options) => {
    const spec = git(url, options);
    const opening = spec.adapter.open(spec.location, spec.options as never, {} as never);
    expect(await errorOf(opening)).toBeInstanceOf(UsageError);
  });
});
