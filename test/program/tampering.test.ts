/** What somebody else changed in the trees is found and put right. */
import {
  appendFile,
  chmod,
  link,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { file } from "@pannier/adapter-file";
import { sync } from "@pannier/core";
import { expect, test } from "vitest";
import { differences, readTree, type Tree } from "../support/tree.ts";
import { FULL, pannier, pannierOk, workDirectory } from "./support.ts";

/** What can be done to a tree that has `a`, `dir/b`, `dir/c` and `link`. */
const DEEDS: Record<string, (tree: string) => Promise<void>> = {
  "a file written in place": (tree) => appendFile(join(tree, "a"), "tampered"),
  "a file written in place, of the same size and time": async (tree) => {
    const path = join(tree, "a");
    const { atime, mtime, size } = await stat(path);
    await writeFile(path, Buffer.alloc(size, "x"));
    await utimes(path, atime, mtime);
  },
  "a file replaced": async (tree) => {
    await writeFile(join(tree, "new"), await readFile(join(tree, "a")));
    await appendFile(join(tree, "new"), "tampered");
    await rename(join(tree, "new"), join(tree, "a"));
  },
  "a file deleted": (tree) => rm(join(tree, "dir/b")),
  "a directory deleted": (tree) => rm(join(tree, "dir"), { recursive: true }),
  "a file added": (tree) => writeFile(join(tree, "dir/added"), "tampered"),
  "a directory added": async (tree) => {
    await mkdir(join(tree, "added/deep"), { recursive: true });
    await writeFile(join(tree, "added/deep/file"), "tampered");
  },
  "a mode changed": (tree) => chmod(join(tree, "a"), 0o777),
  "a file made a link": async (tree) => {
    await rm(join(tree, "a"));
    await symlink("dir/b", join(tree, "a"));
  },
  "a directory made a link to another": async (tree) => {
    await mkdir(join(tree, "elsewhere"));
    await writeFile(join(tree, "elsewhere/b"), "tampered");
    await rm(join(tree, "dir"), { recursive: true });
    await symlink("elsewhere", join(tree, "dir"));
  },
  "a link redirected": async (tree) => {
    await rm(join(tree, "link"));
    await symlink("dir/c", join(tree, "link"));
  },
  "a file made a directory": async (tree) => {
    await rm(join(tree, "a"));
    await mkdir(join(tree, "a/b"), { recursive: true });
  },
  "a hard link added": (tree) => link(join(tree, "a"), join(tree, "dir/hard")),
};

async function makeSource() {
  const work = await workDirectory();
  const source = join(work, "source");
  await mkdir(join(source, "dir"), { recursive: true });
  await writeFile(join(source, "a"), "content of a\n");
  await writeFile(join(source, "dir/b"), "content of b\n");
  await writeFile(join(source, "dir/c"), "content of c\n");
  await symlink("dir/b", join(source, "link"));
  const target = join(work, "target");
  /** Syncs so many further revisions, in this process: that is quicker than the program, of which verify is run. */
  let revision = 0;
  const follow = async (revisions: number) => {
    for (let i = 0; i < revisions; i++) {
      await writeFile(join(source, "revision"), `${++revision}\n`);
      await sync({ sources: [file(source)], target });
    }
  };
  return { source, target, follow };
}

const current = (target: string) => realpath(join(target, "current"));
const published = async (target: string): Promise<Tree> => readTree(await current(target));

test.each(Object.keys(DEEDS))("%s in the published tree", async (deed) => {
  const { source, target, follow } = await makeSource();
  await follow(3);
  await DEEDS[deed]?.(await current(target));

  const found = await pannier(["verify", target]);
  expect(found.code, found.stderr + found.stdout).toBe(6);
  const repaired = await pannier(["verify", target, "--repair"]);
  expect(repaired.code, repaired.stderr + repaired.stdout).toBe(0);
  expect(differences(await published(target), await readTree(source))).toEqual([]);
  await pannierOk(["verify", target]);
});

/** The bytes of a file changed in place are shared by all trees: the hardest, and at small size the only one tried. */
const OF_ALL = FULL ? Object.keys(DEEDS) : Object.keys(DEEDS).slice(0, 2);

test.each(OF_ALL)("%s in every tree, then updates", async (deed) => {
  const { source, target, follow } = await makeSource();
  await follow(4);
  // Where the bytes of a file were changed in place, all trees share them; else it is the recycled tree that counts.
  for (const tree of await trees(target)) await DEEDS[deed]?.(tree).catch(() => {});
  await follow(5);
  await pannierOk(["verify", target, "--repair"]);
  expect(differences(await published(target), await readTree(source))).toEqual([]);
});

/** What reaches the published tree as well, through its hard links, and what only a look at every byte finds. */
const BEYOND_RECYCLED = /in place|mode changed/;
const OF_RECYCLED = Object.keys(DEEDS).filter((deed) => !BEYOND_RECYCLED.test(deed));

test.each(OF_RECYCLED)("%s in the trees to be recycled", async (deed) => {
  const { source, target, follow } = await makeSource();
  await follow(4);
  const visible = await current(target);
  for (const tree of await trees(target)) if (tree !== visible) await DEEDS[deed]?.(tree);
  for (let i = 0; i < 4; i++) {
    await follow(1);
    expect(differences(await published(target), await readTree(source))).toEqual([]);
  }
});

test("the link or the whole tree taken away", async () => {
  const { source, target, follow } = await makeSource();
  const again = async () => {
    await sync({ sources: [file(source)], target });
    expect(differences(await published(target), await readTree(source))).toEqual([]);
  };
  await follow(3);
  const visible = await current(target);
  const older = (await readdir(join(target, ".pannier/generations"))).find(
    (name) => !visible.endsWith(name),
  );
  await rm(join(target, "current"));
  await again();
  await rm(await current(target), { recursive: true });
  await again();
  await rm(join(target, "current"));
  await symlink(`.pannier/generations/${older}`, join(target, "current"));
  await again();
});

/** Every tree of a target: the kept ones, and the one that waits to be recycled. */
async function trees(target: string): Promise<string[]> {
  const home = join(target, ".pannier");
  const kept = await readdir(join(home, "generations"));
  const waiting = (await readdir(home)).filter((name) => name.startsWith("candidate"));
  return [
    ...kept.map((name) => join(home, "generations", name)),
    ...waiting.map((name) => join(home, name)),
  ];
}
