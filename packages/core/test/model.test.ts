/** Random histories of a mount against a simple model of what its tree must be. */
import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  history,
  makeFilter,
  NoRoomError,
  plan,
  repair,
  rollback,
  SourceError,
  status,
  sync,
  type SyncOptions,
  type TreeReport,
  verify,
} from "../src/index.ts";
import { staysInside } from "../src/engine/checks.ts";
import { type Content, type MemorySource, memorySource } from "./memory-source.ts";
import { litterOf, readTree } from "./trees.ts";

const RUNS = Number(process.env["PANNIER_TEST_MODEL_RUNS"] ?? 8);

/** Files here are directories there. */
const PATHS = ["a", "b", "d", "d/a", "d/b", "d/e/c", "x", "x/y", "x/y/z", "x-", "x0"];

type Value = Content[string];

const value = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      text: fc.constantFrom("one", "two", "three"),
      mode: fc.constantFrom(0o644, 0o644, 0o755),
      // Sometimes touched: another fingerprint for the same bytes.
      touch: fc.constantFrom("", "", "", "touched"),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ link: fc.constantFrom("a", "nowhere", "d", "../b", "/etc") }),
  },
);

const MOUNTS = [["below"], ["below", "above"], ["above", "below"], ["below", "above@x"]] as const;

const op = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      op: fc.constant("edit" as const),
      layer: fc.constantFrom("below" as const, "above" as const),
      path: fc.constantFrom(...PATHS),
      value: fc.option(value),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constant("sync" as const),
      fault: fc.constantFrom("none", "none", "none", "read", "hook", "list"),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant("set" as const),
      keep: fc.integer({ min: 1, max: 4 }),
      exclude: fc.constantFrom([], [], ["d/a"], ["x"]),
      symlinks: fc.constantFrom("all" as const, "skip" as const, "inside" as const),
      mount: fc.nat(MOUNTS.length - 1),
      tokens: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("rollback" as const), to: fc.nat(3) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant("tamper" as const),
      where: fc.constantFrom("published", "candidate"),
      how: fc.constantFrom(
        "delete",
        "replace",
        "add",
        "directory",
        "link",
        "mode",
        "directory mode",
      ),
      pick: fc.nat(20),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant("drop" as const),
      what: fc.constantFrom("candidate", "generations", "state.db", "current"),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      op: fc.constant("cut" as const),
      how: fc.constantFrom("abort", "abort", "room"),
      reads: fc.nat(4),
      loss: fc.constantFrom("nothing", "restart", "candidate", "part of the candidate"),
      pick: fc.nat(20),
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("plan" as const) }) },
);

type Op = typeof op extends fc.Arbitrary<infer Type> ? Type : never;
type Settings = Omit<Extract<Op, { op: "set" }>, "op">;

/** What the tree must be, or why there must be none: `undefined`. */
function expected(sources: Record<"below" | "above", MemorySource>, set: Settings) {
  const filter = makeFilter([], set.exclude);
  const merged: Content = {};
  for (const layer of MOUNTS[set.mount] as readonly string[]) {
    const [name, into] = layer.split("@") as ["below" | "above", string | undefined];
    for (const [path, entry] of Object.entries(sources[name].content)) {
      const placed = into === undefined ? path : `${into}/${path}`;
      if (filter?.wants(placed) !== false) merged[placed] = entry;
    }
  }
  const target = (path: string) => {
    const entry = merged[path];
    return typeof entry === "object" && "link" in entry ? entry.link : undefined;
  };
  const tree: Record<string, { show: string; key: string; mode: number | undefined }> = {};
  for (const [path, entry] of Object.entries(merged) as [string, Exclude<Value, string>][]) {
    if (!("link" in entry)) {
      const key = `${entry.fingerprint} ${entry.mode}`;
      tree[path] = { show: entry.text, key, mode: entry.mode };
    } else if (set.symlinks === "all" || staysInside(path, entry.link, target))
      tree[path] = { show: `-> ${entry.link}`, key: entry.link, mode: undefined };
    else if (set.symlinks === "inside") return undefined;
  }
  const paths = Object.keys(tree);
  if (paths.some((path) => paths.some((other) => other.startsWith(`${path}/`)))) return undefined;
  return tree;
}

type Tree = NonNullable<ReturnType<typeof expected>>;

const shownOf = (tree: Tree) =>
  Object.fromEntries(Object.entries(tree).map(([path, { show }]) => [path, show]));

/** Inode and time of each file. */
function facts(root: string): Map<string, string> {
  return new Map(
    Object.keys(readTree(root)).map((path) => {
      const { ino, mtimeMs, mode } = lstatSync(join(root, path));
      return [path, `${ino} ${mtimeMs} ${mode & 0o777}`];
    }),
  );
}

const faultsOf = ({ changed, missing, extra }: TreeReport) => ({ changed, missing, extra });

async function play(publish: "swap" | "mirror", ops: readonly Op[]): Promise<void> {
  const target = mkdtempSync(join(tmpdir(), "pannier-model-"));
  const root = publish === "swap" ? join(target, "current") : target;
  const sources = { below: memorySource({}, "below"), above: memorySource({}, "above") };
  let set: Settings = { keep: 2, exclude: [], symlinks: "all", mount: 0, tokens: false };
  /** What is visible; `undefined` before the first publish. */
  let shown: Tree | undefined;
  /** Trees by the paths that history names. */
  const trees = new Map<string, Tree>();
  /** Those of them that were tampered with. */
  const spoilt = new Set<string>();
  /** The tree that was rolled back from. */
  let held: string | undefined;
  /** False after something was broken: then files may be new though their content is not. */
  let stable = true;

  const options = (): SyncOptions => ({
    sources: (MOUNTS[set.mount] as readonly string[]).map((layer) => {
      const [name, into] = layer.split("@") as ["below" | "above", string | undefined];
      return { source: sources[name], into };
    }),
    target,
    publish,
    keep: set.keep,
    exclude: set.exclude,
    symlinks: set.symlinks,
    maxDelete: "100%",
    concurrency: 3,
  });
  const look = () => (existsSync(root) ? readTree(root) : {});

  async function check(): Promise<void> {
    if (shown === undefined) return;
    assert.deepEqual(look(), shownOf(shown));
    for (const [path, { mode }] of Object.entries(shown)) {
      if (mode !== undefined) assert.equal(lstatSync(join(root, path)).mode & 0o777, mode, path);
      for (let directory = dirname(path); directory !== "."; directory = dirname(directory))
        assert.equal(statSync(join(root, directory)).mode & 0o777, 0o755, directory);
    }
    assert.deepEqual(faultsOf(await verify(target)), { changed: 0, missing: 0, extra: 0 });
    const kept = history(target).filter(({ path }) => path !== undefined);
    assert.ok(kept.length <= set.keep + 3);
    if (publish === "swap")
      for (const { path } of kept.filter((tree) => !spoilt.has(tree.path as string)))
        assert.deepEqual(readTree(path as string), shownOf(trees.get(path as string) as Tree));
    const files = Object.values(shown);
    const now = status(target);
    assert.equal(now?.files, files.length);
    assert.equal(
      now?.bytes,
      files
        .filter(({ mode }) => mode !== undefined)
        .reduce((sum, { show }) => sum + show.length, 0),
    );
    const names = kept.map(({ path }) => path?.split("/").at(-1) as string);
    assert.deepEqual(litterOf(target, publish === "swap" ? names : []), []);
  }

  /** @param reads how many of them come before the fault, where that is a cut */
  async function trySync(work: typeof sync, fault: string, reads = 0): Promise<void> {
    const stop = new AbortController();
    let left = reads;
    for (const source of Object.values(sources)) {
      source.token = set.tokens ? JSON.stringify(source.content) : undefined;
      source.beforeRead = ({ path }) => {
        if (fault === "abort" && left-- === 0) stop.abort(new Error("fault"));
        if (fault === "room" && left-- === 0) throw new NoRoomError("fault");
        if (fault === "read" && path.length % 2 === 0) throw new SourceError("invalid", "fault");
      };
      source.beforeList = () => {
        if (fault === "list") throw new SourceError("invalid", "fault");
      };
    }
    const next = expected(sources, set);
    const before = look();
    const factsBefore = existsSync(root) ? facts(root) : new Map<string, string>();
    const hook = fault === "hook" && publish === "swap";
    const prePublish = hook ? () => Promise.reject(new Error("fault")) : undefined;
    let result;
    try {
      result = await work({ ...options(), prePublish, signal: stop.signal });
    } catch (error) {
      assert.deepEqual(look(), before);
      if (next === undefined && fault === "none")
        assert.equal((error as Error).name, "RefusedError");
      else if (!(error as Error).message.includes("fault") && next !== undefined) throw error;
      return;
    }
    const key = next === undefined ? undefined : JSON.stringify(Object.entries(next).toSorted());
    const isHeld = held !== undefined && key === held;
    if (!isHeld) {
      assert.ok(next !== undefined);
      const published = result.result === "published";
      if (stable)
        for (const [path, { key: content, mode }] of Object.entries(next as Tree))
          // Links are recreated from tree to tree.
          if (mode !== undefined && shown?.[path] !== undefined && shown[path].key === content)
            assert.equal(facts(root).get(path), factsBefore.get(path), `${path} was not changed`);
      shown = next as Tree;
      if (published) held = undefined;
      stable = true;
    }
    if (publish === "swap" && result.result === "published") {
      trees.set(history(target)[0]?.path as string, shown as Tree);
      spoilt.delete(history(target)[0]?.path as string);
    }
    await check();
  }

  const candidatePath = () =>
    readdirSync(target).includes(".pannier")
      ? readdirSync(join(target, ".pannier"))
          .filter((name) => name.startsWith("candidate-"))
          .map((name) => join(target, ".pannier", name))[0]
      : undefined;

  function lose(loss: string, pick: number): void {
    const candidate = candidatePath();
    if (loss === "restart" && existsSync(join(target, ".pannier/state.db"))) {
      const db = new DatabaseSync(join(target, ".pannier/state.db"));
      db.exec("UPDATE meta SET value = 'another' WHERE key = 'boot'");
      db.close();
    } else if (candidate === undefined) return;
    else if (loss === "candidate") rmSync(candidate, { recursive: true });
    else if (loss === "part of the candidate") tamper(candidate, "delete", pick, true);
  }

  try {
    for (const step of ops) {
      if (step.op === "edit") {
        const { [step.path]: _, ...rest } = sources[step.layer].content;
        const entry = step.value;
        if (entry !== null)
          rest[step.path] =
            "link" in entry
              ? entry
              : { text: entry.text, mode: entry.mode, fingerprint: entry.text + entry.touch };
        sources[step.layer].content = rest;
      } else if (step.op === "set") set = step;
      else if (step.op === "sync") await trySync(sync, step.fault);
      else if (step.op === "cut") {
        await trySync(sync, step.how, step.reads);
        lose(step.loss, step.pick);
      } else if (step.op === "plan") {
        const before = look();
        await plan(options()).catch(() => {});
        assert.deepEqual(look(), before);
      } else if (step.op === "rollback") {
        if (publish === "mirror" || shown === undefined) continue;
        const latest = history(target)[0];
        const older = history(target)
          .slice(1)
          .filter(({ path }) => path !== undefined);
        const to = older[step.to];
        if (to?.path === undefined || !existsSync(to.path) || spoilt.has(to.path)) continue;
        await rollback(target, to.path.split("/").at(-1));
        held ??= JSON.stringify(
          Object.entries(trees.get(latest?.path as string) as Tree).toSorted(),
        );
        shown = trees.get(to.path) as Tree;
        if (JSON.stringify(Object.entries(shown).toSorted()) === held) held = undefined;
        assert.deepEqual(look(), shownOf(shown));
        await check();
      } else if (step.op === "tamper") {
        const at = step.where === "published" ? root : candidatePath();
        if (at === undefined || !existsSync(at) || shown === undefined) continue;
        // Nobody looks at the directories of what is published.
        if (step.where === "published" && step.how === "directory mode") continue;
        tamper(at, step.how, step.pick, publish === "swap");
        if (step.where === "candidate") continue;
        stable = false;
        spoilt.add(history(target)[0]?.path as string);
        await trySync(repair, "none");
        // Where the sources cannot be published, nothing was repaired.
        if ((await verify(target)).changed + (await verify(target)).missing > 0) return;
        if ((await verify(target)).extra > 0) return;
      } else {
        const path = join(target, ".pannier", step.what);
        if (shown === undefined) continue;
        if (step.what === "current") {
          if (publish === "mirror") continue;
          unlinkSync(root);
        } else if (step.what === "candidate") {
          lose("candidate", 0);
          continue;
        } else if (publish === "mirror") continue;
        else rmSync(path, { recursive: true });
        if (step.what === "state.db") {
          held = undefined;
          trees.clear();
        }
        if (step.what === "generations") trees.clear();
        stable = false;
        const next = expected(sources, set);
        if (next === undefined || (held !== undefined && step.what === "generations")) return;
        await trySync(sync, "none");
      }
    }
  } finally {
    rmSync(target, { recursive: true, force: true });
  }
}

/** Content never in place: trees share files. */
function tamper(root: string, how: string, pick: number, add: boolean): void {
  const files = Object.keys(readTree(root)).filter((path) => !path.endsWith("/"));
  const path = files[pick % Math.max(1, files.length)];
  if (how === "add") {
    if (add) writeFileSync(join(root, `added-${pick}`), "added");
    return;
  }
  if (path === undefined) return;
  const place = join(root, path);
  if (how !== "delete" && !add) return;
  if (how === "directory mode") {
    if (dirname(path) !== ".") chmodSync(join(root, dirname(path)), 0o700);
    return;
  }
  if (how === "mode") {
    if (lstatSync(place).isFile()) chmodSync(place, 0o600);
    return;
  }
  unlinkSync(place);
  if (how === "replace") writeFileSync(place, "replaced");
  if (how === "directory") mkdirSync(place);
  if (how === "link") symlinkSync("/etc/hosts", place);
}

describe("any history of a mount", () => {
  it.each(["swap", "mirror"] as const)("%s", { timeout: 20_000 * RUNS }, async (publish) => {
    const histories = fc.array(op, { minLength: 10, maxLength: 30 });
    const holds = fc.assert(
      fc.asyncProperty(histories, (ops) => play(publish, ops)),
      { numRuns: RUNS },
    );
    await expect(holds).resolves.toBeUndefined();
  });
});
