/** Permissions that somebody took away: the tree is right again, or the error is told and the tree is right once they are back. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, lstatSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { FROM_SOURCES } from "../../../test/support/from-sources.ts";
import { plan, repair, sync, verify } from "../src/index.ts";
import { memorySource } from "./memory-source.ts";
import { readTree } from "./trees.ts";

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), "pannier-no-permission-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

describe.skipIf(process.getuid?.() !== 0)(
  "a user to whom permissions mean something",
  { meta: { skipReason: "becoming another user takes root" } },
  () => {
    it("mends what is ours alone, and tells the rest", { timeout: 120_000 }, () => {
      const base = directory();
      chmodSync(base, 0o777);
      const child = spawnSync(
        process.execPath,
        [...FROM_SOURCES, join(import.meta.dirname, "no-permission-child.ts"), base],
        { encoding: "utf8", timeout: 100_000 },
      );
      assert.equal(child.stderr, "");
      expect(JSON.parse(child.stdout)).toEqual({
        "target, sync": "told",
        "target, follow": "told",
        "home, sync": "right",
        "home, follow": "right",
        "generations, sync": "right",
        "generations, follow": "told",
        "tree, sync": "right",
        "tree, follow": "right",
        "directory, sync": "right",
        "directory, follow": "right",
        "candidate, sync": "right",
        "candidate, follow": "right",
        "directory of the candidate, sync": "right",
        "directory of the candidate, follow": "right",
        "state, sync": "told",
        "state, follow": "right",
        "lock, sync": "told",
        "lock, follow": "right",
      });
    });
  },
);

const source = memorySource({ "d/e/f": "1", g: "2" });

it("gives a published tree that readers cannot enter its mode back, though the source is unchanged", async () => {
  const target = directory();
  source.token = "1";
  await sync({ sources: [source], target });
  const tree = realpathSync(join(target, "current"));
  for (const place of [tree, join(target, ".pannier"), join(target, ".pannier/generations")]) {
    chmodSync(place, 0o700);
    const said: string[] = [];
    const { result } = await sync({
      sources: [source],
      target,
      onEvent: (event) => void (event.type === "healed" && said.push(event.message)),
    });
    expect(result).toBe("unchanged");
    expect(lstatSync(place).mode & 0o777, place).toBe(0o755);
    expect(said).toEqual(
      place === tree ? ["the permissions of the published tree were not as published"] : [],
    );
  }
});

it("counts a directory that readers cannot enter as changed, and repairs it", async () => {
  const target = directory();
  await sync({ sources: [source], target });
  chmodSync(join(target, "current/d/e"), 0o700);
  const faults: string[] = [];
  await verify(target, (fault, path) => faults.push(`${fault} ${path}`));
  expect(faults).toEqual(["changed d/e"]);
  expect((await repair({ sources: [source], target })).result).toBe("published");
  expect(await verify(target)).toEqual({ checked: 2, changed: 0, missing: 0, extra: 0 });
  expect(lstatSync(join(target, "current/d/e")).mode & 0o777).toBe(0o755);
  expect(readTree(join(target, "current"))).toEqual(source.content);
  // A dry run looks, and leaves what it finds.
  chmodSync(realpathSync(join(target, "current")), 0o700);
  await plan({ sources: [source], target });
  expect(lstatSync(realpathSync(join(target, "current"))).mode & 0o777).toBe(0o700);
});
