import { execFile } from "node:child_process";
import { gitEnvironment } from "./store/cli.ts";

/** `ls-tree`, `index-pack` and `cat-file` do what is asked of them here since 2.20 (2018). */
const OLDEST = [2, 20] as const;

let checked: Promise<string | undefined> | undefined;

/** What is wrong with the git program; `undefined` where it serves. Asked once in the life of the process. */
export function checkGit(): Promise<string | undefined> {
  checked ??= new Promise((resolve) => {
    execFile("git", ["--version"], { env: gitEnvironment(undefined) }, (error, stdout) => {
      if (error !== null) return resolve("git is not installed");
      const [, major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(stdout) ?? []).map(Number);
      const old = major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1]);
      return resolve(old ? `git ${major}.${minor} is older than ${OLDEST.join(".")}` : undefined);
    });
  });
  return checked;
}
