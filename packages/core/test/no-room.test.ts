import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmdirSync, statfsSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { NoRoomError } from "../src/errors.ts";
import type { Body, Source } from "../src/source/contract.ts";
import { fetchFile } from "../src/transfer/fetch-file.ts";
import type { FetchOptions } from "../src/transfer/fetch-options.ts";
import { openRangeHashes } from "../src/transfer/range-hash.ts";
import { openSmallFiles } from "../src/transfer/small-files.ts";
import { createLimiter } from "../src/transfer/limiter.ts";
import { asNoRoom } from "../src/transfer/output.ts";

const rangeHashes = openRangeHashes();
afterAll(() => rangeHashes.close());

const MiB = 1024 * 1024;
const mountPoint = join(tmpdir(), `pannier-full-${process.pid}`);

function mountSmall(): boolean {
  mkdirSync(mountPoint, { recursive: true });
  try {
    const options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", mountPoint];
    execFileSync("mount", options, { stdio: "ignore" });
    return true;
  } catch {
    rmdirSync(mountPoint);
    return false;
  }
}

const mounted = mountSmall();

async function* zeros(size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < size; at += 64 * 1024) {
    yield new Uint8Array(Math.min(64 * 1024, size - at));
  }
}

function fetching(size: number, read: Source["read"]): FetchOptions {
  return {
    source: {
      ranges: true,
      probe: async () => undefined,
      list: () => Promise.reject(new Error("not listed here")),
      read,
      close: async () => {},
    },
    entry: { kind: "file", path: "a/file", size, fingerprint: "1" },
    destination: join(mountPoint, "file"),
    mode: 0o644,
    limits: { maxFileBytes: Infinity },
    idleTimeout: 5000,
    attempts: 3,
    limiter: createLimiter(4),
    smallFiles: openSmallFiles(1),
    rangeHashes,
    signal: new AbortController().signal,
  };
}

describe.skipIf(!mounted)(
  "a full volume",
  { meta: { skipReason: "needs the permission to mount a tmpfs" } },
  () => {
    afterAll(() => {
      execFileSync("umount", [mountPoint]);
      rmdirSync(mountPoint);
    });

    test.each<[string, number, (size: number) => Body]>([
      ["at once", 2 * MiB, (size) => new Uint8Array(size)],
      ["as a stream", 2 * MiB, zeros],
      ["in parts", 65 * MiB, zeros],
    ])(
      "makes a file that comes %s a NoRoomError, and gets its space back",
      async (_, size, body) => {
        const free = statfsSync(mountPoint).bfree;
        const read: Source["read"] = async (__, range) => body(range?.length ?? size);
        const failure = await fetchFile(fetching(size, read)).catch((error: unknown) => error);
        expect(failure).toBeInstanceOf(NoRoomError);
        expect(failure).toMatchObject({
          message: 'no room for "a/file": the volume is full (ENOSPC)',
          hint: expect.stringContaining("free some space") as string,
        });
        expect(readdirSync(mountPoint)).toEqual([]);
        expect(statfsSync(mountPoint).bfree).toBe(free);
      },
    );
  },
);

test.each(["ENOSPC", "EDQUOT", "EFBIG"])("%s means no room", (code) => {
  const error = Object.assign(new Error(code), { code });
  expect(asNoRoom(error, "file")).toMatchObject({ name: "NoRoomError", cause: error });
});

test("a quota that is used up is known by its number: it has no name in Node", () => {
  const errno = -constants.errno.EDQUOT;
  const code = `Unknown system error ${errno}`;
  const error = Object.assign(new Error(`${code}: ${code}, write`), { errno, code });
  expect(asNoRoom(error, "file")).toMatchObject({
    name: "NoRoomError",
    message: 'no room for "file": the quota of the volume is used up (EDQUOT)',
  });
});

test("other errors mean what they say", () => {
  const error = Object.assign(new Error("EACCES"), { code: "EACCES" });
  expect(asNoRoom(error, "file")).toBe(error);
});
