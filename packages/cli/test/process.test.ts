/** What only a process of its own can show: real signals, a reader that goes away, an old Node, the time to start. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmod, copyFile, mkdir, mkdtemp, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { COMPILE_CACHE, FROM_SOURCES } from "../../../test/support/from-sources.ts";

/** A busy machine may take its time. */
const PATIENCE = { timeout: 10_000 };

const PROGRAM = join(import.meta.dirname, "../src/bin.ts");
const LAUNCHER = join(import.meta.dirname, "../bin/pannier.js");
const SHELF = join(import.meta.dirname, "shelf-adapter.ts");

let folder: string;
const children: ChildProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "pannier-test-"));
});

afterEach(async () => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  await rm(folder, { recursive: true });
});

function start(first: string | { readonly uid: number | undefined }, ...rest: string[]) {
  const [uid, args] = typeof first === "string" ? [undefined, [first, ...rest]] : [first.uid, rest];
  const child = spawn(process.execPath, [...FROM_SOURCES, PROGRAM, ...args], {
    cwd: folder,
    ...(uid === undefined ? {} : { uid }),
    env: { PATH: process.env["PATH"], PANNIER_ADAPTER: SHELF, ...COMPILE_CACHE },
  });
  children.push(child);
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const)
    child[name].setEncoding("utf8").on("data", (text: string) => (said[name] += text));
  return { child, said, ended: once(child, "close") as Promise<[number | null, string | null]> };
}

test("a sync that a signal cut ends with the shell's number for it", async () => {
  const { child, said, ended } = start("sync", "shelf://slow/", "out", "--log-level", "debug");
  await expect.poll(() => said.stderr, PATIENCE).toContain("list");
  // Twice, as npm passes on what the terminal has sent already.
  child.kill("SIGINT");
  child.kill("SIGINT");
  expect(await ended).toEqual([130, null]);
  expect(said.stderr).toContain("what was published before is untouched");
});

test("watch: SIGUSR1 syncs now and starts no debugger, SIGTERM ends it with 0", async () => {
  const { child, said, ended } = start("watch", "shelf://top/", "out", "--period", "1h", "--json");
  const done = () =>
    said.stdout.split("\n").filter((line) => line.includes('"type":"waiting"')).length;
  await expect.poll(done, PATIENCE).toBe(1);
  child.kill("SIGUSR1");
  await expect.poll(done, PATIENCE).toBe(2);
  child.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
  expect(said.stderr).toBe("");
  expect(await readlink(join(folder, "out/current"))).toContain(".pannier/generations/");
});

test("a reader that goes away ends it quietly", async () => {
  const { child, said, ended } = start("ls", "shelf://endless/");
  await once(child.stdout, "data");
  child.stdout.destroy();
  expect(await ended).toEqual([141, null]);
  expect(said.stderr).toBe("");
});

test("so does a reader of the log that goes away", async () => {
  const { child, ended } = start(
    "watch",
    "shelf://top/",
    "out",
    "--period",
    "1s",
    "--log-level",
    "debug",
  );
  await once(child.stderr, "data");
  child.stderr.destroy();
  expect(await ended).toEqual([141, null]);
});

test("Node's warning that SQLite is an experiment is kept from users, and no other", async () => {
  for (const path of ["bin", "dist"]) await mkdir(join(folder, path));
  await copyFile(LAUNCHER, join(folder, "bin/pannier.mjs"));
  // What Node up to 24 says when node:sqlite is loaded, and another one like it.
  const program = `for (const what of ["SQLite", "Something"])
    process.emitWarning(what + " is an experimental feature and might change at any time", "ExperimentalWarning");`;
  await writeFile(join(folder, "dist/bin.js"), program);
  const { stderr } = spawnSync(process.execPath, [join(folder, "bin/pannier.mjs"), "ls"], {
    encoding: "utf8",
  });
  expect(stderr).toContain("ExperimentalWarning: Something is");
  expect(stderr).not.toContain("SQLite");
});

/** Milliseconds. */
function timeOf(args: readonly string[]): number {
  const started = performance.now();
  expect(spawnSync(process.execPath, args).status).toBe(0);
  return performance.now() - started;
}

test("what an adapter throws where nobody can catch it is told without secrets", async () => {
  const { said, ended } = start("ls", "shelf://ann:hunter22@fallen/");
  expect(await ended).toEqual([1, null]);
  expect(said.stderr).toMatch(/^pannier: error: fell on \*\*\*\n[^]*this is a bug in Pannier/);
  expect(said.stderr).not.toContain("hunter22");
});

test("a target that may not be written: exit 3, one line", async () => {
  await mkdir(join(folder, "site"));
  await writeFile(join(folder, "site/a.txt"), "a");
  await chmod(folder, 0o555);
  // The superuser may write anywhere; so the program is run as somebody else.
  const uid = process.getuid?.() === 0 ? 65_534 : undefined;
  const { said, ended } = start({ uid }, "sync", "site", "out", "--adapter", "file");
  expect(await ended).toEqual([3, null]);
  expect(said.stderr).toMatch(/^pannier: [^\n]*\/out[^\n]*\n$/);
  await chmod(folder, 0o755);
});

test("the version is there in no more than three times the time of an empty program", () => {
  // The best of each, by turns: what else the machine does can only add.
  const best = { version: Infinity, nothing: Infinity };
  for (let round = 0; round < 20; round++) {
    best.version = Math.min(best.version, timeOf([LAUNCHER, "--version"]));
    best.nothing = Math.min(best.nothing, timeOf(["-e", "0"]));
    if (round >= 3 && best.version < 3 * best.nothing) break;
  }
  expect(best.version).toBeLessThan(3 * best.nothing);
});

test("a Node that is too old says so, where there is no newer one to hand over to", async () => {
  const pretend = join(folder, "pretend.cjs");
  await writeFile(pretend, 'Object.defineProperty(process.versions, "node", { value: "20.1.0" });');
  await mkdir(join(folder, "bin"));
  await copyFile(LAUNCHER, join(folder, "bin/pannier.mjs"));
  const args = ["--require", pretend, join(folder, "bin/pannier.mjs"), "status", "."];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  expect(stderr).toBe(
    "pannier: Node 20.1.0 is too old: Pannier needs 22.13 or later. Install a current Node\n",
  );
  expect(status).toBe(2);
});

test("beside a newer Node, one that is too old hands over to it, signals and exit code included", async () => {
  const pretend = join(folder, "pretend.cjs");
  await writeFile(pretend, 'Object.defineProperty(process.versions, "node", { value: "20.1.0" });');
  for (const path of ["bin", "node_modules/.bin"])
    await mkdir(join(folder, path), { recursive: true });
  await copyFile(LAUNCHER, join(folder, "bin/pannier.mjs"));
  const newer =
    '#!/bin/sh\nshift\necho "newer $*"\ntrap "exit 7" TERM\necho ready\nwhile :; do sleep 0.05; done\n';
  await writeFile(join(folder, "node_modules/.bin/node"), newer, { mode: 0o755 });
  const child = spawn(process.execPath, [
    "--require",
    pretend,
    join(folder, "bin/pannier.mjs"),
    "watch",
    "a b",
  ]);
  children.push(child);
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
  await expect.poll(() => said, PATIENCE).toBe("newer watch a b\nready\n");
  child.kill("SIGTERM");
  expect(await once(child, "close")).toEqual([7, null]);
});
