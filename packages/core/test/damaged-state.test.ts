/** A state that is damaged anywhere: what is published stays, and the next sync is right. Each run tries other damages; PANNIER_TEST_SEED repeats one. */
import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { seededRandom } from "../../../test/support/random.ts";
import {
  follow,
  history,
  rollback,
  status,
  sync,
  TargetError,
  type SyncOptions,
  type TreeReport,
  verify,
} from "../src/index.ts";
import { type Content, type MemorySource, memorySource } from "./memory-source.ts";
import { litterOf, readTree } from "./trees.ts";

const SEED = Number(process.env["PANNIER_TEST_SEED"] ?? Date.now() % 1_000_000);
const DAMAGES = Number(process.env["PANNIER_TEST_DAMAGES"] ?? 60);

let target: string;

beforeEach(() => {
  target = mkdtempSync(join(tmpdir(), "pannier-damaged-"));
});

afterEach(() => {
  rmSync(target, { recursive: true, force: true });
});

const isIntact = ({ changed, missing, extra }: TreeReport) => changed + missing + extra === 0;
const intact = { changed: 0, missing: 0, extra: 0 };
const stateFile = () => join(target, ".pannier/state.db");

/** About half of the files are those of another revision. */
function content(revision: number): Content {
  const files: Content = { link: { link: `d0/file-${revision}` } };
  for (let i = 0; i < 150; i++)
    files[`d${i % 7}/some/file-${i}`] = {
      text: (i + revision) % 2 === 0 ? `same ${i}` : `${i} of ${revision}`,
      mode: i % 5 === 0 ? 0o755 : 0o644,
    };
  files[`only-${revision}`] = "x";
  return files;
}

const shown = (files: Content) =>
  Object.fromEntries(
    Object.entries(files).map(([path, value]) => [
      path,
      typeof value === "string" ? value : "link" in value ? `-> ${value.link}` : value.text,
    ]),
  );

const rootOf = (publish: "swap" | "mirror") =>
  publish === "swap" ? join(target, "current") : target;

async function settle(source: MemorySource, options: Partial<SyncOptions>): Promise<string[]> {
  const healed: string[] = [];
  await sync({
    sources: [source],
    target,
    maxDelete: "100%",
    keep: 2,
    ...options,
    onEvent: (event) => {
      if (event.type === "healed") healed.push(event.message);
    },
  });
  return healed;
}

async function begin(publish: "swap" | "mirror", tokens: boolean): Promise<MemorySource> {
  const source = memorySource();
  for (const revision of [1, 2, 3, 4]) {
    source.content = content(revision);
    if (tokens) source.token = source.revision = `r${revision}`;
    await settle(source, { publish });
  }
  return source;
}

function overwrite(at: number, bytes: Uint8Array): void {
  const fd = openSync(stateFile(), "r+");
  writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
}

function change(sql: string): void {
  const db = new DatabaseSync(stateFile());
  db.exec(sql);
  db.close();
}

const record = (key: string, value: string) =>
  `INSERT OR REPLACE INTO meta (key, value) VALUES ('${key}', '${value}')`;

describe.each(["swap", "mirror"] as const)("%s", (publish) => {
  it(`${DAMAGES} random damages (seed ${SEED})`, { timeout: 2000 * DAMAGES }, async () => {
    const random = seededRandom(SEED);
    const source = await begin(publish, false);
    let renewed = 0;
    for (let damage = 0; damage < DAMAGES; damage++) {
      if (damage % 10 === 9) {
        rmSync(target, { recursive: true, force: true });
        await begin(publish, damage % 20 === 9);
      }
      const size = statSync(stateFile()).size;
      const length = 1 + Math.floor(random() * (random() < 0.5 ? 16 : 4096));
      const at = Math.floor(random() * Math.max(1, size - length));
      const bytes = Uint8Array.from({ length }, () => Math.floor(random() * 256));
      overwrite(at, bytes);
      const told = `damage ${damage} of seed ${SEED}: ${length} bytes at ${at} of ${size}`;
      const visible = readTree(rootOf(publish));
      const revision = 5 + damage;
      source.content = content(revision);
      source.token = source.revision = damage % 20 > 9 ? `r${revision}` : undefined;
      const looks: (() => unknown)[] = [
        () => status(target),
        () => history(target),
        () => verify(target),
      ];
      for (const look of looks)
        await Promise.resolve()
          .then(look)
          .catch((error: Error) =>
            assert.match(
              error.name,
              /TargetError|UsageError|RefusedError/,
              `${told}: ${error.stack}`,
            ),
          );
      assert.deepEqual(readTree(rootOf(publish)), visible, told);
      let healed: string[];
      try {
        healed = await settle(source, { publish });
      } catch (error) {
        throw new Error(told, { cause: error });
      }
      if (healed.some((message) => message.includes("rebuilt"))) renewed++;
      const tree = readTree(rootOf(publish));
      // A mirror without its state does not know what of it is its own.
      const ours = Object.fromEntries(
        Object.entries(tree).filter(([path]) => publish === "swap" || path in source.content),
      );
      assert.deepEqual(ours, shown(source.content), told);
      // A row or a page that no sync needed may be wrong where the tree is right: verify says so, and the state is of no further use here.
      const isWhole = await verify(target).then(isIntact, (error: unknown) => {
        assert.ok(error instanceof TargetError, told);
        return false;
      });
      if (!isWhole) {
        rmSync(target, { recursive: true, force: true });
        await begin(publish, false);
      }
      assert.deepEqual(litterOf(target), [], told);
    }
    expect(renewed).toBeGreaterThan(0);
  });

  it.each([
    ["no layers", "UPDATE generations SET layers = '{'"],
    ["layers that are none", `UPDATE generations SET layers = '[{"url": 1}]'`],
    ["no digest", "UPDATE generations SET digest = 'none'"],
    ["a candidate that is no JSON", record("candidate", "{")],
    ["a candidate without a name", record("candidate", `{"base":null,"slot":1,"clean":true}`)],
    ["a candidate that is nothing", record("candidate", "null")],
    ["sources that are held back, in no JSON", record("held", "{")],
    ["another way of publishing", record("publish", "mirrpr")],
    ["origins that are none", record("origins", "7")],
    ["a mirror half done, in no JSON", record("mirroring", "[")],
    ["no table of entries", "DROP TABLE entries"],
    ["no table of plans", "DROP TABLE plan"],
    ["no table of metadata", "DROP TABLE meta"],
    ["no table of differences", "DROP TABLE deltas"],
    ["no index", "DROP INDEX entries_ended"],
    ["tables of no version", "PRAGMA user_version = 0"],
    ["a version that never was", "PRAGMA user_version = 1953719668"],
    [
      "paths of what changed that are others",
      "UPDATE deltas SET path = path || 'x' WHERE path > 'd3'",
    ],
    ["less that changed", "DELETE FROM deltas WHERE path > 'd3'"],
    [
      "a candidate of another generation",
      `UPDATE meta SET value = replace(value, '"base":', '"base":1') WHERE key = 'candidate'`,
    ],
    ["paths that are no text", "UPDATE entries SET path = x'ff' || path"],
  ])("%s", async (_, sql) => {
    const source = await begin(publish, true);
    change(sql);
    source.content = content(5);
    source.token = source.revision = "r5";
    await settle(source, { publish });
    for (const [path, value] of Object.entries(shown(source.content)))
      expect(readTree(rootOf(publish))[path]).toBe(value);
    expect(await verify(target)).toMatchObject(intact);
  });

  it("is mended while Pannier runs", async () => {
    const source = await begin(publish, true);
    const stop = new AbortController();
    const told: string[] = [];
    let turns = 0;
    const turn = async (work: () => Promise<void>) => {
      turns++;
      source.content = content(4 + turns);
      source.token = source.revision = `r${4 + turns}`;
      if (turns === 2) change("UPDATE generations SET layers = '{'");
      if (turns === 3) change("DROP TABLE entries");
      await work();
    };
    for await (const event of follow(
      { sources: [source], target, publish, period: "5ms", maxDelete: "100%" },
      { turn, signal: stop.signal },
    )) {
      if (event.type === "healed") told.push(event.message);
      if (event.type === "failed") throw event.error;
      if (event.type === "done" && turns === 4) stop.abort();
    }
    expect(told.filter((message) => message.includes("rebuilt"))).toHaveLength(2);
    for (const [path, value] of Object.entries(shown(source.content)))
      expect(readTree(rootOf(publish))[path]).toBe(value);
    expect(await verify(target)).toMatchObject(intact);
    expect(litterOf(target)).toEqual([]);
  });
});

it("is told by what only reads it, and by a rollback", async () => {
  await begin("swap", true);
  change("UPDATE generations SET layers = '{'");
  expect(() => status(target)).toThrow("cannot be read");
  expect(() => history(target)).toThrow("cannot be read");
  await expect(verify(target)).rejects.toThrow("cannot be read");
  await expect(rollback(target)).rejects.toThrow("cannot be read");
});

it("a fault of the program's own is no damage: the state stays", async () => {
  const source = await begin("swap", false);
  const kept = history(target);
  source.beforeList = () => {
    throw new TypeError("a bug");
  };
  await expect(settle(source, {})).rejects.toThrow("a bug");
  expect(history(target)).toEqual(kept);
});
