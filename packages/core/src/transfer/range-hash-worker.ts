/** A thread that hashes files which come in parts; see {@link import("./range-hash.ts")}. */
import { parentPort } from "node:worker_threads";
import { createRangeHasher, type RangeHasher } from "./range-hasher.ts";
import type { HashAnswer, HashRequest } from "./range-hash.ts";
import { toFailure } from "./thread-failure.ts";

const hashers = new Map<number, RangeHasher>();

parentPort?.on("message", (request: HashRequest) => parentPort?.postMessage(answer(request), []));

function answer(request: HashRequest): HashAnswer {
  try {
    return { value: carryOut(request) };
  } catch (error) {
    return toFailure(error);
  }
}

function carryOut(request: HashRequest): string | undefined {
  const { id } = request;
  switch (request.do) {
    case "open":
      hashers.set(id, createRangeHasher(request.kind));
      return undefined;
    case "update":
      hashers.get(id)?.update(request.fd, request.start, request.end);
      return undefined;
    case "finish": {
      const hasher = hashers.get(id);
      hashers.delete(id);
      return hasher?.digest();
    }
    case "drop":
      hashers.delete(id);
      return undefined;
  }
}
