/** Repositories with a history worth following. */
import { execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createGunzip } from "node:zlib";
import tar from "tar-stream";
import type { Tree } from "../support/tree.ts";

const execute = promisify(execFile);

/** Successive releases of a real project of about 3,500 files; between two of them from a few dozen to some hundred change. */
const PROJECT = "core-js";
const RELEASES = `
  3.27.2 3.28.0 3.29.0 3.29.1 3.30.0 3.30.1 3.30.2 3.31.0 3.31.1 3.32.0 3.32.1 3.32.2 3.33.0
  3.33.1 3.33.2 3.33.3 3.34.0 3.35.0 3.35.1 3.36.0 3.36.1 3.37.0 3.37.1 3.38.0 3.38.1 3.39.0`
  .trim()
  .split(/\s+/);

/** Downloads of a package registry outlive the test run here. */
const CACHE = fileURLToPath(new URL("../../node_modules/.cache/history", import.meta.url));

/** A registry may fail or be silent now and then, and what came before that stays. */
const TRIES = 4;
/** Milliseconds of one try; all take some ten seconds. */
const LONGEST_TRY = 60_000;

/** Fetches the releases that are not here yet. Throws where there is no registry. */
export async function fetchReleases(): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  for (let left = TRIES; ; left--) {
    const present = new Set(await readdir(CACHE));
    const absent = RELEASES.filter((release) => !present.has(archiveName(release)));
    if (absent.length === 0) return;
    const packages = absent.map((release) => `${PROJECT}@${release}`);
    try {
      const options = ["--loglevel=error", "--ignore-scripts", "--fetch-retries=5"];
      await execute("npm", ["pack", ...options, ...packages], { cwd: CACHE, timeout: LONGEST_TRY });
    } catch (error) {
      if (left === 1) throw error;
    }
  }
}

function archiveName(release: string): string {
  return `${PROJECT}-${release}.tgz`;
}

/** Makes the releases the commits of a bare repository, the oldest first. */
export async function makeHistory(repository: string): Promise<void> {
  await git(".", "init", "-q", "--bare", "-b", "main", repository);
  const importer = spawn("git", ["-C", repository, "fast-import", "--quiet"], {
    stdio: ["pipe", "ignore", "inherit"],
  });
  const exit = once(importer, "exit");
  const write = async (...parts: (string | Uint8Array)[]) => {
    for (const part of parts) {
      if (!importer.stdin.write(part)) await once(importer.stdin, "drain");
    }
  };
  for (const [index, release] of RELEASES.entries()) {
    const time = 1_672_531_200 + index * 86_400;
    await write(
      "commit refs/heads/main\n",
      `committer Test <test@example.org> ${time} +0000\n`,
      `data ${release.length}\n${release}\ndeleteall\n`,
    );
    const archive = createReadStream(join(CACHE, archiveName(release))).pipe(createGunzip());
    for await (const entry of readTar(archive)) {
      const path = entry.path.slice(entry.path.indexOf("/") + 1);
      await write(`M 100644 inline ${path}\ndata ${entry.content.length}\n`, entry.content, "\n");
    }
    for (const [mode, path, content] of rarities(index)) {
      const bytes = Buffer.from(content);
      await write(`M ${mode} inline ${JSON.stringify(`rare/${path}`)}\n`);
      await write(`data ${bytes.length}\n`, bytes, "\n");
    }
  }
  importer.stdin.end();
  const [code] = await exit;
  if (code !== 0) throw new Error(`git fast-import ended with ${code}`);
}

/** What releases of a package do not have: links, executables, odd names, and paths that change their kind. */
function rarities(index: number): [mode: string, path: string, content: string][] {
  const [file, exec, link] = ["100644", "100755", "120000"];
  const text = `the same for four revisions: ${index >> 2}\n`;
  const changeling = [
    [file, "changeling", "a file\n"],
    [link, "changeling", "tool.sh"],
    [file, "changeling/deep/file", "in a directory\n"],
  ] as const;
  return [
    [index % 2 === 0 ? exec : file, "tool.sh", "#!/bin/sh\n"],
    [link, "latest", index % 3 === 0 ? "../modules" : "../internals"],
    [link, "dangling", "nowhere"],
    [file, "empty", ""],
    [file, "ü ñ 漢字", text],
    [file, "tab\tand\nnewline", text],
    [file, '"quotes" and \\', text],
    [file, "-dash", text],
    [file, index % 2 === 0 ? "case" : "CASE", text],
    [...(changeling[index % 3] as (typeof changeling)[0])],
  ];
}

/** The tree of a commit as `git archive` tells it. */
export async function archivedTree(repository: string, commit: string): Promise<Tree> {
  const archive = spawn("git", ["-C", repository, "archive", "--format=tar", commit], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exit = once(archive, "exit");
  const tree = new Map<string, string>();
  for await (const { path, mode, link, content } of readTar(archive.stdout)) {
    if (link !== undefined) tree.set(path, `link ${link}`);
    else {
      const digest = createHash("sha256").update(content).digest("hex");
      tree.set(path, `${(mode & 0o100) === 0 ? "file" : "exec"} ${digest}`);
    }
  }
  const [code] = await exit;
  if (code !== 0) throw new Error(`git archive ended with ${code}`);
  return tree;
}

/** The files and links of a tar archive. */
async function* readTar(archive: Readable) {
  const extract = archive.pipe(tar.extract());
  for await (const entry of extract) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const { name, type, mode = 0, linkname } = entry.header;
    if (type === "directory") continue;
    const link = type === "symlink" ? (linkname as string) : undefined;
    yield { path: name, mode, link, content: Buffer.concat(chunks) };
  }
}

/** The last commits of a repository's main line, the oldest first. */
export async function lastCommits(repository: string, count: number): Promise<string[]> {
  const log = await git(repository, "rev-list", "--first-parent", `--max-count=${count}`, "HEAD");
  return log.trim().split("\n").toReversed();
}

/** Runs git with nothing of the user's own configuration. */
export async function git(directory: string, ...args: string[]): Promise<string> {
  const { stdout } = await execute("git", ["-C", directory, ...args], {
    maxBuffer: 64 * 1024 * 1024,
    env: {
      PATH: process.env["PATH"],
      HOME: "/nonexistent",
      GIT_CONFIG_NOSYSTEM: "1",
    },
  });
  return stdout;
}
