/** The thread that hashes files which come in parts; see {@link import("./range-hash.ts")}. */
import { readSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { type ContentDigest, type ContentHash, createContentHash } from "./content-hash.ts";
import type { HashAnswer, HashRequest } from "./range-hash.ts";

const hashes = new Map<number, ContentHash>();
const buffer = Buffer.allocUnsafeSlow(256 * 1024);

parentPort?.on("message", (request: HashRequest) => parentPort?.postMessage(answer(request), []));

function answer(request: HashRequest): HashAnswer {
  try {
    return { digest: carryOut(request) };
  } catch (error) {
    const { message, code } = error as NodeJS.ErrnoException;
    return { message, code };
  }
}

function carryOut(request: HashRequest): ContentDigest | undefined {
  const { id } = request;
  const hash = hashes.get(id);
  switch (request.do) {
    case "open":
      hashes.set(id, createContentHash(request.digest));
      return undefined;
    case "expect":
      hash?.expect(request.digest);
      return undefined;
    case "update":
      if (hash !== undefined) update(hash, request.fd, request.start, request.end);
      return undefined;
    case "finish":
      hashes.delete(id);
      return hash?.finish();
    case "drop":
      hashes.delete(id);
      return undefined;
  }
}

/** Ends at the end of the file, if that comes first. */
function update(hash: ContentHash, fd: number, start: number, end: number): void {
  for (let at = start; at < end;) {
    const count = readSync(fd, buffer, 0, Math.min(buffer.length, end - at), at);
    if (count === 0) return;
    hash.update(buffer.subarray(0, count));
    at += count;
  }
}
