/** Part of `npm run docs:pictures`: draws docs/images/terminal.svg, from what the program says to the commands below. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { COMPILE_CACHE, FROM_SOURCES } from "../../test/support/from-sources.ts";
import { ROOT } from "../repository.ts";
import { record, type Recording, toSvg } from "./record-terminal.ts";

export const FILE = join(ROOT, "docs/images/terminal.svg");

const TITLE =
  "A terminal: Pannier syncs a git repository, shows in advance what the next commit changes, publishes it, and rolls it back.";

const COMMANDS = [
  'pannier sync "git+file://$PWD/work" ./site',
  "echo '<h1>Changed</h1>' > work/index.html && git -C work commit -qam 'Change the title'",
  'pannier plan "git+file://$PWD/work" ./site',
  'pannier sync "git+file://$PWD/work" ./site',
  "readlink site/current",
  "pannier rollback ./site",
  "cat site/current/index.html",
];

export async function recordTour(): Promise<Recording> {
  const folder = mkdtempSync(join(tmpdir(), "pannier-terminal-"));
  try {
    const bin = join(folder, "bin");
    mkdirSync(bin);
    const node = [process.execPath, ...FROM_SOURCES, join(ROOT, "packages/cli/src/bin.ts")];
    writeFileSync(join(bin, "pannier"), `#!/bin/sh\nexec ${node.map(quote).join(" ")} "$@"\n`);
    chmodSync(join(bin, "pannier"), 0o755);
    // The same commits each time.
    const date = "2026-01-01T12:00:00Z";
    const who = { NAME: "You", EMAIL: "you@example.com", DATE: date };
    const env = {
      ...COMPILE_CACHE,
      ...Object.fromEntries(
        ["AUTHOR", "COMMITTER"].flatMap((role) =>
          Object.entries(who).map(([key, value]) => [`GIT_${role}_${key}`, value]),
        ),
      ),
      PATH: `${bin}:${process.env["PATH"]}`,
      HOME: folder,
      LANG: "C.UTF-8",
      TERM: "xterm-256color",
    };
    const git = (...words: string[]) => execFileSync("git", words, { cwd: folder, env });
    git("init", "--quiet", "--initial-branch=main", "work");
    writeFileSync(join(folder, "work/index.html"), "<h1>Hello</h1>\n");
    writeFileSync(join(folder, "work/style.css"), "body { color: navy }\n");
    git("-C", "work", "add", ".");
    git("-C", "work", "commit", "--quiet", "-m", "First page");
    return await record(COMMANDS, { cwd: folder, env });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

if (import.meta.main) writeFileSync(FILE, toSvg(await recordTour(), TITLE));
