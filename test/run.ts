/**
 * `npm test`: the tests of each package that changed since they last passed here, or that depends on one that did (turbo
 * knows), then one report for all. `npm test -- PATH...` runs just the tests of those files, always; `TURBO_FORCE=1` all.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, globSync, readFileSync, rmSync, statSync } from "node:fs";
import { release } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { addUp, report, type Summary, summaryFile } from "./support/counts.ts";

const CHECKOUT = join(import.meta.dirname, "..");
/** Scripts of package.json. Those with a colon are the root's: they try several packages together. */
const TASKS = ["test", "test:program", "test:docs"];

/**
 * What a result depends on besides the files and variables that turbo looks at: the Node, the user, the system, and which
 * programs there are, for the tests that are skipped without one.
 */
function machine(): string {
  const directories = (process.env["PATH"] ?? "")
    .split(delimiter)
    .filter((directory) => !directory.includes("node_modules") && existsSync(directory))
    .map((directory) => [directory, statSync(directory).mtimeMs]);
  const facts = [process.version, process.arch, release(), process.getuid?.(), directories];
  return createHash("sha256").update(JSON.stringify(facts)).digest("hex");
}

function run(program: string, args: readonly string[]): number {
  const env = { ...process.env, PANNIER_TEST_MACHINE: machine() };
  const { status, error } = spawnSync(program, args, { cwd: CHECKOUT, env, stdio: "inherit" });
  if (error !== undefined) throw error;
  return status ?? 1;
}

/** Directory and name of each script that is to leave a summary. */
function* scripts(): Generator<[string, string]> {
  for (const manifest of globSync("{.,packages/*,apps/*,examples/*}/package.json", {
    cwd: CHECKOUT,
  })) {
    const directory = dirname(manifest);
    const { scripts: named = {} } = JSON.parse(readFileSync(join(CHECKOUT, manifest), "utf8")) as {
      scripts?: Record<string, string>;
    };
    for (const task of TASKS)
      if (task in named && (directory !== "." || task.includes(":"))) yield [directory, task];
  }
}

function runAll(): number {
  const expected = [...scripts()].map(([directory, task]) => ({
    what: directory === "." ? task : directory,
    file: summaryFile(join(CHECKOUT, directory), task),
  }));
  for (const { file } of expected) rmSync(file, { force: true });

  const status = run("turbo", [
    "run",
    ...TASKS,
    // Each has two workers of its own.
    "--concurrency=2",
    "--continue=always",
    "--env-mode=loose",
    "--log-order=grouped",
    "--output-logs=new-only",
    "--ui=stream",
  ]);

  const summaries = expected.map(({ what, file }): Summary => {
    if (existsSync(file)) return JSON.parse(readFileSync(file, "utf8")) as Summary;
    const failure = `  ${what}\n    ended without a result: see its output above`;
    return { passed: 0, failed: 1, skipped: 0, skips: [], failures: [failure] };
  });
  const all = addUp(summaries);
  process.stdout.write(`\n${report(all)}`);
  return all.failed > 0 ? 1 : status;
}

const filters = process.argv.slice(2);
process.exitCode =
  filters.length > 0
    ? run("vitest", ["run", "--project", "unit", "--project", "program", ...filters])
    : runAll();
