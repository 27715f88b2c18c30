/** A process may be killed at any instant: what is published stays whole, and the next one goes on, leaving nothing behind. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { history, sync, verify } from "../src/index.ts";
import { asTree, chance, type CrashOrder, keepOf, revisionContent } from "./crash-content.ts";
import { memorySource } from "./memory-source.ts";
import { litterOf, readTree } from "./trees.ts";
import { FROM_SOURCES } from "../../../test/support/from-sources.ts";

/** Kills per mode; `PANNIER_TEST_KILLS=400` for a long run. */
const KILLS = Number(process.env["PANNIER_TEST_KILLS"] ?? 20);
const SEED = Number(process.env["PANNIER_TEST_SEED"] ?? 1);

/** About as many calls of each kind as two syncs make. */
const CALLS = { any: 700, name: 60, file: 200, state: 350, lane: 150 };

let target: string;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-crash-"));
});

afterEach(() => {
  rmSync(target, { recursive: true, force: true });
});

/** Runs a process until it dies. Returns the number of the revision it was at work on. */
function crash(publish: CrashOrder["publish"], lanes: boolean, kill: number, from: number): number {
  const kinds = lanes
    ? (["any", "name", "lane", "lane", "state"] as const)
    : (["any", "name", "name", "file", "state"] as const);
  const kind = kinds[Math.floor(kinds.length * chance(SEED, kill, "kind"))] as CrashOrder["kind"];
  const order: CrashOrder = {
    target,
    publish,
    seed: SEED,
    lanes,
    from,
    at: 1 + Math.floor(CALLS[kind] * chance(SEED, kill, "at")),
    kind,
    before: chance(SEED, kill, "before") < 0.5,
  };
  const child = spawnSync(
    process.execPath,
    [...FROM_SOURCES, join(import.meta.dirname, "crash-child.ts"), JSON.stringify(order)],
    // One that does not come to its call, for want of any, is a fault of this test.
    { encoding: "utf8", timeout: 60_000 },
  );
  assert.equal(child.stderr, "", JSON.stringify(order));
  assert.equal(child.signal, "SIGKILL", JSON.stringify(order));
  return Number(child.stdout.trim().split("\n").at(-1));
}

const content = (revision: number) => asTree(revisionContent(SEED, revision));

async function finish(publish: CrashOrder["publish"], revision: number): Promise<void> {
  const source = memorySource(revisionContent(SEED, revision));
  const sources = [source];
  await sync({ sources, target, publish, keep: keepOf(revision), maxDelete: "100%" });
  const root = publish === "swap" ? join(target, "current") : target;
  expect(readTree(root)).toEqual(content(revision));
  expect(await verify(target)).toMatchObject({ changed: 0, missing: 0, extra: 0 });
  const kept = history(target).flatMap(({ path }) => path?.split("/").at(-1) ?? []);
  expect(litterOf(target, kept)).toEqual([]);
  expect(readdirSync(join(target, ".pannier/generations")).toSorted()).toEqual(
    publish === "swap" ? kept.toSorted() : [],
  );
}

describe.each([
  ["the main thread fetches", false],
  ["lanes fetch", true],
])("killed at any call while %s", (_what, lanes) => {
  it(`swap: shows one revision, whole (${KILLS} kills)`, { timeout: 15_000 * KILLS }, async () => {
    let shown = -1;
    let begun = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      begun = crash("swap", lanes, kill, begun);
      const link = join(target, "current");
      const tree = existsSync(link) ? readTree(link) : undefined;
      const now = Number(tree?.["revision"] ?? -1);
      assert.deepEqual(tree, now < 0 ? undefined : content(now), `after kill ${kill}`);
      assert.ok(shown <= now && now <= begun, `${now} after ${shown}, before ${begun}`);
      shown = now;
      // Every now and then a start without a crash.
      if (kill % 10 === 9) await finish("swap", ++begun);
    }
    await expect(finish("swap", begun)).resolves.toBeUndefined();
  });

  it(`mirror: has each file whole (${KILLS} kills)`, { timeout: 15_000 * KILLS }, async () => {
    let done = -1;
    let begun = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      begun = crash("mirror", lanes, kill, begun);
      const possible = Array.from({ length: begun - done + 1 }, (_, i) => done + i).map(
        (revision) => (revision < 0 ? {} : content(revision)),
      ) as Record<string, string>[];
      for (const [path, text] of Object.entries(readTree(target))) {
        // An empty directory may be there for a moment.
        const known = path.endsWith("/") || possible.some((tree) => tree[path] === text);
        assert.ok(known, `${path} after kill ${kill}: ${text}`);
      }
      if (kill % 5 !== 4) continue;
      await finish("mirror", begun);
      done = begun;
    }
    await expect(finish("mirror", begun)).resolves.toBeUndefined();
  });
});
