/** How the git program is run. Loaded by lanes, too: it imports nothing. */

/**
 * Nothing that git does may need memory by the size of a file: what is larger than the threshold it streams, and makes no
 * deltas of. The rest bounds what it keeps beside: bases of deltas, windows of packs, threads. As arguments, for
 * variables that do this are younger than the oldest git that serves.
 */
export const GIT_LIMITS: readonly string[] = [
  "core.bigFileThreshold=8m",
  "core.deltaBaseCacheLimit=16m",
  "core.packedGitWindowSize=16m",
  "core.packedGitLimit=64m",
  "pack.threads=1",
  "pack.windowMemory=16m",
].flatMap((setting) => ["-c", setting]);

/** What goes before the words of every command. */
export const GIT_SETTINGS: readonly string[] = [
  "-c",
  "core.hooksPath=/dev/null",
  "-c",
  "gc.auto=0",
  ...GIT_LIMITS,
];

/**
 * What git may ask for in one piece (in bytes), so that a server cannot make it ask for everything. A large file that comes
 * whole is streamed; it is one that comes as a delta that has to be in memory, with its base. What large servers
 * take in is below this.
 */
const MOST_AT_ONCE = 101 * 1024 * 1024;

/**
 * The environment of every git process: nothing of the user's or the system's configuration, no network, no prompt, no hooks,
 * no objects from elsewhere.
 */
export function gitEnvironment(gitDir: string | undefined): NodeJS.ProcessEnv {
  return {
    PATH: process.env["PATH"],
    LC_ALL: "C",
    // Where no home is, there is no ~/.gitconfig, also for a git too old to know GIT_CONFIG_GLOBAL.
    HOME: "/dev/null",
    XDG_CONFIG_HOME: "/dev/null",
    GIT_DIR: gitDir,
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_ATTR_NOSYSTEM: "1",
    GIT_NO_REPLACE_OBJECTS: "1",
    GIT_NO_LAZY_FETCH: "1",
    GIT_TERMINAL_PROMPT: "0",
    GIT_ALLOW_PROTOCOL: "none",
    GIT_ALLOC_LIMIT: String(MOST_AT_ONCE),
  };
}

/** What is asked of an object. */
export type Question = "contents" | "info";

/**
 * Of a `cat-file` that answers until its input ends. Without `--batch-command` it wakes us for each answer: twice the system calls for
 * small blobs. https://git-scm.com/docs/git-cat-file#_batch_output
 */
export function catFileArguments(question: Question, batchCommand: boolean): readonly string[] {
  const mode = question === "contents" ? "--batch" : "--batch-check";
  return ["cat-file", ...(batchCommand ? ["--batch-command", "--buffer"] : [mode])];
}

/** @param oids object ids and nothing else: each is a line of commands */
export function catFileQuestions(
  question: Question,
  batchCommand: boolean,
  oids: readonly string[],
): string {
  return batchCommand
    ? `${oids.map((oid) => `${question} ${oid}\n`).join("")}flush\n`
    : oids.map((oid) => `${oid}\n`).join("");
}
