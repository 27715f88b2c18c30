/** Turbo keeps a package's results by the files of it and of what it depends on: nothing else may be of influence. */
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { ROOT } from "../docs/pages.ts";

interface Manifest {
  readonly name: string;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** Directory → its manifest. */
const packages = new Map(
  globSync("{packages,apps,examples}/*/package.json", { cwd: ROOT }).map((file) => [
    dirname(file),
    JSON.parse(readFileSync(join(ROOT, file), "utf8")) as Manifest,
  ]),
);

/** Directories of the package itself and all that it depends on. */
function reach(directory: string, known = new Set<string>()): ReadonlySet<string> {
  if (known.has(directory)) return known;
  known.add(directory);
  const { dependencies, devDependencies } = packages.get(directory) as Manifest;
  const names = Object.keys({ ...dependencies, ...devDependencies });
  for (const [place, { name }] of packages) if (names.includes(name)) reach(place, known);
  return known;
}

describe.each([...packages.keys()])("%s", (directory) => {
  test("has its tests run by npm test, if it has any", () => {
    const tests = globSync(`${directory}/{src,test}/**/*.test.ts`, { cwd: ROOT });
    expect(packages.get(directory)?.scripts?.["test"]).toBe(
      tests.length === 0
        ? undefined
        : `vitest run --root ../.. --project unit --maxWorkers=2 ${directory}/`,
    );
  });

  test("uses nothing by its path but what it depends on, and what tests share", () => {
    const allowed = reach(directory);
    const strange: string[] = [];
    for (const file of globSync(`${directory}/{src,test}/**/*.ts`, { cwd: ROOT })) {
      const text = readFileSync(join(ROOT, file), "utf8");
      for (const [, path = ""] of text.matchAll(
        /(?:from|import|join\(import\.meta\.dirname,|new URL\()\s*\(?"(\.\.?\/[^"]+)"/g,
      )) {
        const to = relative(ROOT, join(ROOT, dirname(file), path));
        const home = to.split("/").slice(0, 2).join("/");
        if (!allowed.has(home) && home !== "test/support") strange.push(`${file}: ${to}`);
      }
    }
    expect(strange).toEqual([]);
  });
});
