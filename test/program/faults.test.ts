/**
 * A chosen system call kills the program, or fails. Whatever it was: the tree that is published is one of those that were to be, and after the next sync that
 * ends with 0 it is that of the source, with its symlinks, permissions and directories. Each run has another seed, which it prints; PANNIER_SEED repeats one.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { COMPILE_CACHE, FROM_SOURCES } from "../support/from-sources.ts";
import { PROGRAM } from "../support/pannier.ts";
import { seededRandom } from "../support/random.ts";
import { differences, readWholeTree, type Tree } from "../support/tree.ts";
import { ChangingSource } from "./changing-source.ts";
import { pannier, someLanes, workDirectory } from "./support.ts";

/** Of each kind and way of publishing; `PANNIER_TEST_FAULTS=250` for a long run. */
const FAULTS = Number(process.env["PANNIER_TEST_FAULTS"] ?? 10);
const SEED = Number(process.env["PANNIER_SEED"] ?? Date.now() % 1_000_000);

/** Calls that change something on the volume, and about how many of them a thread makes in a sync. */
const CALLS = {
  openat: 200,
  write: 20,
  pwrite64: 100,
  rename: 6,
  link: 60,
  symlink: 6,
  mkdir: 12,
  unlink: 40,
  rmdir: 6,
  ftruncate: 4,
  fsync: 3,
  fdatasync: 12,
  fchmod: 20,
  utimensat: 40,
};
const ERRORS = ["ENOSPC", "EDQUOT", "EIO", "EACCES", "EROFS", "EMFILE", "ENOMEM"];

const STOP = fileURLToPath(new URL("before-target.ts", import.meta.url));
const hasStrace = spawnSync("strace", ["-e", "trace=none", "true"]).status === 0;

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
  /** Whether the fault came to pass. */
  readonly hit: boolean;
}

/** Runs a sync, of which strace takes hold once it begins with its target. */
async function runWith(
  args: readonly string[],
  inject: string,
  env: Readonly<Record<string, string>>,
): Promise<Ended> {
  const child = spawn(process.execPath, [...FROM_SOURCES, "--import", STOP, PROGRAM, ...args], {
    env: {
      PATH: process.env["PATH"],
      HOME: "/nonexistent",
      ...COMPILE_CACHE,
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const ended = once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
  await Promise.race([once(createInterface({ input: child.stdout }), "line"), ended]);
  const call = /^[a-z0-9]+/.exec(inject)?.[0] as string;
  const strace = spawn(
    "strace",
    ["-f", "-p", String(child.pid), "-e", `trace=${call}`, "-e", `inject=${inject}`],
    {
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  let log = "";
  const attached = new Promise<void>((resolve) => {
    strace.stderr.setEncoding("utf8").on("data", (text: string) => {
      log += text;
      if (log.includes("stopped by SIGSTOP")) resolve();
    });
  });
  const traced = once(strace, "close");
  await Promise.race([attached, traced]);
  child.kill("SIGCONT");
  const [code, signal] = await ended;
  await traced;
  return { code, signal, stderr, hit: signal === "SIGKILL" || log.includes("(INJECTED)") };
}

const look = (root: string): Tree =>
  existsSync(root) ? readWholeTree(root, ".pannier") : new Map<string, string>();

/** As after a restart of the machine, or somebody's cleaning up. */
function lose(target: string, what: number): string {
  const home = join(target, ".pannier");
  if (!existsSync(home)) return "nothing";
  if (what < 0.2) {
    try {
      const db = new DatabaseSync(join(home, "state.db"));
      db.exec("UPDATE meta SET value = 'another' WHERE key = 'boot'");
      db.close();
    } catch {
      return "nothing";
    }
    return "restart";
  }
  if (what > 0.35) return "nothing";
  for (const name of readdirSync(home))
    if (name.startsWith("candidate-")) rmSync(join(home, name), { recursive: true });
  return "candidate";
}

describe.skipIf(!hasStrace)(
  "the program under faults",
  { meta: { skipReason: "needs strace, and the permission to trace" } },
  () => {
    for (const [index, publish] of (["swap", "mirror"] as const).entries())
      for (const kind of ["kills", "errors"] as const)
        test(
          `${FAULTS} ${kind} with --publish ${publish} (seed ${SEED})`,
          { timeout: 60_000 + FAULTS * 10_000 },
          async () => {
            const work = await workDirectory();
            const random = seededRandom(SEED + index * 2 + (kind === "kills" ? 0 : 1));
            const pick = <Item>(items: readonly Item[]) =>
              items[Math.floor(random() * items.length)] as Item;
            const source = new ChangingSource(join(work, "source"), random);
            const target = join(work, "target");
            mkdirSync(source.path);
            await source.grow(60);
            const shown = () => look(publish === "swap" ? join(target, "current") : target);
            // libuv itself wakes its threads by write, and aborts where that fails.
            const calls = (Object.keys(CALLS) as (keyof typeof CALLS)[]).filter(
              (name) => kind === "kills" || name !== "write",
            );
            let possible: Tree[] = [new Map(), look(source.path)];
            const story: string[] = [];
            const codes: Record<string, number> = {};
            let hits = 0;
            while (hits < FAULTS) {
              const dice = random();
              if (dice < 0.1) {
                rmSync(target, { recursive: true, force: true });
                possible = [new Map()];
                story.push("wiped");
              } else if (dice < 0.8) {
                await source.change(1 + Math.floor(random() * 20));
                for (const path of source.tree().keys())
                  if (random() < 0.03)
                    await source.setMode(path, pick([0o600, 0o640, 0o755, 0o444]));
              }
              possible.push(look(source.path));
              const keep = pick([1, 2, 3]);
              const args = [
                "sync",
                source.path,
                target,
                `--publish=${publish}`,
                `--keep=${keep}`,
                "--max-delete=100%",
              ];
              const call = pick(calls);
              const at = 1 + Math.floor(CALLS[call] * random() ** 2);
              const lasting = random() < 0.3 ? "+" : "";
              const inject =
                kind === "kills"
                  ? `${call}:signal=KILL:when=${at}`
                  : `${call}:error=${pick(ERRORS)}:when=${at}${lasting}`;
              const umask = pick([0o022, 0o077]);
              const lanes = someLanes(random);
              const outcome = await runWith(args, inject, { TEST_UMASK: String(umask), ...lanes });
              const { code, signal, stderr, hit } = outcome;
              if (hit) hits++;
              const how = `umask=${umask.toString(8)} keep=${keep} lanes=${lanes["PANNIER_TEST_LANES"]}`;
              story.push(`${inject} ${how}: ${signal ?? code}`);
              const told = () => `${story.slice(-8).join("\n")}\n${stderr}`;
              if (hit) codes[String(signal ?? code)] = (codes[String(signal ?? code)] ?? 0) + 1;
              // Whatever the system says, it is no bug of ours, and is told as what it is. Not where Node itself cannot start a thread or load a module.
              if (kind === "errors" && !/node:internal\/(modules|main)/.test(stderr))
                assert.notEqual(code, 1, told());
              const now = shown();
              if (code === 0) {
                assert.deepEqual(differences(now, possible.at(-1) as Tree), [], told());
                possible = [now];
              } else if (publish === "swap") {
                const match = possible.find((tree) => differences(now, tree).length === 0);
                if (match === undefined)
                  assert.deepEqual(differences(now, possible.at(-1) as Tree), [], told());
              }
              story.push(`lost: ${lose(target, random())}`);
              if (random() < 0.5) continue;
              const next = await pannier(args);
              assert.equal(next.code, 0, `${told()}\nthen: ${next.stderr}`);
              assert.deepEqual(differences(shown(), possible.at(-1) as Tree), [], told());
              possible = [possible.at(-1) as Tree];
            }
            console.log(`${kind}, ${publish}: ${JSON.stringify(codes)}`);
            expect(hits).toBe(FAULTS);
          },
        );
  },
);
