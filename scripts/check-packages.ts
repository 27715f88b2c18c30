/**
 * Whether what would be published is right: publint and Are the types wrong? (its library: one process for all packages,
 * not one each), and what neither of them looks at. Needs `npm run build`.
 */
import { globSync } from "node:fs";
import { checkPackage, Package, type Problem } from "@arethetypeswrong/core";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { type Files, packedFiles } from "./packed-files.ts";
import { type Manifest, readManifest, repositoryPage, ROOT } from "./repository.ts";

const directories = globSync("packages/*/package.json", { cwd: ROOT })
  .map((file) => file.slice(0, -"/package.json".length))
  .filter((directory) => readManifest(directory).private !== true)
  .toSorted();

let count = 0;
for (const directory of directories) {
  const manifest = readManifest(directory);
  const files = packedFiles(directory, manifest);
  const problems = [
    ...ownProblems(directory, manifest, files),
    ...(await publintProblems(files)),
    // A program alone has nothing to import.
    ...(manifest.exports === undefined ? [] : await typeProblems(manifest, files)),
  ];
  count += problems.length;
  for (const problem of problems) process.stderr.write(`${manifest.name}: ${problem}\n`);
}
process.stdout.write(`${directories.length} packages, ${count} problems\n`);
process.exitCode = count > 0 ? 1 : 0;

function* ownProblems(
  directory: string,
  { version, homepage, keywords = [], repository, license, description, scripts = {} }: Manifest,
  files: Files,
): Generator<string> {
  const page = repositoryPage();
  const expected = {
    version: readManifest("packages/core").version,
    homepage: `${page}/tree/main/${directory}#readme`,
    repository: { type: "git", url: `git+${page}.git`, directory },
    license: "Apache-2.0",
  };
  for (const [name, value] of Object.entries({ version, homepage, repository, license })) {
    const should = JSON.stringify(expected[name as keyof typeof expected]);
    if (JSON.stringify(value) !== should) yield `package.json: "${name}" has to be ${should}`;
  }
  for (const name of ["build", "prepack", "postpack"]) {
    const should = readManifest("packages/core").scripts?.[name];
    if (scripts[name] !== should) yield `package.json: the script "${name}" has to be "${should}"`;
  }
  if (description === undefined) yield `package.json: "description" is missing`;
  if (!keywords.includes("pannier")) yield `package.json: "keywords" has to have "pannier"`;

  const readme = String(files.get("README.md"));
  for (const [, link = ""] of readme.matchAll(/\]\(([^)\s#]+)/g)) {
    const [here, there] = link.split(`${page}/blob/v${version}/`);
    const missing =
      there === undefined
        ? !/^[a-z]+:/.test(link) && !files.has(link)
        : globSync(there, { cwd: ROOT }).length === 0;
    if (missing) yield `README.md: nothing is at ${there ?? here}`;
  }
}

async function publintProblems(files: Files): Promise<string[]> {
  const pack = Array.from(files, ([name, data]) => ({ name: `package/${name}`, data }));
  const { messages, pkg } = await publint({
    pkgDir: "package",
    pack: { files: pack },
    strict: true,
  });
  return messages.map((message) => formatMessage(message, pkg, { color: false }) ?? message.code);
}

async function typeProblems({ name, version }: Manifest, files: Files): Promise<string[]> {
  const inside = Object.fromEntries(
    Array.from(files, ([file, data]) => [`/node_modules/${name}/${file}`, data]),
  );
  const result = await checkPackage(new Package(inside, name, version));
  if (result.types === false) return ["has no types"];
  return result.problems
    .filter((problem) => !isOld(problem))
    .map((problem) => JSON.stringify(problem));
}

/** The packages are ES modules: TypeScript's ways of before 2022 need not find them, nor CommonJS import their types. */
function isOld(problem: Problem): boolean {
  return "resolutionKind" in problem && ["node10", "node16-cjs"].includes(problem.resolutionKind);
}
