/**
 * A repository of large files that change, in the memory of a small container and the volume that the documentation asks for.
 * PANNIER_TEST_GIT_MEGABYTES and PANNIER_TEST_GIT_COMMITS make it longer: 300 and 50.
 */
import { randomBytes } from "node:crypto";
import { lstat, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { gitVersion, startGitServer } from "../support/git-server.ts";
import { makeMemoryGroup } from "../support/memory-group.ts";
import { runPannier } from "../support/pannier.ts";

const MIB = 1024 * 1024;
const MEGABYTES = Number(process.env["PANNIER_TEST_GIT_MEGABYTES"] ?? 60);
const COMMITS = Number(process.env["PANNIER_TEST_GIT_COMMITS"] ?? 5);
const MEMORY = 256 * MIB;
const FILES = 10;

/** What docs/kubernetes.md says of a git source with `keep: 2`. */
const VOLUME = 5.5 * MEGABYTES * MIB;

/** Bytes of all files below a directory, those with several names once. */
async function sizeOf(dir: string): Promise<number> {
  const seen = new Map<number, number>();
  const walk = async (path: string): Promise<void> => {
    for (const entry of await readdir(path, { withFileTypes: true }).catch(() => [])) {
      const below = join(path, entry.name);
      if (entry.isDirectory()) await walk(below);
      const found = await lstat(below).catch(() => undefined);
      if (found !== undefined) seen.set(found.ino, found.blocks * 512);
    }
  };
  await walk(dir);
  return [...seen.values()].reduce((sum, size) => sum + size, 0);
}

const group = makeMemoryGroup("pannier-git", MEMORY);
await group?.remove();
const skipReason =
  gitVersion === undefined ? "needs the git program" : "needs to make a cgroup with a limit";

describe.skipIf(gitVersion === undefined || group === undefined)(
  "large files in git",
  { meta: { skipReason } },
  () => {
    test.each([
      ["that are replaced", 4, true],
      ["that are all replaced", FILES, true],
      ["that change a little, so that they come as deltas", 4, false],
    ])(
      "%s fit into 256 MiB of memory and the documented volume",
      { timeout: 60_000 + COMMITS * 60_000 },
      async (_, changed, again) => {
        const limit = makeMemoryGroup("pannier-git", MEMORY);
        if (limit === undefined) throw new Error("the cgroup cannot be made again");
        onTestFinished(() => limit.remove());
        const server = await startGitServer();
        onTestFinished(() => server.close());
        const work = await mkdtemp(join(tmpdir(), "pannier-git-memory-"));
        onTestFinished(() => rm(work, { recursive: true, force: true }));
        const target = join(work, "target");
        const repository = await server.repository("large.git");

        const files = Array.from({ length: FILES }, () =>
          randomBytes(Math.floor((MEGABYTES * MIB) / FILES)),
        );
        let most = 0;
        for (let commit = 0; commit < COMMITS; commit++) {
          const put: Record<string, Uint8Array> = {};
          for (const [index, file] of files.entries()) {
            if (commit > 0 && (index + commit) % FILES >= changed) continue;
            randomBytes(again || commit === 0 ? file.length : 1000).copy(file, commit * 1000);
            put[`file-${index}`] = file;
          }
          await repository.commit(put);
          const running = runPannier(
            ["sync", `${server.url}/large.git`, target, "--max-delete", "100%"],
            { by: limit.by },
          );
          const done = running.then(() => true);
          do most = Math.max(most, await sizeOf(target));
          while (!(await Promise.race([done, setTimeout(50, false)])));
          const { code, stderr } = await running;
          expect({ code, stderr }).toEqual({
            code: 0,
            stderr: expect.not.stringMatching(/warn|again/),
          });
          for (const name of Object.keys(put)) {
            const published = await readFile(join(target, "current", name));
            expect(published.equals(put[name] as Uint8Array), `${name} of commit ${commit}`).toBe(
              true,
            );
          }
        }
        console.log(
          `peak of the volume: ${(most / MIB / MEGABYTES).toFixed(2)} times the tree; at rest ${((await sizeOf(target)) / MIB / MEGABYTES).toFixed(2)}`,
        );
        expect(limit.kills()).toBe(0);
        expect(most).toBeLessThan(VOLUME);
      },
    );
  },
);
