/** One file on this machine that has to have its signature beside it. */
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sync } from "@pannier/core";
import { expect, onTestFinished, test } from "vitest";
import { minisign, minisignKey } from "../../../test/support/minisign.ts";
import { file } from "../src/index.ts";

const ada = minisignKey();

async function mount() {
  const work = await mkdtemp(join(tmpdir(), "pannier-signed-"));
  onTestFinished(() => rm(work, { recursive: true, force: true }));
  const target = join(work, "target");
  await mkdir(join(work, "source"));
  const signedBy = [`minisign:${ada.publicKey}`];
  return {
    at: (name: string) => join(work, "source", name),
    sync: (name: string) => sync({ sources: [file(join(work, "source", name))], target, signedBy }),
    read: (name: string) => readFile(join(target, "current", name), "utf8"),
  };
}

test("a file is published as it was signed", async () => {
  const { at, sync: run, read } = await mount();
  await writeFile(at("a"), "1");
  await expect(run("a")).rejects.toMatchObject({ exitCode: 6 });
  await writeFile(at("a.minisig"), minisign(ada, "1"));
  expect(await run("a")).toMatchObject({ result: "published", files: 1 });
  await writeFile(at("a"), "2, and longer");
  await expect(run("a")).rejects.toMatchObject({ exitCode: 6 });
  expect(await read("a")).toBe("1");
});

test("a link in the place of its signature leads to no other content", async () => {
  const { at, sync: run } = await mount();
  await writeFile(at("a"), "evil");
  await writeFile(at("b"), "good");
  await writeFile(at("b.minisig"), minisign(ada, "good"));
  await symlink(at("b.minisig"), at("a.minisig"));
  await expect(run("a")).rejects.toMatchObject({ exitCode: 6 });
  await rm(at("a.minisig"));
  await symlink("/dev/zero", at("a.minisig"));
  await expect(run("a")).rejects.toMatchObject({ exitCode: expect.any(Number) });
});

test("a directory has no signature: a mistake", async () => {
  const { at, sync: run } = await mount();
  await mkdir(at("dir"));
  await writeFile(at("dir/a"), "1");
  await writeFile(at("dir/b"), "1");
  await expect(run("dir")).rejects.toMatchObject({ exitCode: 2 });
});
