/** Real servers of FTP and SFTP that tell less than others: pyftpdlib without some commands, asyncssh without some attributes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { ftp } from "@pannier/adapter-ftp";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { sftp } from "@pannier/adapter-sftp";
import type { SourceSpec } from "@pannier/core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { freePort } from "../support/free-port.ts";
import { describeWithProgram } from "./support.ts";

const PYTHON = join(import.meta.dirname, "../../.tools/shares/bin/python");
const FILES = { a: "hi\n", "sub/b c": "x\n" };
const LINKS = { dangling: "gone", "dir-link": "sub", link: "a" };

let tree = "";
beforeAll(async () => {
  tree = await mkdtemp(join(tmpdir(), "pannier-odd-"));
  await chmod(tree, 0o755);
  await mkdir(join(tree, "sub"));
  for (const [path, content] of Object.entries(FILES)) await writeFile(join(tree, path), content);
  for (const [path, target] of Object.entries(LINKS)) await symlink(target, join(tree, path));
});
afterAll(() => rm(tree, { recursive: true }));

/** @returns the first line that it prints, when it listens */
async function start(script: string, ...args: readonly string[]): Promise<string> {
  const path = join(import.meta.dirname, "servers", script);
  const child = spawn(PYTHON, [path, ...args], { stdio: ["ignore", "pipe", "ignore"] });
  onTestFinished(async () => {
    const ended = once(child, "exit");
    child.kill();
    await ended;
  });
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return line;
}

/** Everything there is: contents of files, and `-> target` of symlinks. */
async function contentsOf(spec: SourceSpec, password = "p"): Promise<Record<string, string>> {
  const opened = await openSource(spec, { credentials: { username: "u", password } });
  onTestFinished(() => opened.close());
  const { entries } = await listAll(opened.source);
  const found: Record<string, string> = {};
  for (const entry of entries.values()) {
    found[entry.path] =
      entry.kind === "file" ? String(await readAll(opened.source, entry)) : `-> ${entry.target}`;
  }
  expect(opened.warnings).toEqual([]);
  return found;
}

const links = Object.fromEntries(Object.entries(LINKS).map(([path, to]) => [path, `-> ${to}`]));

describeWithProgram(PYTHON, "FTP from pyftpdlib", () => {
  test.each(["MLSD", "MLSD,MLST,FEAT", "MLSD,MLST,MDTM,SIZE", "MLSD,EPSV", "MLSD,REST,MDTM"])(
    "without %s: all is listed and read",
    async (lacks) => {
      const port = await freePort();
      await start("odd-ftp.py", tree, String(port), lacks);
      const spec = ftp(`ftp://127.0.0.1:${port}/`);
      expect(await contentsOf(spec)).toEqual({ ...FILES, ...links });
    },
  );

  test("with MLSD, which follows symlinks and hides those that lead nowhere", async () => {
    const port = await freePort();
    await start("odd-ftp.py", tree, String(port), "");
    const followed = { "dir-link/b c": FILES["sub/b c"], link: FILES.a };
    expect(await contentsOf(ftp(`ftp://127.0.0.1:${port}/`))).toEqual({ ...FILES, ...followed });
  });
});

describeWithProgram(PYTHON, "SFTP from asyncssh", () => {
  test.each(["nothing", "permissions", "types", "times"])(
    "that leaves out %s: all is listed and read",
    async (leftOut) => {
      const port = await freePort();
      const hostKey = await start("odd-sftp.py", String(port), leftOut);
      const spec = sftp(`sftp://127.0.0.1:${port}${tree}/`, { hostKey });
      expect(await contentsOf(spec)).toEqual({ ...FILES, ...links });
    },
  );
});
