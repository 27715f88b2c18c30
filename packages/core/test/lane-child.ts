/** The lane of tests: reads files out of its data, in the way that the name of each file asks for. Loaded in a thread. */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { threadId } from "node:worker_threads";
import type { FileEntry, Lane, OpenLane, PartSink, Sink } from "../src/adapter.ts";

export interface TestData {
  /** Contents by path. */
  readonly texts: Readonly<Record<string, string>>;
  /** Dies at the n-th call of the writer that changes something on the volume, before it is done or after. */
  readonly kill?: {
    /** The whole process, or the thread alone. */
    readonly what: "process" | "thread";
    readonly at: number;
    readonly before: boolean;
    /** Calls so far, of all threads: each sync has threads of its own. */
    readonly calls: Int32Array<SharedArrayBuffer>;
  };
  /** The only thread that fetches, and takes its time: the first that gets a batch. All others leave theirs at once. */
  readonly only?: Int32Array<SharedArrayBuffer>;
}

let kill: TestData["kill"];

for (const name of ["openSync", "writeSync", "futimesSync", "fchmodSync", "unlinkSync"] as const) {
  const original = fs[name] as (...args: unknown[]) => unknown;
  (fs as Record<string, unknown>)[name] = (...args: unknown[]) => {
    const isIt = kill !== undefined && Atomics.add(kill.calls, 0, 1) + 1 >= kill.at;
    if (isIt && kill?.before === true) die(kill);
    try {
      return original(...args);
    } finally {
      if (isIt && kill !== undefined) die(kill);
    }
  };
}
syncBuiltinESMExports();

function die({ what }: NonNullable<TestData["kill"]>): void {
  if (what === "process") process.kill(process.pid, "SIGKILL");
  // Of a thread, this ends no more than that.
  else process.exit(3);
}

/** By what a file's name begins with; anything else is read well. */
const WAYS: Readonly<Record<string, (sink: Sink, index: number, text: Buffer) => unknown>> = {
  left: () => undefined,
  throttled: (sink, index) => sink.failed(index, "throttled"),
  fails: (sink, index) => sink.failed(index, "unavailable"),
  short: (sink, index, text) => sink.put(index, text.subarray(1)),
  long: (sink, index, text) => sink.put(index, Buffer.concat([text, text])),
  other: (sink, index, text) => sink.put(index, text, { algorithm: "md5", value: "0".repeat(32) }),
  cut(sink, index, text) {
    const writing = sink.begin(index);
    writing.write(text.subarray(0, 1));
    writing.drop();
  },
  endless(sink, index, text) {
    const writing = sink.begin(index);
    while (writing.write(text));
  },
  unfinished: (sink, index, text) => sink.begin(index).write(text.subarray(0, 1)),
  pieces(sink, index, text) {
    const writing = sink.begin(index);
    for (const byte of text) writing.write(Uint8Array.of(byte));
    writing.end();
  },
  throws() {
    throw new Error("this lane does not work");
  },
  crashes(sink, index, text) {
    sink.begin(index).write(text.subarray(0, 1));
    setImmediate(() => {
      throw new Error("this lane is broken");
    });
    return new Promise(() => {});
  },
  exits(sink, index, text) {
    sink.begin(index).write(text.subarray(0, 1));
    process.exit(3);
  },
  hangs(sink, index, text) {
    sink.begin(index).write(text.subarray(0, 1));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  },
};

/** The same for a part. */
const PARTS: Readonly<Record<string, (sink: PartSink, bytes: Buffer) => unknown>> = {
  left: () => undefined,
  throttled: (sink) => sink.failed("throttled"),
  fails: (sink) => sink.failed("unavailable"),
  short: (sink, bytes) => sink.write(bytes.subarray(1)),
  long: (sink, bytes) => sink.write(bytes) && sink.write(bytes),
  throws() {
    throw new Error("this lane does not work");
  },
  crashes(sink, bytes) {
    sink.write(bytes.subarray(0, 1));
    setImmediate(() => {
      throw new Error("this lane is broken");
    });
    return new Promise(() => {});
  },
  hangs(sink, bytes) {
    sink.write(bytes.subarray(0, 1));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  },
};

/** What the thread was told of requests at once, one after the other. */
const allowed: number[] = [];

export const openLane: OpenLane = (): Lane => ({
  allow: (atOnce) => void allowed.push(atOnce),
  async read({ files, data }, sink, signal) {
    const { texts, kill: wanted, only } = data as TestData;
    kill = wanted;
    if (only !== undefined) {
      Atomics.compareExchange(only, 0, 0, threadId);
      if (Atomics.load(only, 0) !== threadId) return;
      await sleep(50);
    }
    for (const [index, entry] of files.entries()) {
      if (sink.stopped) return;
      sink.request("read");
      const text = Buffer.from(texts[entry.path] ?? "");
      const name = wayOf(entry);
      if (name === "waits") {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        return;
      }
      if (name === "allowed") {
        while (allowed.length === 0) await new Promise(setImmediate);
        sink.request(`allowed ${allowed.join(", ")}`);
      }
      const way = WAYS[name];
      if (way === undefined) sink.put(index, text);
      else await way(sink, index, text);
    }
  },
  async readPart({ entry, range: { offset, length }, data }, sink, signal) {
    const { texts } = data as TestData;
    const bytes = Buffer.from(texts[entry.path] ?? "").subarray(offset, offset + length);
    const name = wayOf(entry);
    if (name !== "left") sink.request("read");
    if (name === "waits") {
      sink.write(bytes.subarray(0, 1));
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    } else if (PARTS[name] !== undefined) await PARTS[name](sink, bytes);
    else for (const byte of bytes) sink.write(Uint8Array.of(byte));
  },
});

function wayOf({ path }: FileEntry): string {
  return /(?:^|\/)([a-z]+)-[^/]*$/.exec(path)?.[1] ?? "";
}
