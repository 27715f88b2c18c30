/** A process that is killed between two calls that make a directory leaves none of which a later sync believes that it is whole. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { COMPILE_CACHE, FROM_SOURCES } from "../../../test/support/from-sources.ts";
import { sync } from "../src/index.ts";
import type { HalfMadeOrder } from "./half-made-child.ts";
import { memorySource } from "./memory-source.ts";

const CHILD = join(import.meta.dirname, "half-made-child.ts");
const IS_ROOT = process.getuid?.() === 0;

/** @returns false where it came to its end before */
function dies(order: HalfMadeOrder): boolean {
  const { signal, status, stderr } = spawnSync(
    process.execPath,
    [...FROM_SOURCES, CHILD, JSON.stringify(order)],
    { encoding: "utf8", env: { PATH: process.env["PATH"], ...COMPILE_CACHE } },
  );
  assert.ok(signal === "SIGKILL" || status === 0, stderr);
  return signal === "SIGKILL";
}

/** Every directory of a tree with its mode and owner. */
function directories(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  const entries = readdirSync(root, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isDirectory() || path.startsWith(join(root, ".pannier"))) continue;
    const { mode, uid } = lstatSync(path);
    found[path.slice(root.length + 1)] = `${(mode & 0o7777).toString(8)} of ${uid}`;
  }
  return found;
}

it.runIf(IS_ROOT)("gives directories that are there another mode and owner", async () => {
  for (const publish of ["swap", "mirror"] as const) {
    const target = mkdtempSync(join(tmpdir(), "pannier-half-made-"));
    onTestFinished(() => rmSync(target, { recursive: true, force: true }));
    const source = memorySource({ "d/e/f": "1", "g/h": "2" });
    await sync({ sources: [source], target, publish });
    const root = () => (publish === "swap" ? realpathSync(join(target, "current")) : target);
    if (publish === "mirror") {
      mkdirSync(join(target, "d/others"), { mode: 0o700 });
      mkdirSync(join(target, "others"), { mode: 0o700 });
    }
    const others = publish === "mirror" ? { others: "700 of 0", "d/others": "700 of 0" } : {};
    await sync({ sources: [source], target, publish, dirMode: 0o750 });
    expect(directories(root())).toEqual({
      d: "750 of 0",
      "d/e": "750 of 0",
      g: "750 of 0",
      ...others,
    });
    const owner = { uid: 1234, gid: 1234 };
    await sync({ sources: [source], target, publish, dirMode: 0o550, owner });
    expect(directories(root())).toEqual({
      d: "550 of 1234",
      "d/e": "550 of 1234",
      g: "550 of 1234",
      ...others,
    });
  }
});

describe.each(["swap", "mirror"] as const)("a half made directory, --publish %s", (publish) => {
  it.each([
    ["mkdirSync", 0o755],
    ["fchmodSync", 0o750],
    ["chmodSync", 0o755],
    ["renameSync", 0o555],
    ...(IS_ROOT
      ? ([
          ["fchownSync", 0o755],
          ["chownSync", 0o755],
        ] as const)
      : []),
  ] as const)("at any %s", { timeout: 300_000 }, async (call, dirMode) => {
    const owner = IS_ROOT ? { uid: 1234, gid: 1234 } : undefined;
    let kills = 0;
    for (let at = 1; ; at++) {
      const target = mkdtempSync(join(tmpdir(), "pannier-half-made-"));
      onTestFinished(() => rmSync(target, { recursive: true, force: true }));
      chmodSync(target, 0o755);
      const order = { target, publish, dirMode, owner, call, at };
      if (!dies(order)) break;
      kills++;
      const content = { "d/e/f": "1", "d/g": "2", "h/i": { link: "j" } };
      const options = { sources: [memorySource(content)], target, publish, dirMode, owner };
      await sync(options);
      const whole = `${dirMode.toString(8)} of ${IS_ROOT ? 1234 : process.getuid?.()}`;
      const root = publish === "swap" ? realpathSync(join(target, "current")) : target;
      const found = directories(root);
      expect(found, `${call} ${at}`).toEqual({ d: whole, "d/e": whole, h: whole });
      for (const ours of [".pannier", ".pannier/generations"])
        expect(lstatSync(join(target, ours)).mode & 0o777, `${ours}, ${call} ${at}`).toBe(0o755);
      const { mode, uid } = lstatSync(root);
      // The root of a mirror is its user's.
      const isWhole = publish === "mirror" || `${(mode & 0o777).toString(8)} of ${uid}` === whole;
      expect(isWhole, `${call} ${at}`).toBe(true);
    }
    expect(kills > 0 || (publish === "mirror" && call === "chownSync")).toBe(true);
  });
});
