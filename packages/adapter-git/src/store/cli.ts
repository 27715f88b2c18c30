/** `engine=cli`: the git program, which sees a bare repository of ours and nothing else: no URL, no credential, no configuration but ours. */
import { once } from "node:events";
import type { Writable } from "node:stream";
import { SourceError } from "@pannier/core/adapter";
import { walkTree } from "../tree.ts";
import { CacheDamaged, type ObjectStore } from "./store.ts";
import { type Git, startGit, throwIfFailed, output } from "./git-program.ts";
import { gitEnvironment } from "./git-settings.ts";
import { catFile } from "./cat-file.ts";
import { withTrueModes, parseListing } from "./ls-tree.ts";

/** How many `cat-file --batch` processes read blobs side by side. */
const READERS = 2;

/**
 * How long git may work at a pack that came whole: this, and as much again for each MiB (in milliseconds). A few
 * bytes of deltas may ask for days.
 */
const WORK_MS = { least: 60_000, eachMib: 1000 };

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

    addPack: (pack, signal) =>
      feedPack(start(["index-pack", "--stdin", "--fix-thin"], "pipe"), pack, signal),

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

/** @throws SourceError where git works at the pack for too long */
async function feedPack(
  git: Git,
  pack: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
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
}

/** Ends also where the stream breaks. */
async function drained(stream: Writable): Promise<void> {
  await once(stream, "drain").catch(() => {});
}
