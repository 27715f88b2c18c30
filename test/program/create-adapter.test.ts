/** What `npm create pannier-adapter` makes passes the suite, and can be bundled. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { blocks, page } from "../docs/pages.ts";

const CREATE = new URL("../../packages/create-pannier-adapter/src/create.ts", import.meta.url)
  .pathname;
const MODULES = new URL("../../node_modules", import.meta.url).pathname;
const work = mkdtempSync(join(tmpdir(), "pannier-create-"));
afterAll(() => rmSync(work, { recursive: true }));

const create = (...args: string[]) =>
  spawnSync(process.execPath, [CREATE, ...args], { cwd: work, encoding: "utf8" });

test("the adapter passes the conformance suite", { timeout: 240_000 }, () => {
  expect(create("record-box")).toMatchObject({
    status: 0,
    stderr: "",
    stdout: expect.stringContaining("wrote pannier-adapter-record-box") as string,
  });
  const folder = join(work, "pannier-adapter-record-box");
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  expect(read("adapter.js")).toContain('schemes: ["record-box"]');
  expect(read("README.md")).not.toContain("shelf://");
  const manifest = JSON.parse(read("package.json")) as { scripts: { test: string } };
  expect(manifest.scripts.test).toBe("vitest run");

  symlinkSync(MODULES, join(folder, "node_modules"));
  // The packages are not built here: their sources are used.
  writeFileSync(
    join(folder, "vitest.config.js"),
    'const conditions = ["pannier-source"];\nexport default { resolve: { conditions }, ssr: { resolve: { conditions } }, test: { server: { deps: { inline: [/pannier/] } } } };\n',
  );
  const vitest = [join(MODULES, "vitest/vitest.mjs"), "run", "--reporter=json"];
  const report = join(work, "report.json");
  const { PATH, HOME } = process.env;
  spawnSync(
    process.execPath,
    ["--conditions=pannier-source", ...vitest, `--outputFile=${report}`],
    { cwd: folder, env: { PATH, HOME, NODE_OPTIONS: "--conditions=pannier-source" } },
  );
  const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(report, "utf8")) as Record<
    string,
    number
  >;
  expect(numFailedTests).toBe(0);
  expect(numPassedTests).toBeGreaterThan(45);
});

test("a name that cannot be a scheme, or a folder that is there, is refused", () => {
  expect(create("there").status).toBe(0);
  for (const [args, told] of [
    [[], "npm create pannier-adapter NAME"],
    [["Shelf"], '"Shelf" is not a valid name'],
    [["../x"], '"../x" is not a valid name'],
    [["there"], "pannier-adapter-there cannot be made (EEXIST)"],
  ] as const) {
    const { status, stderr } = create(...args);
    expect([status, stderr]).toEqual([2, expect.stringContaining(told)]);
  }
});

test("its adapter is the one that the page on adapters shows", () => {
  const template = readFileSync(
    new URL("../../packages/create-pannier-adapter/template/adapter.js", import.meta.url),
    "utf8",
  );
  expect([template.trimEnd()]).toEqual(
    blocks(page("docs/writing-an-adapter.md").text, "js shelf").map((code) => code.trimEnd()),
  );
});
