/** A volume that is full: exit 7, the published revision as it was, and the room given back. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, statfsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { seededRandom } from "../support/random.ts";
import { differences, readTree } from "../support/tree.ts";
import { type Files, serveArchive } from "./archive.ts";
import { FULL, pannier, pannierOk, serve, workDirectory } from "./support.ts";

const KIB = 1024;

function mountTmpfs(at: string, options: string): void {
  mkdirSync(at, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", at], { stdio: "pipe" });
}

/** A directory of a web server with checksums, and no sizes. */
async function serveManifest() {
  let served: Files = {};
  const origin = await serve((request, response) => {
    const path = (request.url as string).slice(1);
    const body = path === "SHA256SUMS" ? sums(served) : served[path];
    if (body === undefined) response.writeHead(404).end();
    else response.end(body);
  });
  return {
    url: `${origin}/`,
    set: async (files: Files) => {
      served = files;
    },
  };
}

function sums(files: Files): string {
  const lines = Object.entries(files).map(
    ([path, bytes]) => `${createHash("sha256").update(bytes).digest("hex")}  ${path}\n`,
  );
  return lines.join("");
}

/** KiB left on the volume, from nothing to nearly enough for the update: each is used up at another step. */
const LEFT = {
  file: [0, 4, 64, 1000],
  archive: [0, 16, 250, 1500],
  manifest: FULL
    ? Array.from({ length: 50 }, (_, index) => index * 40)
    : [0, 4, 20, 50, 100, 400, 1000, 1200, 1300, 1600],
};

/** A small volume of the test's own, unmounted after it. */
async function smallVolume(options: string): Promise<string> {
  const volume = join(await workDirectory(), "volume");
  mountTmpfs(volume, options);
  onTestFinished(() => void execFileSync("umount", ["--lazy", volume]));
  return volume;
}

/** Why no file system can be mounted here, if so. */
function obstacle(): string | undefined {
  const at = `/tmp/pannier-mount-${process.pid}`;
  try {
    mountTmpfs(at, "size=64k");
    execFileSync("umount", [at]);
    return undefined;
  } catch {
    return "mounting a tmpfs takes root on Linux";
  }
}

function usedKib(volume: string): number {
  const { blocks, bfree, bsize } = statfsSync(volume);
  return ((blocks - bfree) * bsize) / KIB;
}

function freeKib(volume: string): number {
  const { bavail, bsize } = statfsSync(volume);
  return (bavail * bsize) / KIB;
}

/** About 2 MiB in 100 files, of which `changed` are of another revision. */
function content(changed: number): Files {
  const random = seededRandom(changed);
  return Object.fromEntries(
    Array.from({ length: 100 }, (_, index) => [
      `dir-${index % 7}/file-${index}`,
      Buffer.alloc(20 * KIB, `${index < changed ? random() : "first"} ${index}\n`),
    ]),
  );
}

async function writeFiles(root: string, files: Files): Promise<void> {
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(join(root, path, ".."), { recursive: true });
    await writeFile(join(root, path), bytes);
  }
}

const skipReason = obstacle();

describe.skipIf(skipReason !== undefined)(
  "a full disk",
  { meta: { skipReason: skipReason ?? "" } },
  () => {
    /** A source that tells sizes, one that takes room to read, and one that tells nothing: the disk is full in the middle then. */
    const sources = {
      async file() {
        const path = join(await workDirectory(), "source");
        return { url: path, set: (files: Files) => writeFiles(path, files) };
      },
      archive: serveArchive,
      manifest: serveManifest,
    };

    for (const publish of ["swap", "mirror"] as const) {
      for (const kind of ["file", "archive", "manifest"] as const) {
        test(
          `at any step of an update from ${kind}, --publish ${publish}`,
          { timeout: 180_000 },
          async () => {
            const volume = await smallVolume("size=12m");
            const target = join(volume, "target");
            const ballast = join(volume, "ballast");
            const source = await sources[kind]();
            const args = ["sync", source.url, target, `--publish=${publish}`];
            const tree = () =>
              publish === "swap" ? readTree(join(target, "current")) : readTree(target, ".pannier");
            await source.set(content(0));
            await pannierOk(args);
            await source.set(content(60));
            const before = await tree();

            const outcomes: string[] = [];
            for (const left of LEFT[kind]) {
              await writeFile(ballast, Buffer.alloc(Math.floor(freeKib(volume) - left) * KIB));
              const used = usedKib(volume);
              const { code, stderr } = await pannier(args);
              outcomes.push(`${left} KiB left: exit ${code}`);
              const situation = `${outcomes.join(", ")}\n${stderr}`;
              if (code === 0) break;
              expect(code, situation).toBe(7);
              expect(stderr, situation).toMatch(/^pannier: .*\n$/);
              expect(differences(await tree(), before), situation).toEqual([]);
              expect(usedKib(volume) - used, situation).toBeLessThan(64);
              await rm(ballast);
            }
            console.log(outcomes.join(", "));
            await rm(ballast, { force: true });
            await pannierOk(args);
            expect([...(await tree()).values()].toSorted()).not.toEqual(
              [...before.values()].toSorted(),
            );
            await pannierOk(["verify", target]);
          },
        );

        test(`in a first sync from ${kind}, --publish ${publish}`, async () => {
          const volume = await smallVolume("size=1m");
          const source = await sources[kind]();
          await source.set(content(0));
          const args = ["sync", source.url, join(volume, "target"), `--publish=${publish}`];
          for (let attempt = 1; attempt <= 3; attempt++) {
            const { code, stderr } = await pannier(args);
            expect(code, stderr).toBe(7);
            expect(usedKib(volume), stderr).toBeLessThan(200);
          }
          execFileSync("mount", ["-o", "remount,size=8m", volume]);
          await pannierOk(args);
        });
      }
    }

    test("no inodes left", async () => {
      const volume = await smallVolume("size=8m,nr_inodes=80");
      const source = await sources.file();
      await source.set(content(0));
      const { code, stderr } = await pannier(["sync", source.url, join(volume, "target")]);
      expect(code, stderr).toBe(7);
    });

    test("more than --max-bytes", async () => {
      const source = await sources.archive();
      await source.set(content(0));
      const target = join(await workDirectory(), "target");
      const { code, stderr } = await pannier(["sync", source.url, target, "--max-bytes=1MiB"]);
      expect(code, stderr).toBe(7);
      expect(stderr).toContain("--max-bytes");
    });
  },
);
