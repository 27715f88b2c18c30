/**
 * Hashing files that come in parts, in threads of their own: by what is on the volume, in order, while later parts still come.
 * One thread takes the SHA-256, the other what sources vouch with, so that neither waits for the other: of 1 GiB a SHA-256 takes 0.6 s, an MD5 1.4.
 */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { Digest } from "../source/contract.ts";
import type { ContentDigest } from "./content-hash.ts";
import { type DigestKind, isSideBySide } from "./range-hasher.ts";
import { fromFailure, type ThreadFailure } from "./thread-failure.ts";

interface RangeHash {
  /** As {@link import("./content-hash.ts").ContentHash.expect}. */
  expect(digest: Digest): void;
  /** Takes in what an open file has from `start` to `end`. The file stays open until {@link RangeHash.finish} or {@link RangeHash.drop} is done. */
  update(fd: number, start: number, end: number): void;
  /** @throws errors of the file system, also of an earlier update */
  finish(): Promise<ContentDigest>;
  /** Forgets it, and waits until nothing reads the file any more. To be called after a failure, too. */
  drop(): Promise<void>;
}

export interface RangeHashes {
  /** @param vouched what the listing vouched for */
  open(vouched: Digest | undefined): RangeHash;
  /** Ends the threads. What is still being hashed fails. */
  close(): void;
}

/** What a thread is asked; it gives one answer to each, in their order. */
export type HashRequest =
  | { readonly do: "open"; readonly id: number; readonly kind: DigestKind }
  | {
      readonly do: "update";
      readonly id: number;
      readonly fd: number;
      readonly start: number;
      readonly end: number;
    }
  | { readonly do: "finish" | "drop"; readonly id: number };

export type HashAnswer = { readonly value: string | undefined } | ThreadFailure;

/** MiB of a thread's young generation: it makes next to nothing. */
const YOUNG_MIB = 1;

const SHA256: DigestKind = { algorithm: "sha256" };

/** For one sync; a thread is started with the first file that needs it. */
export function openRangeHashes(): RangeHashes {
  const [own, vouching] = [createThread(), createThread()];
  let lastId = 0;

  return {
    open(vouched) {
      const sha256 = openDigest(own, ++lastId, SHA256);
      const digests = new Map([[keyOf(SHA256), sha256]]);
      const expected: Digest[] = [];
      let begun = false;
      const hash: RangeHash = {
        expect(digest) {
          if (begun) return;
          expected.push(digest);
          const key = keyOf(digest);
          if (digests.has(key)) return;
          // What is taken side by side is cheap, and another thread takes 10 MiB.
          const thread = isSideBySide(digest) ? own : vouching;
          digests.set(key, openDigest(thread, ++lastId, digest));
        },
        update(fd, start, end) {
          begun = true;
          for (const digest of digests.values()) digest.update(fd, start, end);
        },
        async finish() {
          const found = { sha256: await sha256.finish() };
          // Also where one of them is wrong: the file is closed next, and its number may become another's.
          await Promise.all([...digests.values()].map((digest) => digest.finish()));
          for (const expectation of expected) {
            const digest = digests.get(keyOf(expectation)) ?? sha256;
            const value = await digest.finish();
            if (value !== expectation.value.toLowerCase())
              return { ...found, wrong: { expected: expectation, found: value } };
          }
          return found;
        },
        async drop() {
          await Promise.all([...digests.values()].map((digest) => digest.drop()));
        },
      };
      if (vouched !== undefined) hash.expect(vouched);
      return hash;
    },
    close() {
      own.close();
      vouching.close();
    },
  };
}

/** The same for what needs to be taken once. */
function keyOf({ algorithm, partSize }: DigestKind): string {
  return `${algorithm}/${partSize}`;
}

/** One digest of one file, in a thread. What waits can still be dropped: a thread is handed one range at a time. */
function openDigest({ ask }: Thread, id: number, { algorithm, partSize }: DigestKind) {
  let last: Promise<unknown> = ask({ do: "open", id, kind: { algorithm, partSize } });
  let value: Promise<string> | undefined;
  let dropped = false;
  const next = (request: HashRequest) => {
    const answer = last.then(() => (dropped ? undefined : ask(request)));
    last = answer;
    // Told by the next call as well.
    last.catch(() => {});
    return answer;
  };
  return {
    update: (fd: number, start: number, end: number) =>
      void next({ do: "update", id, fd, start, end }),
    finish: () => (value ??= next({ do: "finish", id }) as Promise<string>),
    async drop() {
      dropped = true;
      await last.catch(() => {});
      await ask({ do: "drop", id }).catch(() => {});
    },
  };
}

interface Asker {
  resolve(value: string | undefined): void;
  reject(error: unknown): void;
}

interface Thread {
  ask(request: HashRequest): Promise<string | undefined>;
  close(): void;
}

/** Started when it is first asked. */
function createThread(): Thread {
  const waiting: Asker[] = [];
  let worker: Worker | undefined;
  let failed: unknown;

  const fail = (error: unknown) => {
    failed ??= error;
    for (const { reject } of waiting.splice(0)) reject(failed);
  };

  const start = (): Worker => {
    // Beside this file, whether that is source, built, or bundled with the program.
    const script = new URL(`./range-hash-worker${extname(import.meta.url)}`, import.meta.url);
    const started = new Worker(script, {
      execArgv: process.execArgv.filter((argument) => argument === "--experimental-strip-types"),
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
    });
    started.on("message", (answer: HashAnswer) => {
      const asker = waiting.shift();
      if ("message" in answer) asker?.reject(fromFailure(answer));
      else asker?.resolve(answer.value);
    });
    started.on("error", fail);
    started.on("exit", () => fail(new Error("the thread that hashes files ended")));
    return started;
  };

  return {
    ask(request) {
      const answer = new Promise<string | undefined>((resolve, reject) => {
        if (failed !== undefined) return reject(failed);
        try {
          worker ??= start();
        } catch (error) {
          // The system has no room for another thread: what was asked before is not asked any more.
          fail(error);
          return reject(error);
        }
        waiting.push({ resolve, reject });
        worker.postMessage(request, []);
      });
      // What failed is told by the next call as well.
      answer.catch(() => {});
      return answer;
    },
    close() {
      fail(new Error("the sync is over"));
      void worker?.terminate();
    },
  };
}
