import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { FileEntry, Source } from "../source/contract.ts";
import { receive } from "./receive.ts";

const entry: FileEntry = { kind: "file", path: "a", fingerprint: "1" };
const idleTimeout = 100;

async function* drip(bytes: number, between: number): AsyncGenerator<Uint8Array> {
  for (let count = 0; count < bytes; count++) {
    if (between > 0) await sleep(between);
    yield new Uint8Array(1);
  }
}

/** Reads a stream of single bytes. */
async function read(bytes: number, between: number, perChunk: number): Promise<number> {
  let received = 0;
  const source = { read: async () => drip(bytes, between) } as unknown as Source;
  const { signal } = new AbortController();
  const onChunk = async () => {
    received++;
    if (perChunk > 0) await sleep(perChunk);
  };
  await receive({ source, entry, idleTimeout, signal }, undefined, onChunk, () => {});
  return received;
}

test("a stream that never falls silent and hardly moves is given up", async () => {
  await expect(read(1000, 40, 0)).rejects.toMatchObject({
    code: "unavailable",
    transient: false,
    message: expect.stringContaining('reading "a" is too slow'),
  });
});

test("a reader that takes its time, for a limit of bandwidth, is not taken for that", async () => {
  expect(await read(20, 0, 40)).toBe(20);
});
