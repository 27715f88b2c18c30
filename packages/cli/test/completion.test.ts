/** Completion as the shells do it, and the manual page as man reads it; what is not installed here is with the real servers. */
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { completionScript } from "../src/completion.ts";
import { manualPage } from "../src/manual.ts";
import { COMMANDS } from "../src/command-table.ts";
import { run } from "./run.ts";

/** What bash offers for the last of the words. */
function offered(...words: string[]): string[] {
  const script = `${completionScript("bash")}
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pannier; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync("bash", ["-c", script, "bash", "pannier", ...words], {
    encoding: "utf8",
    cwd: import.meta.dirname,
  });
  expect(stderr).toBe("");
  return stdout.trimEnd().split("\n");
}

test("bash completes commands, their flags, values and files", () => {
  expect(offered("")).toEqual([...COMMANDS.map(({ name }) => name), "help"]);
  expect(offered("s")).toEqual(["sync", "schema", "status"]);
  expect(offered("help", "doc")).toEqual(["doctor"]);
  expect(offered("sync", "--pub")).toEqual(["--publish"]);
  expect(offered("sync", "--publish", "")).toEqual(["swap", "mirror"]);
  expect(offered("ls", "--pub")).toEqual([""]);
  expect(offered("completion", "f")).toEqual(["fish"]);
  expect(offered("sync", "shelf-")).toEqual(["shelf-adapter.ts"]);
  expect(offered("run", "--config", "shelf-")).toEqual(["shelf-adapter.ts"]);
});

test("completion names the shells it knows", async () => {
  expect((await run(["completion", "zsh"])).stdout).toBe(completionScript("zsh"));
  for (const [args, told] of [
    [[], "no shell is named. Name one of bash, zsh, fish"],
    [["bsh"], 'there is no completion for "bsh". Did you mean bash?'],
  ] as const) {
    const { code, stderr } = await run(["completion", ...args]);
    expect([code, stderr]).toEqual([2, `pannier: error: ${told}\n`]);
  }
});

test("the manual page has each command, and nothing that man takes for a request", () => {
  const page = manualPage("1.2.3");
  for (const { name } of COMMANDS) expect(page).toContain(`\n.SS pannier ${name}`);
  const requests = page.match(/^[.'].*$/gm)?.map((line) => line.split(" ")[0]);
  expect([...new Set(requests)].toSorted()).toEqual(
    [".B", ".I", ".PP", ".SH", ".SS", ".TH", ".TP", ".fi", ".nf"].toSorted(),
  );
});
