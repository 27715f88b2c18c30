/** What a tree holds, in a form that two can be compared by. */
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";

/** Path → `file`, `exec` and the SHA-256 of its content, or `link` and its target. Directories are implied. */
export type Tree = ReadonlyMap<string, string>;

/** @param ignore a name in the root that is not looked at */
export async function readTree(root: string, ignore?: string): Promise<Tree> {
  const tree = new Map<string, string>();
  const walk = async (directory: string): Promise<void> => {
    const names = await readdir(join(root, directory));
    await Promise.all(
      names.map(async (name) => {
        const path = directory === "" ? name : `${directory}/${name}`;
        if (path === ignore) return;
        const full = join(root, path);
        const stats = await lstat(full);
        if (stats.isDirectory()) await walk(path);
        else if (stats.isSymbolicLink()) tree.set(path, `link ${await readlink(full)}`);
        else if (stats.isFile()) tree.set(path, await describeFile(full, stats.mode));
        else tree.set(path, "something else");
      }),
    );
  };
  await walk("");
  return tree;
}

/** The same with all permissions, and with the directories that something is in. */
export function readWholeTree(root: string, ignore?: string): Tree {
  const tree = new Map<string, string>();
  const walk = (directory: string): void => {
    for (const name of readdirSync(join(root, directory))) {
      const path = directory === "" ? name : `${directory}/${name}`;
      if (path === ignore) continue;
      const full = join(root, path);
      const stats = lstatSync(full);
      const mode = (stats.mode & 0o7777).toString(8);
      if (stats.isDirectory()) {
        const before = tree.size;
        walk(path);
        if (tree.size > before) tree.set(`${path}/`, `directory ${mode}`);
      } else if (stats.isSymbolicLink()) tree.set(path, `link ${readlinkSync(full)}`);
      else {
        const digest = createHash("sha256").update(readFileSync(full)).digest("hex");
        tree.set(path, `file ${mode} ${digest}`);
      }
    }
  };
  walk("");
  return tree;
}

async function describeFile(path: string, mode: number): Promise<string> {
  const digest = createHash("sha256").update(await readFile(path));
  return `${(mode & 0o100) === 0 ? "file" : "exec"} ${digest.digest("hex")}`;
}

/** One line for each path that is not the same in both; empty when the trees are equal. */
export function differences(actual: Tree, expected: Tree): string[] {
  const lines: string[] = [];
  for (const [path, value] of expected) {
    const found = actual.get(path);
    if (found === undefined) lines.push(`missing: ${path}`);
    else if (found !== value) lines.push(`differs: ${path}: ${found} instead of ${value}`);
  }
  for (const path of actual.keys()) if (!expected.has(path)) lines.push(`too much: ${path}`);
  return lines.toSorted();
}
