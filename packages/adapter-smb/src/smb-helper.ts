/**
 * A process that calls libsmbclient: one request after the other, and nothing beside. Calls block it; whoever waits for its
 * answers ends it when it takes too long. Requests come and answers go by {@link CHANNEL}.
 */
import { readSync, writevSync } from "node:fs";
import { CHANNEL, createFrameReader, encodeFrame } from "@pannier/helper-process";
import { type Library, loadLibrary } from "./library.ts";
import { CallError } from "./native.ts";
import type { Answers, Request } from "./protocol.ts";

const MiB = 1024 * 1024;

let library: Library | undefined;
/** For content, again and again: the answer is written before the next request is read. */
let content = Buffer.alloc(0);

async function main(): Promise<void> {
  const requests: Request[] = [];
  const take = createFrameReader<Request>((request) => requests.push(request));
  const piece = Buffer.alloc(64 * 1024);
  for (;;) {
    const count = readSync(CHANNEL, piece);
    if (count === 0) return;
    take(piece.subarray(0, count));
    for (const request of requests.splice(0)) await answer(request);
  }
}

async function answer(request: Request): Promise<void> {
  try {
    if (request.op === "start") library = await loadLibrary(request.connection).catch(unusable);
    const [head, bytes] = carryOut(library as Library, request);
    send(head, bytes);
  } catch (error) {
    if (!(error instanceof CallError)) throw error;
    const { failed, message } = error;
    send({ failed, detail: message });
  }
}

/** As where a function is not in it. */
function unusable(error: unknown): never {
  throw error instanceof CallError ? error : new CallError("library", String(error).split("\n")[0]);
}

type Answer = readonly [head: Answers[keyof Answers], bytes?: Buffer];

function carryOut(from: Library, request: Request): Answer {
  switch (request.op) {
    case "start":
      return [{}];
    case "stat":
      return [{ facts: from.stat(request.path) }];
    case "list":
      return [{}, asLines(from.list(request.path, request.most))];
    case "file":
      return readAtOnce(from, request.path, request.length);
    case "open": {
      const handle = from.open(request.path);
      return [{ handle, facts: from.facts(handle) }];
    }
    case "read": {
      const buffer = room(request.length);
      return [{}, buffer.subarray(0, from.read(request.handle, request.offset, buffer))];
    }
    case "close":
      from.close(request.handle);
      return [{ facts: from.stat(request.path) }];
  }
}

function asLines(items: readonly object[]): Buffer {
  return Buffer.from(items.map((item) => JSON.stringify(item)).join("\n"));
}

function readAtOnce(from: Library, path: string, length: number): Answer {
  const handle = from.open(path);
  const buffer = room(length);
  let count = 0;
  try {
    if (length > 0) count = from.read(handle, 0, buffer);
  } finally {
    from.close(handle);
  }
  return [{ facts: from.stat(path) }, buffer.subarray(0, count)];
}

function room(size: number): Buffer {
  if (content.length < size) content = Buffer.alloc(Math.max(size, MiB));
  return content.subarray(0, size);
}

function send(head: object, bytes?: Uint8Array): void {
  let rest = encodeFrame(head, bytes);
  while (rest.length > 0) {
    let written = writevSync(CHANNEL, rest);
    rest = rest.flatMap((one) => {
      const done = Math.min(written, one.length);
      written -= done;
      return done === one.length ? [] : [one.subarray(done)];
    });
  }
}

await main();
// Nothing waits for the library to take its leave: the server notices that the connection is closed.
process.exit(0);
