/** SIGKILL at random moments of first syncs and updates, with lanes and without. The numbers are the same in every run; PANNIER_SEED tries others. */
import { existsSync } from "node:fs";
import { mkdir, readdir, readlink, rm } from "node:fs/promises";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { runPannierOk, startPannier } from "../support/pannier.ts";
import { seededRandom } from "../support/random.ts";
import { differences, readTree, type Tree } from "../support/tree.ts";
import { ChangingSource } from "./changing-source.ts";
import { FULL, SEED, someLanes, workDirectory } from "./support.ts";

const KILLS = FULL ? 160 : 12;
const NOTHING: Tree = new Map();

/** Kills a sync at a random moment after it has begun; false when it was faster. */
async function killSync(args: readonly string[], random: () => number, span: number) {
  const { child, ended } = startPannier([...args, "--log-level=debug"], { env: someLanes(random) });
  // The first line of the log: the program is loaded, and the work begins.
  await Promise.race([once(child.stderr as NodeJS.ReadableStream, "data"), ended]);
  await Promise.race([delay(random() * span), ended]);
  child.kill("SIGKILL");
  const { code, signal, stderr } = await ended;
  if (signal !== "SIGKILL" && code !== 0) throw new Error(`exit ${code}: ${stderr}`);
  return signal === "SIGKILL";
}

for (const publish of ["swap", "mirror"] as const) {
  test.concurrent(
    `${KILLS} kills with --publish ${publish} leave nothing half done (seed ${SEED})`,
    { timeout: 900_000 },
    async (context) => {
      const work = await workDirectory(context.onTestFinished);
      const random = seededRandom(SEED + (publish === "swap" ? 0 : 1000));
      const source = new ChangingSource(join(work, "source"), random);
      const target = join(work, "target");
      await mkdir(source.path);
      await source.grow(150);
      const args = ["sync", source.path, target, `--publish=${publish}`, "--max-delete=100%"];
      const read = async () => {
        if (publish === "mirror")
          return existsSync(target) ? readTree(target, ".pannier") : NOTHING;
        const link = join(target, "current");
        return (await readlink(link).catch(() => undefined)) === undefined
          ? NOTHING
          : readTree(link);
      };

      /** Trees that may be seen: the one of the last sync that ended, and what came after it. */
      let possible: Tree[] = [NOTHING, source.tree()];
      const finish = async () => {
        await runPannierOk(args);
        expect(differences(await read(), source.tree())).toEqual([]);
        possible = [source.tree()];
        expect(await litter(target)).toEqual([]);
      };

      let kills = 0;
      let span = await fullSpan(args);
      await rm(target, { recursive: true });
      while (kills < KILLS) {
        const dice = random();
        if (dice < 0.2) {
          await rm(target, { recursive: true, force: true });
          possible = [NOTHING, source.tree()];
        } else if (dice < 0.7) {
          await source.change(1 + Math.floor(random() * 60));
          possible.push(source.tree());
        }
        const killed = await killSync(args, random, span);
        // As long as the longest of them, so that every moment has its chance, yet few are missed.
        span *= killed ? 1.02 : 0.9;
        if (killed) kills++;
        const tree = await read();
        expect(publish === "swap" ? unlike(tree, possible) : strange(tree, possible)).toEqual([]);
        if (publish === "swap") possible = [matching(tree, possible) as Tree, source.tree()];
        if (random() < 0.3) await finish();
      }
      await finish();
      await runPannierOk(["verify", target]);
    },
  );
}

/** Milliseconds from the first line of the log of a first sync to its end. */
async function fullSpan(args: readonly string[]): Promise<number> {
  const { child, ended } = startPannier([...args, "--log-level=debug"]);
  await once(child.stderr as NodeJS.ReadableStream, "data");
  const start = performance.now();
  const { code, stderr } = await ended;
  expect(code, stderr).toBe(0);
  return performance.now() - start;
}

function matching(tree: Tree, possible: readonly Tree[]): Tree | undefined {
  return possible.find((candidate) => differences(tree, candidate).length === 0);
}

/** How a tree differs from the newest of the possible ones, unless it is exactly one of them. */
function unlike(tree: Tree, possible: readonly Tree[]): string[] {
  return matching(tree, possible) === undefined ? differences(tree, possible.at(-1) as Tree) : [];
}

/** What is in no possible tree, and what is missing though it is in all of them. */
function strange(tree: Tree, possible: readonly Tree[]): string[] {
  const faults: string[] = [];
  for (const [path, value] of tree) {
    if (!possible.some((candidate) => candidate.get(path) === value))
      faults.push(`${path}: ${value}`);
  }
  for (const path of possible[0]?.keys() ?? []) {
    if (possible.every((candidate) => candidate.has(path)) && !tree.has(path))
      faults.push(`no ${path}`);
  }
  return faults;
}

/** What a finished sync should not leave behind. */
async function litter(target: string): Promise<string[]> {
  const home = join(target, ".pannier");
  const names = await readdir(home);
  const generations = existsSync(join(home, "generations"))
    ? await readdir(join(home, "generations"))
    : [];
  const candidates = names.filter((name) => name.startsWith("candidate"));
  return [
    ...names.filter(
      (name) =>
        !/^(generations|state\.db(-wal|-shm)?|lock|candidate.*|sources|scratch)$/.test(name),
    ),
    ...generations.slice(2),
    ...candidates.slice(1),
  ];
}
