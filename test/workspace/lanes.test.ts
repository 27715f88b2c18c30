/** A lane's thread starts quickly and says nothing: it loads no engine, and no SQLite, of which older Nodes warn. */
import { globSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../docs/pages.ts";

const IMPORT = /^(?:import|export) (?!type )(?:[^"';]* from )?"([^"]+)";/gm;

/** What a module has loaded once it runs, itself included: ours by their paths, all else by name. */
function loadedBy(entry: string): readonly string[] {
  const ours = new Set([join(ROOT, entry)]);
  const others = new Set<string>();
  // A set gives out what is added on the way, too.
  for (const file of ours) {
    const { resolve } = createRequire(file);
    for (const [, name = ""] of readFileSync(file, "utf8").matchAll(IMPORT)) {
      if (/^(?:\.|@pannier\/)/.test(name)) ours.add(resolve(name));
      else others.add(name);
    }
  }
  return [...Array.from(ours, (file) => relative(ROOT, file)), ...others];
}

const CORE = "packages/core/src";
const TOO_MUCH = [
  `${CORE}/adapter.ts`,
  `${CORE}/index.ts`,
  `${CORE}/state/sqlite.ts`,
  "node:sqlite",
];
const LANES = globSync("packages/*/src/{*-lane,lane/lane-worker}.ts", { cwd: ROOT }).toSorted();

test.each(LANES)("%s loads neither the engine nor SQLite", (lane) => {
  const loaded = loadedBy(lane);
  expect(TOO_MUCH.filter((name) => loaded.includes(name))).toEqual([]);
});

test("what loads them is seen", () => {
  expect(LANES.length).toBeGreaterThan(10);
  expect(loadedBy("packages/adapter-sftp/src/adapter.ts")).toEqual(
    expect.arrayContaining([`${CORE}/adapter.ts`, `${CORE}/state/sqlite.ts`, "node:net"]),
  );
});
