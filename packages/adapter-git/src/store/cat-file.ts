/** A long-lived `git cat-file`, and the objects that it tells. */
import { CacheDamaged, type GitObject } from "./store.ts";
import { catFileArguments, catFileQuestions, type Question } from "./git-settings.ts";
import { type Git, startGit, tooLarge } from "./git-program.ts";

/** A `cat-file` process that was not needed for this long is ended; starting one again takes some 5 ms. */
const IDLE_MS = 30_000;

/** Trees, commits and targets of links are held here whole, in bytes: as much as a directory of 800,000 files. */
const MOST_HELD = 32 * 1024 * 1024;

interface Answer {
  readonly size: number;
  readonly object: GitObject;
}

interface CatFile {
  waiting(): number;
  ask(oid: string): Promise<Answer | undefined>;
  close(): Promise<void>;
}

/**
 * A long-lived `git cat-file`: questions are pipelined, answers come in their order. It sees packs that were added
 * after its start.
 */
export function catFile(
  env: NodeJS.ProcessEnv,
  question: Question,
  batchCommand: boolean,
): CatFile {
  const args = catFileArguments(question, batchCommand);
  const ask = (oids: readonly string[]) => catFileQuestions(question, batchCommand, oids);
  let current: Batch | undefined;
  let idle: NodeJS.Timeout | undefined;

  const run = (): Batch => {
    const batch: Batch = {
      git: startGit(env, args, "pipe"),
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
