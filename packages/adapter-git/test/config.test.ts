import { spawnSync } from "node:child_process";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { gitVersion } from "../../../test/support/git-server.ts";
import { readConfig } from "../src/config.ts";
import { parseGitmodules } from "../src/submodules.ts";

/** As `git config --list -z` prints it: `section.subsection.key\nvalue`; `undefined` where it cannot be read. */
function read(text: string): string[] | undefined {
  try {
    return Array.from(readConfig(text), ({ section, subsection, key, value }) => {
      const name = [section, subsection, key].filter((part) => part !== undefined && part !== "");
      return `${name.join(".")}=${value}`;
    });
  } catch {
    return undefined;
  }
}

function readByGit(text: string): string[] | undefined {
  const args = ["config", "--no-includes", "-f", "-", "-z", "--list"];
  const { status, stdout } = spawnSync("git", args, { input: text, encoding: "utf8", cwd: "/" });
  if (status !== 0) return undefined;
  return stdout
    .split("\0")
    .slice(0, -1)
    .map((line) => {
      const end = line.indexOf("\n");
      return end === -1 ? `${line}=` : `${line.slice(0, end)}=${line.slice(end + 1)}`;
    });
}

const TEXTS = [
  "",
  "[a]\nb = c",
  '[submodule "x"] path = lib ; comment\n\turl="../a b" # more\n',
  '[Submodule "X y\\"z\\\\"]\r\n\tPath = lib\r\n',
  "[submodule.Lib]\n\tpath = a\\\n b\n\tshallow\n",
  '[a "b"]\nc = " x "y" z "  \n',
  '[a "b"]\nc = a  b\t ; d\n',
  '[a]\nb = \\n\\t\\\\\\"',
  "\ufeff[a]\nb=1",
  "[a]\nb ; c\n",
  "[a]b=1\n[c]\n",
  "[a]\nb = 1 [c]\n",
  // None of git's.
  "[a\nb = 1",
  '[a "b]\nc=1',
  "[a]\n1b = 2",
  '[a]\nb = "open\n',
  "[a]\nb = \\x",
  "[a] ]",
  "[a]\nb c = 1",
];

test.skipIf(gitVersion === undefined).each(TEXTS)("is read as git reads it: %j", (text) => {
  expect(read(text)).toEqual(readByGit(text));
});

const RUNS = Number(process.env["PANNIER_TEST_CONFIG_RUNS"] ?? 150);
const PIECES = [
  ['[submodule "a"]', "[b]", "[c.D]", "[", "]", '"', "\\", "\n", "\n", " ", "=", "#", ";"],
  ["path", "Url", " = ", "x", "./y", '"z"', "\\\\", '\\"', "\\n", "\r\n", ".", "-", "1"],
].flat();

test.skipIf(gitVersion === undefined)("anything is read as git reads it", () => {
  const piece = fc.constantFrom(...PIECES);
  const text = fc.array(piece, { maxLength: 12 }).map((pieces) => `[a]\n${pieces.join("")}`);
  for (const each of fc.sample(text, { numRuns: RUNS, seed: 7 }))
    expect(read(each), JSON.stringify(each)).toEqual(readByGit(each));
});

test("submodules have paths as git's trees do, one section or several", () => {
  const text = `[submodule "a"]
  path = ./libs//a/
[core]
  path = nowhere
[submodule "b"]
  path = b
  url = first
  update = checkout
[submodule "a"]
  url = ../a.git
  update = none
[submodule "b"]
  url = second`;
  expect(parseGitmodules(text)).toEqual(
    new Map([
      ["libs/a", { url: "../a.git", skipped: true }],
      ["b", { url: "second", skipped: false }],
    ]),
  );
});
