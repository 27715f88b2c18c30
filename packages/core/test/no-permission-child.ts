/**
 * Takes all permissions from something in a target, before a sync and under a `follow`, as a user to whom that means something. Argument: a
 * directory of that user's. Prints what came of each, as JSON.
 */
import assert from "node:assert/strict";
import { chmodSync, existsSync, globSync, lstatSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { follow, history, plan, status, sync, verify } from "../src/index.ts";
import { memorySource } from "./memory-source.ts";
import { readTree } from "./trees.ts";

const [base] = process.argv.slice(2) as [string];
process.setgroups?.([]);
process.setgid?.(65_534);
process.setuid?.(65_534);
process.umask(0o077);

const PLACES = {
  target: "",
  home: ".pannier",
  generations: ".pannier/generations",
  tree: ".pannier/generations/*",
  directory: ".pannier/generations/*/d",
  candidate: ".pannier/candidate-*",
  "directory of the candidate": ".pannier/candidate-*/d",
  state: ".pannier/state.db",
  lock: ".pannier/lock",
};

const outcomes: Record<string, string> = {};
for (const [name, glob] of Object.entries(PLACES)) {
  for (const how of ["sync", "follow"] as const) {
    const target = join(base, `${name}-${how}`);
    mkdirSync(target, { mode: 0o755 });
    outcomes[`${name}, ${how}`] = await (how === "sync" ? afterSync : inFollow)(target, glob);
  }
}
console.log(JSON.stringify(outcomes));

/** Permissions are taken from all that matches; what gives them back. */
function take(target: string, glob: string): () => void {
  const places =
    glob === "" ? [target] : globSync(glob, { cwd: target }).map((path) => join(target, path));
  assert.notEqual(places.length, 0, glob);
  const modes = places.map((place) => lstatSync(place).mode & 0o7777);
  for (const place of places) chmodSync(place, 0);
  return () => {
    for (const [index, place] of places.entries())
      if (existsSync(place)) chmodSync(place, modes[index] as number);
  };
}

async function afterSync(target: string, glob: string): Promise<string> {
  const source = memorySource({ "d/e/f": "1", g: "1" });
  const options = { sources: [source], target, maxDelete: "100%", keep: 1 };
  await sync(options);
  source.content = { "d/e/f": "2", g: "1" };
  await sync(options);
  const giveBack = take(target, glob);
  source.content = { "d/e/f": "2", g: "1", h: "3" };
  // Who only looks is told as well, and not that there is nothing.
  const looks = [
    () => status(target),
    () => history(target),
    () => verify(target),
    () => plan(options),
  ];
  for (const look of looks) {
    try {
      assert.notEqual(await look(), undefined);
    } catch (error) {
      assert.ok(["TargetError", "RefusedError"].includes((error as Error).name), String(error));
    }
  }
  let outcome: string;
  try {
    await sync(options);
    outcome = "right";
  } catch (error) {
    assert.equal((error as Error).name, "TargetError", String(error));
    outcome = "told";
    giveBack();
    await sync(options);
  }
  await check(target, source.content, giveBack);
  return outcome;
}

async function inFollow(target: string, glob: string): Promise<string> {
  const source = memorySource({ "d/e/f": "1", g: "1" });
  const options = { sources: [source], target, maxDelete: "100%", keep: 1, period: 20, scrub: 0 };
  let done = 0;
  let giveBack: (() => void) | undefined;
  let outcome = "right";
  for await (const event of follow(options)) {
    if (event.type === "failed") {
      assert.equal(event.error.name, "TargetError", String(event.error));
      outcome = "told";
      giveBack?.();
    }
    if (event.type !== "done") continue;
    done++;
    if (done === 1) source.content = { "d/e/f": "2", g: "1" };
    else if (giveBack === undefined) {
      if (event.result.result !== "published") continue;
      giveBack = take(target, glob);
      source.content = { "d/e/f": "2", g: "1", h: "3" };
    } else if (event.result.result === "published") break;
  }
  await check(target, source.content, giveBack);
  return outcome;
}

async function check(target: string, content: object, giveBack = () => {}): Promise<void> {
  assert.deepEqual(readTree(join(target, "current")), content);
  for (const place of [".pannier", ".pannier/generations", "current", "current/d", "current/d/e"])
    assert.equal(statSync(join(target, place)).mode & 0o777, 0o755, place);
  // What no reader needs may still be as it was left.
  giveBack();
  assert.deepEqual(await verify(target), { checked: 3, changed: 0, missing: 0, extra: 0 });
}
