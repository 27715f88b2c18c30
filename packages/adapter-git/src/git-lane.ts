/**
 * Blobs of the cache in a lane: one `git cat-file` for each thread, whose answers are hashed and written as they come. Blobs of submodules, and
 * files that Git LFS keeps, are left to the adapter.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import type { FileEntry, OpenLane, Sink, Writing } from "@pannier/core/adapter";
import { parsePointer } from "./lfs-pointer.ts";
import { isOid } from "./oid.ts";
import {
  catFileArguments,
  catFileQuestions,
  GIT_SETTINGS,
  gitEnvironment,
} from "./store/git-settings.ts";

export interface LaneData {
  /** The source's own repository. */
  readonly dir: string;
  readonly batchCommand: boolean;
  /** Pointers to what Git LFS keeps are left: the adapter warns of the first one. */
  readonly leavePointers: boolean;
}

/** Blobs of up to this size are written at once; others in pieces. */
const WHOLE = 256 * 1024;

/** Longer than any line of `cat-file` that begins an answer. */
const LONGEST_LINE = 256;

interface Job {
  readonly index: number;
  readonly entry: FileEntry;
  readonly batch: Batch;
}

interface Batch {
  readonly sink: Sink;
  readonly leavePointers: boolean;
  left: number;
  over(): void;
}

export const openLane: OpenLane = ({ idleTimeout }) => {
  let git: CatFile | undefined;
  /** With those that were killed and have not gone yet. */
  const running = new Set<CatFile>();
  let timer: NodeJS.Timeout | undefined;
  let heeded = false;

  function look(): void {
    if (git === undefined) clearInterval(timer);
    else if (git.silentFor() > idleTimeout) git.kill();
  }

  return {
    read({ files, data }, sink, signal) {
      const { dir, batchCommand, leavePointers } = data as LaneData;
      if (signal.aborted) return;
      if (!heeded) signal.addEventListener("abort", () => git?.kill(), { once: true });
      heeded = true;
      return new Promise((over) => {
        const batch: Batch = { sink, leavePointers, left: 0, over };
        const jobs = files.flatMap((entry, index) =>
          // What is asked for is a line of commands.
          entry.ref === undefined && isOid(entry.fingerprint) ? [{ index, entry, batch }] : [],
        );
        batch.left = jobs.length;
        if (jobs.length === 0) return over();
        if (git === undefined) {
          const started = catFile(dir, batchCommand, () => {
            if (git === started) git = undefined;
          });
          git = started;
          running.add(started);
          void started.ended.finally(() => running.delete(started));
          clearInterval(timer);
          timer = setInterval(look, Math.min(1000, idleTimeout));
        }
        git.ask(jobs);
      });
    },
    async close() {
      clearInterval(timer);
      git?.kill();
      await Promise.all([...running].map(({ ended }) => ended));
    },
  };
};

interface CatFile {
  ask(jobs: readonly Job[]): void;
  /** Milliseconds for which it was asked and said nothing. */
  silentFor(): number;
  /** All that it has yet to answer is left. */
  kill(): void;
  readonly ended: Promise<void>;
}

/** An answer that is being received. */
interface Receiving {
  readonly job: Job;
  readonly size: number;
  readonly isWanted: boolean;
  /** Where a large one goes. */
  readonly writing: Writing | undefined;
  /** Of a small one what has come. */
  content: Buffer | undefined;
  have: number;
}

function catFile(dir: string, batchCommand: boolean, onEnd: () => void): CatFile {
  const args = [...GIT_SETTINGS, ...catFileArguments("contents", batchCommand)];
  const child: ChildProcessByStdio<Writable, Readable, null> = spawn("git", args, {
    env: gitEnvironment(dir),
    stdio: ["pipe", "pipe", "ignore"],
  });
  const { promise: ended, resolve: onEnded } = Promise.withResolvers<void>();
  const answers = readAnswers();
  let heardAt = performance.now();
  let gone = false;

  function end(): void {
    if (gone) return;
    gone = true;
    onEnd();
    answers.leave();
  }

  function kill(): void {
    child.kill("SIGKILL");
    // What it still says is not wanted, and would keep it from being closed.
    child.stdout.destroy();
    end();
  }

  child.stdout.on("data", (chunk: Buffer) => {
    heardAt = performance.now();
    if (!answers.came(chunk)) kill();
  });
  // It ended first: what it has yet to answer is left.
  child.stdin.on("error", () => {});
  child.on("error", () => {
    end();
    onEnded();
  });
  child.on("close", () => {
    end();
    onEnded();
  });

  return {
    ended,
    kill,
    silentFor: () => (answers.owed() ? performance.now() - heardAt : 0),
    ask(jobs) {
      heardAt = performance.now();
      answers.expect(jobs);
      const oids = jobs.map(({ entry }) => entry.fingerprint);
      child.stdin.write(catFileQuestions("contents", batchCommand, oids));
    },
  };
}

/** Reads `<oid> <type> <size>\n<content>\n`, or `<oid> missing\n`, for each question in turn. */
function readAnswers() {
  /** In the order in which they are answered. */
  let pending: Job[] = [];
  let first = 0;
  /** The beginning of a line. */
  let begun = "";
  let receiving: Receiving | undefined;

  /** @returns false where it is no answer to what was asked */
  function begin(line: string): boolean {
    const job = pending[first];
    if (job === undefined) return false;
    const { entry, batch, index } = job;
    const [oid, type, text = ""] = line.split(" ");
    if (oid !== entry.fingerprint) return false;
    const isMissing = type === "missing";
    if (!isMissing && !/^\d{1,15}$/.test(text)) return false;
    if (++first === pending.length) {
      pending = [];
      first = 0;
    }
    if (isMissing) {
      finished(job);
      return true;
    }
    const size = Number(text);
    const isWanted = type === "blob" && size === entry.size && !batch.sink.stopped;
    const writing = isWanted && size > WHOLE ? batch.sink.begin(index) : undefined;
    receiving = { job, size, isWanted, writing, content: undefined, have: 0 };
    return true;
  }

  return {
    expect(jobs: readonly Job[]): void {
      pending.push(...jobs);
    },
    owed: () => receiving !== undefined || first < pending.length,
    /** @returns false where it is no answer to what was asked */
    came(chunk: Buffer): boolean {
      for (let at = 0; at < chunk.length;) {
        if (receiving === undefined) {
          const stop = chunk.indexOf(LINE_FEED, at);
          begun += chunk.toString("latin1", at, stop === -1 ? chunk.length : stop);
          if (begun.length > LONGEST_LINE) return false;
          if (stop === -1) return true;
          at = stop + 1;
          const line = begun;
          begun = "";
          if (!begin(line)) return false;
        } else {
          const { size, have } = receiving;
          const piece = chunk.subarray(at, at + size - have);
          take(receiving, piece);
          at += piece.length;
          if (receiving.have < size || at === chunk.length) return true;
          if (chunk[at++] !== LINE_FEED) return false;
          const whole = receiving;
          receiving = undefined;
          handOver(whole);
        }
      }
      return true;
    },
    /** No answer comes any more. */
    leave(): void {
      receiving?.writing?.drop();
      const left = pending.slice(first);
      if (receiving !== undefined) left.push(receiving.job);
      left.forEach(finished);
    },
  };
}

function take(answer: Receiving, piece: Buffer): void {
  const { size, have, isWanted, writing } = answer;
  answer.have += piece.length;
  if (writing !== undefined) writing.write(piece);
  else if (isWanted && piece.length === size) answer.content = piece;
  else if (isWanted) (answer.content ??= Buffer.allocUnsafe(size)).set(piece, have);
}

function handOver({ job, content, writing }: Receiving): void {
  const { sink, leavePointers } = job.batch;
  writing?.end();
  if (content !== undefined && !(leavePointers && parsePointer(content) !== undefined))
    sink.put(job.index, content);
  finished(job);
}

function finished({ batch }: Job): void {
  if (--batch.left === 0) batch.over();
}

const LINE_FEED = 10;
