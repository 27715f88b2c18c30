/** `engine=cli`: the git program, which sees a bare repository of ours and nothing else: no URL, no credential, no configuration but ours. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { NoRoomError, SourceError } from "@pannier/core/adapter";
import { decodeAll, decodeName } from "../names.ts";
import { killGroup, lastWords } from "../remote/process.ts";
import { unknownItems, walkTree } from "../tree.ts";
import {
  CacheDamaged,
  type GitObject,
  isSubmodule,
  type ObjectStore,
  type TreeItem,
} from "./store.ts";

/** A `cat-file` process that was not needed for this long is ended; starting one again takes some 5 ms. */
const IDLE_MS = 30_000;

/** How many `cat-file --batch` processes read blobs side by side. */
const READERS = 2;

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

/**
 * What git may ask for in one piece (in bytes), so that a server cannot make it ask for everything. A large file that comes
 * whole is streamed; it is one that comes as a delta that has to be in memory, with its base. What large servers
 * take in is below this.
 */
const MOST_AT_ONCE = 101 * 1024 * 1024;

/** Trees, commits and targets of links are held here whole, in bytes: as much as a directory of 800,000 files. */
const MOST_HELD = 32 * 1024 * 1024;

/**
 * How long git may work at a pack that came whole: this, and as much again for each MiB (in milliseconds). A few
 * bytes of deltas may ask for days.
 */
const WORK_MS = { least: 60_000, eachMib: 1000 };

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

/** @param batchCommand whether this git has `cat-file --batch-command` */
export function cliStore(gitDir: string, batchCommand: boolean): ObjectStore {
  const env = gitEnvironment(gitDir);
  const readers = Array.from({ length: READERS }, () => catFile(env, "contents", batchCommand));
  const sizer = catFile(env, "info", batchCommand);

  const running = new Set<Git>();

  const start = (args: readonly string[], input: "pipe" | "ignore" = "ignore") => {
    const git = startGit(env, args, input);
    running.add(git);
    void git.ended.finally(() => running.delete(git));
    return git;
  };

  const store: ObjectStore = {
    formats: ["sha1", "sha256"],

    read(oid) {
      const least = readers.reduce((a, b) => (b.waiting() < a.waiting() ? b : a));
      return least.ask(oid).then((answer) => answer?.object);
    },

    async *stream(oid, signal) {
      const git = start(["cat-file", "blob", oid]);
      yield* output(git, signal);
    },

    async sizes(oids) {
      const answers = await Promise.all(oids.map((oid) => sizer.ask(oid)));
      return answers.map((answer) => {
        if (answer === undefined) throw new CacheDamaged("a blob is missing");
        return answer.size;
      });
    },

    async *walk(tree, signal) {
      const git = start(["ls-tree", "-r", "-z", "-l", "--full-tree", tree]);
      let rest: Buffer = Buffer.alloc(0);
      try {
        for await (const chunk of output(git, signal)) {
          const bytes =
            rest.length === 0
              ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
              : Buffer.concat([rest, chunk]);
          const end = bytes.lastIndexOf(0) + 1;
          if (end > 0) yield await withTrueModes(store, tree, parseListing(bytes.subarray(0, end)));
          rest = bytes.subarray(end);
        }
      } catch (error) {
        // git gives up at a tree that has no form: whose fault it is shows where we read it ourselves.
        if (error instanceof CacheDamaged) for await (const _ of walkTree(store, tree));
        throw error;
      }
    },

    async addPack(pack, signal) {
      const git = start(["index-pack", "--stdin", "--fix-thin"], "pipe");
      const stdin = git.child.stdin as Writable;
      stdin.on("error", () => {}); // It ended first, and its own words tell why.
      signal.addEventListener("abort", git.kill, { once: true });
      let size = 0;
      let late = false;
      let clock: NodeJS.Timeout | undefined;
      try {
        for await (const chunk of pack) {
          size += chunk.length;
          if (stdin.destroyed) break;
          if (!stdin.write(chunk)) await Promise.race([drained(stdin), git.ended]);
        }
        stdin.end();
        git.child.stdout.resume();
        const limit = WORK_MS.least + (WORK_MS.eachMib * size) / (1024 * 1024);
        clock = setTimeout(() => {
          late = true;
          git.kill();
        }, limit);
        await git.ended;
        signal.throwIfAborted();
        if (late)
          throw new SourceError("invalid", "the server's pack takes too long to unpack", {
            hint: `git was given ${Math.round(limit / 1000)} s for ${size} bytes`,
          });
        throwIfFailed(git);
      } finally {
        clearTimeout(clock);
        signal.removeEventListener("abort", git.kill);
        git.kill();
      }
    },

    async compact(signal, keepPack) {
      // Deltas are taken over as they came; to look for more takes memory and time.
      const kept = keepPack === undefined ? [] : [`--keep-pack=${keepPack}`];
      const flags = ["-a", "-d", "-q", "-l", "--window=0", "--no-write-bitmap-index"];
      const git = start(["repack", ...flags, ...kept]);
      for await (const _ of output(git, signal)) {
        // It says nothing.
      }
    },

    async close() {
      // Among them may be one whose output nobody reads any more.
      const streams = [...running];
      for (const git of streams) git.kill();
      await Promise.all(streams.map(({ ended }) => ended));
      await Promise.all([...readers, sizer].map((process) => process.close()));
    },
  };
  return store;
}

/** `ls-tree` says "submodule" of every type that it does not know: the trees themselves are asked. */
async function withTrueModes(
  store: ObjectStore,
  root: string,
  items: readonly TreeItem[],
): Promise<readonly TreeItem[]> {
  if (!items.some(({ mode }) => isSubmodule(mode))) return items;
  const told: TreeItem[] = [];
  let known: { directory: string; unknown: ReadonlyMap<string, number> } | undefined;
  for (const item of items) {
    // What has no path is not published, whatever it is.
    if (!isSubmodule(item.mode) || item.failure !== undefined) {
      told.push(item);
      continue;
    }
    const slash = item.path.lastIndexOf("/");
    const directory = item.path.slice(0, Math.max(0, slash));
    if (known?.directory !== directory)
      known = { directory, unknown: await unknownItems(store, root, directory) };
    told.push({ ...item, mode: known.unknown.get(item.path.slice(slash + 1)) ?? item.mode });
  }
  return told;
}

/** Ends also where the stream breaks. */
async function drained(stream: Writable): Promise<void> {
  await once(stream, "drain").catch(() => {});
}

/** `<mode> <type> <oid> <size>\t<path>\0`…: https://git-scm.com/docs/git-ls-tree#_output_format */
function parseListing(bytes: Buffer): TreeItem[] {
  const items: TreeItem[] = [];
  const whole = decodeAll(bytes);
  const text = whole ?? bytes.toString("latin1");
  for (let at = 0; at < text.length;) {
    const tab = text.indexOf("\t", at);
    const end = text.indexOf("\0", tab);
    const [mode = "", , oid = "", size = ""] = text.slice(at, tab).split(/ +/);
    // A blob that is not there is "BAD".
    if (size === "BAD") throw new CacheDamaged("a blob is missing");
    const name = text.slice(tab + 1, end);
    items.push({
      mode: Number.parseInt(mode, 8),
      oid,
      ...(whole === undefined ? decodeName(Buffer.from(name, "latin1")) : { path: name }),
      size: size === "-" ? undefined : Number(size),
    });
    at = end + 1;
  }
  return items;
}

interface Git {
  readonly child: ChildProcessByStdio<Writable | null, Readable, Readable>;
  readonly ended: Promise<void>;
  kill(): void;
  /** What went wrong, once it has ended. */
  failure(): Error | undefined;
}

/** Starts git in a process group of its own, so that what it starts ends with it. */
function startGit(env: NodeJS.ProcessEnv, args: readonly string[], input: "pipe" | "ignore"): Git {
  const settings = ["-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", ...GIT_LIMITS];
  const child = spawn("git", [...settings, ...args], {
    env,
    detached: true,
    stdio: [input, "pipe", "pipe"],
  }) as Git["child"];
  let stderr = "";
  let failure: Error | undefined;
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-4096);
  });
  const ended = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      failure = new SourceError("unsupported", "the git program cannot be started", {
        hint: "install git, or set engine=js",
        cause: error,
      });
      resolve();
    });
    child.once("close", (code, signal) => {
      if (code !== 0) failure ??= gitFailure(stderr, signal);
      resolve();
    });
  });
  return {
    child,
    ended,
    kill: () => {
      if (child.exitCode === null && child.signalCode === null) killGroup(child);
      // Output that nobody reads would keep it from being closed.
      child.stdout.destroy();
    },
    failure: () => failure,
  };
}

function tooLarge(): SourceError {
  return new SourceError(
    "invalid",
    "the repository has an object that is too large to be held in memory",
    {
      hint: "a file that the server sends as a delta may have 100 MiB: serve it with core.bigFileThreshold=50m, or keep it in Git LFS",
    },
  );
}

function gitFailure(stderr: string, signal: NodeJS.Signals | null): Error {
  const words = lastWords(stderr);
  if (/No space left on device|Disk quota exceeded/i.test(stderr))
    return new NoRoomError("no room for the git object cache", {
      hint: "free space on the volume",
    });
  if (/attempting to allocate/.test(stderr)) return tooLarge();
  // Killed from outside, or out of memory: the cache is not to blame.
  if (signal === "SIGKILL" || /[Oo]ut of memory|unable to create thread/.test(stderr))
    return new SourceError("unavailable", `git was ended (${signal ?? words})`, {
      hint: "probably out of memory: raise the limit",
    });
  if (signal !== null) return new SourceError("unavailable", `git was ended (${signal})`);
  if (/Permission denied|Read-only file system/.test(stderr))
    return new SourceError("unavailable", `git cannot use its cache: ${words}`, {
      transient: false,
    });
  return new CacheDamaged(words);
}

function throwIfFailed(git: Git): void {
  const failure = git.failure();
  if (failure !== undefined) throw failure;
}

/** What a git process prints. Fails where the process fails, and ends the process where nobody reads on. */
async function* output(git: Git, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  signal.addEventListener("abort", git.kill, { once: true });
  try {
    signal.throwIfAborted();
    for await (const chunk of git.child.stdout) yield chunk as Uint8Array;
    await git.ended;
    signal.throwIfAborted();
    throwIfFailed(git);
  } catch (error) {
    // Why it was stopped tells more than that its output broke off.
    signal.throwIfAborted();
    throw git.failure() ?? error;
  } finally {
    signal.removeEventListener("abort", git.kill);
    git.kill();
  }
}

interface Answer {
  readonly size: number;
  readonly object: GitObject;
}

interface CatFile {
  waiting(): number;
  ask(oid: string): Promise<Answer | undefined>;
  close(): Promise<void>;
}

/** What is asked of an object. */
type Question = "contents" | "info";

/**
 * A long-lived `git cat-file`: questions are pipelined, answers come in their order. It sees packs that were added
 * after its start. Without `--batch-command` it wakes us for each answer: twice the system calls for small blobs.
 * https://git-scm.com/docs/git-cat-file#_batch_output
 */
function catFile(env: NodeJS.ProcessEnv, question: Question, batchCommand: boolean): CatFile {
  const mode = question === "contents" ? "--batch" : "--batch-check";
  const args = batchCommand ? ["--batch-command", "--buffer"] : [mode];
  const ask = (oids: readonly string[]): string =>
    batchCommand
      ? `${oids.map((oid) => `${question} ${oid}\n`).join("")}flush\n`
      : oids.map((oid) => `${oid}\n`).join("");
  let current: Batch | undefined;
  let idle: NodeJS.Timeout | undefined;

  const run = (): Batch => {
    const batch: Batch = {
      git: startGit(env, ["cat-file", ...args], "pipe"),
      pending: [],
      unsent: [],
    };
    const { git, pending } = batch;
    let wrong: Error | undefined;
    const parser = answerParser(question, (answer) => {
      pending.shift()?.resolve(answer);
      if (pending.length === 0) armIdleTimer();
    });
    git.child.stdin?.on("error", () => {}); // It ended first: the questions are answered below.
    git.child.stdout.on("data", (chunk: Buffer) => {
      try {
        parser(chunk);
      } catch (error) {
        wrong = error as Error;
        git.kill();
      }
    });
    void git.ended.finally(() => {
      if (current === batch) current = undefined;
      const reason = wrong ?? git.failure() ?? new CacheDamaged("git cat-file ended early");
      for (const { reject } of pending.splice(0)) reject(reason);
    });
    return batch;
  };

  const armIdleTimer = () => {
    clearTimeout(idle);
    idle = setTimeout(() => {
      current?.git.child.stdin?.end();
      current = undefined;
    }, IDLE_MS);
    idle.unref();
  };

  return {
    waiting: () => current?.pending.length ?? 0,
    ask(oid) {
      clearTimeout(idle);
      const batch = (current ??= run());
      const answer = Promise.withResolvers<Answer | undefined>();
      batch.pending.push(answer);
      // All questions of one turn of the event loop go out in one write.
      if (batch.unsent.push(oid) === 1) {
        setImmediate(() => batch.git.child.stdin?.write(ask(batch.unsent.splice(0))));
      }
      return answer.promise;
    },
    async close() {
      clearTimeout(idle);
      const last = current;
      last?.git.kill();
      await last?.git.ended;
    },
  };
}

/** A running process with the questions it has yet to answer, and those it was not even asked. */
interface Batch {
  readonly git: Git;
  readonly pending: PromiseWithResolvers<Answer | undefined>[];
  readonly unsent: string[];
}

/** `<oid> <type> <size>\n<content>\n`, or `<oid> missing\n`; without content for `info`. */
function answerParser(
  question: Question,
  found: (answer: Answer | undefined) => void,
): (chunk: Buffer) => void {
  let parts: Buffer[] = [];
  let have = 0;
  let need = 0;
  let head: { type: GitObject["type"]; size: number } | undefined;

  return (chunk) => {
    parts.push(chunk);
    have += chunk.length;
    if (have < need) return;
    let bytes = parts.length === 1 ? chunk : Buffer.concat(parts, have);
    for (;;) {
      if (head === undefined) {
        const end = bytes.indexOf(10);
        if (end === -1) break;
        const [, type = "", size = ""] = bytes.toString("latin1", 0, end).split(" ");
        bytes = bytes.subarray(end + 1);
        if (type === "missing") {
          found(undefined);
          continue;
        }
        if (!/^(commit|tree|blob|tag)$/.test(type) || !/^\d+$/.test(size))
          throw new CacheDamaged("git cat-file answered something unknown");
        head = { type: type as GitObject["type"], size: Number(size) };
        if (question === "contents" && head.size > MOST_HELD) throw tooLarge();
        need = question === "contents" ? head.size + 1 : 0;
      }
      if (bytes.length < need) break;
      const data = question === "contents" ? bytes.subarray(0, head.size) : bytes.subarray(0, 0);
      found({ size: head.size, object: { type: head.type, data } });
      bytes = bytes.subarray(need);
      head = undefined;
      need = 0;
    }
    parts = bytes.length === 0 ? [] : [bytes];
    have = bytes.length;
  };
}
