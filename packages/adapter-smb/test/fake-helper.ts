/** Takes the place of the helper program in tests: answers, crashes or hangs, as the paths it is asked for say. */
import { readSync, writeSync } from "node:fs";
import { CHANNEL, createFrameReader, encodeFrame } from "@pannier/helper-process";
import type { Request } from "../src/protocol.ts";

const FACTS = { kind: "file", size: 1, seconds: 1, nanoseconds: 0 };

function answer(request: Request): object {
  if (request.op === "start") {
    if (request.connection.user === "slow")
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    return request.connection.user === "nobody"
      ? { failed: "library", detail: "no such file" }
      : {};
  }
  const path = "path" in request ? request.path : "";
  // A directory with one file, of the directory's own name.
  if (request.op === "list") {
    return Buffer.from(JSON.stringify({ ...FACTS, name: decodeURIComponent(path.slice(1)) }));
  }
  if (path === "/crash") process.kill(process.pid, "SIGSEGV");
  // Blocked, as in a call of the library: nothing wakes it.
  if (path === "/hang") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  // Blocked as well, but something arrives now and then.
  if (path === "/slow") {
    for (let i = 0; i < 10; i++) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  }
  if (path === "/dribble") {
    for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
  if (path === "/near") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
  if (/^\/E[A-Z]+$/.test(path)) return { failed: path.slice(1) };
  if (path === "/pid") return { facts: { ...FACTS, size: process.pid } };
  return { facts: FACTS };
}

const take = createFrameReader<Request>((request) => {
  const made = answer(request);
  const frame = Buffer.isBuffer(made) ? encodeFrame({}, made) : encodeFrame(made);
  for (const part of frame) writeSync(CHANNEL, part);
});
const piece = Buffer.alloc(65_536);
for (;;) {
  const count = readSync(CHANNEL, piece);
  if (count === 0) process.exit(0);
  take(piece.subarray(0, count));
}
