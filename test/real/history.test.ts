/**
 * The history of a real project, served over smart HTTP and followed commit by commit by the real program:
 * whatever is published must be, file by file, what `git archive` says of that commit.
 *
 * The history is made from releases of a project in the package registry; PANNIER_HISTORY_REPO=/path/to/repository
 * takes the last commits of that one instead (PANNIER_HISTORY_COMMITS of them, 25 unless told).
 */
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { jsonLines, startPannier } from "../support/pannier.ts";
import { differences, readTree, type Tree } from "../support/tree.ts";
import { archivedTree, fetchReleases, git, lastCommits, makeHistory } from "./history.ts";
import { describeWith } from "./support.ts";

describeWith("git", "a real history over smart HTTP", (server) => {
  let work: string;
  const served = join(server.root, "history.git");
  let commits: string[];
  let unavailable: string | undefined;
  const archives = new Map<string, Promise<Tree>>();

  beforeAll(async () => {
    work = await mkdtemp(join(tmpdir(), "pannier-history-"));
    let repository = process.env["PANNIER_HISTORY_REPO"];
    if (repository === undefined) {
      repository = join(work, "repository");
      try {
        await fetchReleases();
      } catch (error) {
        // Without a registry there is nothing to follow; CI has one.
        if (process.env["CI"] !== undefined) throw error;
        unavailable = `the releases cannot be had: ${(error as Error).message}`;
        return;
      }
      await makeHistory(repository);
    }
    commits = await lastCommits(repository, Number(process.env["PANNIER_HISTORY_COMMITS"] ?? 25));
    await git(work, "clone", "-q", "--bare", repository, served);
    // What is published is what is committed: archives are not to convert or leave out anything either.
    const attributes =
      "* -text -ident -filter -export-ignore -export-subst -working-tree-encoding\n";
    await mkdir(join(served, "info"), { recursive: true });
    await writeFile(join(served, "info/attributes"), attributes);
    await git(served, "symbolic-ref", "HEAD", "refs/heads/followed");
  });

  afterAll(() => rm(work, { recursive: true, force: true }));

  /** The tree of a commit as `git archive` has it. */
  const archived = (commit: string): Promise<Tree> => {
    let tree = archives.get(commit);
    if (tree === undefined) {
      tree = archivedTree(served, commit);
      archives.set(commit, tree);
    }
    return tree;
  };

  const setBranch = (commit: string) => git(served, "update-ref", "refs/heads/followed", commit);

  const follow = async (engine: string, publish: "swap" | "mirror"): Promise<number> => {
    const target = join(work, `${engine}-${publish}`);
    const [first, ...others] = commits as [string, ...string[]];
    await setBranch(first);
    const source = `git+${server.url}/history.git?ref=followed&engine=${engine}`;
    const running = startPannier(
      // Releases delete what they like, and it is not this test's question whether that is wanted.
      [
        "watch",
        source,
        target,
        "--json",
        "--period=200ms",
        `--publish=${publish}`,
        "--max-delete=100%",
      ],
    );
    const events = jsonLines(running);
    try {
      let files = 0;
      for (const commit of [first, ...others]) {
        await setBranch(commit);
        await events.until(
          (event) => event["type"] === "published" && event["revision"] === commit,
        );
        const tree =
          publish === "swap"
            ? await readTree(await realpath(join(target, "current")))
            : await readTree(target, ".pannier");
        const expected = await archived(commit);
        expect(differences(tree, expected), `at ${commit}`).toEqual([]);
        files += tree.size;
      }
      return files;
    } finally {
      running.child.kill("SIGTERM");
      expect((await running.ended).code).toBe(0);
      await rm(target, { recursive: true, force: true });
    }
  };

  for (const [engine, publish] of [
    ["cli", "swap"],
    ["js", "swap"],
    ["cli", "mirror"],
  ] as const) {
    test(`engine=${engine}, --publish ${publish}`, async (context) => {
      if (unavailable !== undefined) context.skip(unavailable);
      expect(commits.length).toBeGreaterThanOrEqual(21);
      const files = await follow(engine, publish);
      console.log(`${commits.length} revisions, ${files} files and links compared`);
    });
  }
});
