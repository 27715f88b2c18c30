/**
 * Hashing files that come in parts, in a thread of its own: by what is on the volume, in order, while later parts still come.
 * SHA-256 and an MD5 of 1 GiB take 2.5 s, in which the thread that receives would do nothing else.
 */
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import type { Digest } from "../source/contract.ts";
import type { ContentDigest } from "./content-hash.ts";

interface RangeHash {
  /** As {@link import("./content-hash.ts").ContentHash.expect}. */
  expect(digest: Digest): void;
  /** Takes in what an open file has from `start` to `end`. The file stays open until this has settled. @throws errors of the file system */
  update(fd: number, start: number, end: number): Promise<void>;
  /** The last call, unless it is {@link RangeHash.drop}. */
  finish(): Promise<ContentDigest>;
  /** Forgets it. */
  drop(): void;
}

export interface RangeHashes {
  /** @param vouched what the listing vouched for */
  open(vouched: Digest | undefined): RangeHash;
  /** Ends the thread. What is still being hashed fails. */
  close(): void;
}

/** What the thread is asked; it gives one answer to each, in their order. */
export type HashRequest =
  | { readonly do: "open" | "expect"; readonly id: number; readonly digest: Digest | undefined }
  | {
      readonly do: "update";
      readonly id: number;
      readonly fd: number;
      readonly start: number;
      readonly end: number;
    }
  | { readonly do: "finish" | "drop"; readonly id: number };

export type HashAnswer =
  | { readonly digest: ContentDigest | undefined }
  | { readonly message: string; readonly code: string | undefined };

interface Asker {
  resolve(digest: ContentDigest | undefined): void;
  reject(error: unknown): void;
}

/** For one sync; the thread is started with the first file. */
export function openRangeHashes(): RangeHashes {
  const waiting: Asker[] = [];
  let worker: Worker | undefined;
  let failed: unknown;
  let lastId = 0;

  const fail = (error: unknown) => {
    failed ??= error;
    for (const { reject } of waiting.splice(0)) reject(failed);
  };

  const start = (): Worker => {
    // Beside this file, whether that is source, built, or bundled with the program.
    const script = new URL(`./range-hash-worker${extname(import.meta.url)}`, import.meta.url);
    const started = new Worker(script, {
      execArgv: process.execArgv.filter((argument) => argument === "--experimental-strip-types"),
    });
    started.on("message", (answer: HashAnswer) => {
      const asker = waiting.shift();
      if ("message" in answer)
        asker?.reject(Object.assign(new Error(answer.message), { code: answer.code }));
      else asker?.resolve(answer.digest);
    });
    started.on("error", fail);
    started.on("exit", () => fail(new Error("the thread that hashes files ended")));
    return started;
  };

  const ask = (request: HashRequest): Promise<ContentDigest | undefined> => {
    const answer = new Promise<ContentDigest | undefined>((resolve, reject) => {
      if (failed !== undefined) return reject(failed);
      waiting.push({ resolve, reject });
      (worker ??= start()).postMessage(request, []);
    });
    // What failed is told by the next call as well.
    answer.catch(() => {});
    return answer;
  };

  return {
    open(vouched) {
      const id = ++lastId;
      void ask({ do: "open", id, digest: vouched });
      return {
        expect: (digest) => void ask({ do: "expect", id, digest }),
        update: async (fd, from, to) =>
          void (await ask({ do: "update", id, fd, start: from, end: to })),
        finish: async () => (await ask({ do: "finish", id })) as ContentDigest,
        drop: () => void ask({ do: "drop", id }),
      };
    },
    close() {
      fail(new Error("the sync is over"));
      void worker?.terminate();
    },
  };
}
