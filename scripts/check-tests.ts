/**
 * Turbo keeps the results of a package's tests by the files of it and of what it depends on: nothing else may be of
 * influence. And it runs the script `test` of those that have one. A test lies beside its code, or in `test/` if it needs more.
 */
import { globSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { type Manifest, readManifest, ROOT } from "./repository.ts";

/** Directory → its manifest. */
const packages = new Map<string, Manifest>(
  globSync("{packages,apps,examples}/*/package.json", { cwd: ROOT }).map((file) => [
    dirname(file),
    readManifest(dirname(file)),
  ]),
);

/** Paths that name a file by its place: imports, and what tests join to a module's own. */
const PATH = /(?:from |import\(|import |import\.meta\.dirname, |new URL\()"(\.\.?\/[^"]+)"/g;

/** What a test needs that is more than its code: by what shows in its source. */
const NEEDS: readonly (readonly [what: string, pattern: RegExp])[] = [
  ["starts a process", /"node:(?:child_process|cluster)"/],
  ["starts a server", /\bcreate(?:Http|Secure)?Server\b|\.listen\(/],
  ["uses code of a test/", /from "(?:\.\.\/)+(?:[a-z-]+\/)*test\//],
  ["runs the conformance suite", /\bdescribeAdapter\b/],
];

/** Directories of the package itself and all that it depends on. */
function reach(directory: string, known = new Set<string>()): ReadonlySet<string> {
  if (known.has(directory)) return known;
  known.add(directory);
  const { dependencies, devDependencies } = packages.get(directory) as Manifest;
  const names = Object.keys({ ...dependencies, ...devDependencies });
  for (const [place, { name }] of packages) if (names.includes(name)) reach(place, known);
  return known;
}

function* problemsOf(directory: string, { scripts = {}, exports }: Manifest): Generator<string> {
  if (globSync(`${directory}/{src,test}/**/*.test.ts`, { cwd: ROOT }).length > 0) {
    const should = `vitest run --root ../.. --project unit --maxWorkers=2 ${directory}/`;
    if (scripts["test"] !== should)
      yield `${directory}/package.json: it has tests, so the script "test" has to be "${should}"`;
  }
  // An example is to be read in one place.
  const beside = directory.startsWith("examples/")
    ? []
    : globSync(`${directory}/src/**/*.test.ts`, { cwd: ROOT });
  for (const file of beside) {
    const text = readFileSync(join(ROOT, file), "utf8");
    const need = NEEDS.find(([, pattern]) => pattern.test(text));
    if (need !== undefined) yield `${file}: it ${need[0]}, so it belongs into ${directory}/test`;
  }
  // No result of a test follows from it.
  if (scripts["test"] === undefined && exports === undefined) return;
  const allowed = reach(directory);
  for (const file of globSync(`${directory}/{src,test}/**/*.ts`, { cwd: ROOT })) {
    for (const [, path = ""] of readFileSync(join(ROOT, file), "utf8").matchAll(PATH)) {
      const to = relative(ROOT, join(ROOT, dirname(file), path));
      const home = to.split("/").slice(0, 2).join("/");
      if (!allowed.has(home) && home !== "test/support")
        yield `${file}: "${path}" is neither of this package nor of one that it depends on. Tests of several packages lie in test/workspace or test/program`;
    }
  }
}

/** Vitest gives up after a second, which is nothing on a busy machine. An example shows what its reader has: a time of its own. */
function* hastyWaits(): Generator<string> {
  const HASTY = /\bvi\s*\.wait(?:For|Until)\(/;
  for (const file of globSync("{packages,apps,test}/**/*.ts", {
    cwd: ROOT,
    exclude: ["**/{node_modules,dist}/**", "test/support/eventually.ts"],
  }))
    if (HASTY.test(readFileSync(join(ROOT, file), "utf8")))
      yield `${file}: vi.waitFor gives up after a second: use expect.poll, or eventually of test/support`;
}

const problems = [...[...packages].flatMap((one) => [...problemsOf(...one)]), ...hastyWaits()];
for (const problem of problems) process.stderr.write(`${problem}\n`);
process.exitCode = problems.length > 0 ? 1 : 0;
