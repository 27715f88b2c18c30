import { execFile } from "node:child_process";
import { gitEnvironment } from "./store/git-settings.ts";

type Version = readonly [major: number, minor: number];

/** `ls-tree`, `index-pack` and `cat-file` do what is asked of them here since 2.20 (2018). */
const OLDEST: Version = [2, 20];

/** `cat-file --batch-command`, which can answer many questions in one go, came with 2.36 (2022). */
const BATCH_COMMAND: Version = [2, 36];

let asked: Promise<Version | undefined> | undefined;

/** Of the git program; `undefined` where it is not installed. Asked once in the life of the process. */
function installed(): Promise<Version | undefined> {
  asked ??= new Promise((resolve) => {
    execFile("git", ["--version"], { env: gitEnvironment(undefined) }, (error, stdout) => {
      const [, major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(stdout) ?? []).map(Number);
      resolve(error === null ? [major, minor] : undefined);
    });
  });
  return asked;
}

function isAtLeast([major, minor]: Version, least: Version): boolean {
  return major > least[0] || (major === least[0] && minor >= least[1]);
}

/** What is wrong with the git program; `undefined` where it serves. */
export async function checkGit(): Promise<string | undefined> {
  const version = await installed();
  if (version === undefined) return "git is not installed";
  return isAtLeast(version, OLDEST)
    ? undefined
    : `git ${version.join(".")} is older than ${OLDEST.join(".")}`;
}

export async function hasBatchCommand(): Promise<boolean> {
  const version = await installed();
  return version !== undefined && isAtLeast(version, BATCH_COMMAND);
}
