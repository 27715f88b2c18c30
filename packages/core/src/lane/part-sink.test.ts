import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openPartSink } from "./part-sink.ts";

/** A sink for bytes 4 to 8 of a file. */
function make(flags = "w") {
  const directory = mkdtempSync(join(tmpdir(), "pannier-part-sink-"));
  const path = join(directory, "file");
  closeSync(openSync(path, "w"));
  const fd = openSync(path, flags);
  onTestFinished(() => {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });
  const shared = new BigInt64Array(new SharedArrayBuffer(16));
  const controller = new AbortController();
  const told: string[] = [];
  const entry = { kind: "file", path: "file", size: 20, fingerprint: "1" } as const;
  const part = { entry, range: { offset: 4, length: 5 }, fd };
  const sink = openPartSink(part, { shared }, controller.signal, () => told.push("throttled"));
  return { sink, shared, controller, told, content: () => readFileSync(path, "latin1") };
}

const bytes = (text: string) => Buffer.from(text);

test("what comes is written in order at its place", () => {
  const { sink, content, shared } = make();
  sink.request("read");
  expect([sink.write(bytes("he")), sink.write(bytes("llo"))]).toEqual([true, true]);
  expect(sink.finish()).toEqual({ outcome: "done", received: 5, requests: new Map([["read", 1]]) });
  expect(content()).toBe("\0\0\0\0hello");
  expect(shared[1]).toBe(5n);
});

test("what is too long is not written beyond its part, and fails", () => {
  const { sink, content } = make();
  sink.request("read");
  expect([sink.write(bytes("hell")), sink.write(bytes("oo"))]).toEqual([true, false]);
  expect(sink.finish()).toMatchObject({ outcome: "unavailable", received: 0 });
  expect(content()).toBe("\0\0\0\0hell");
});

test("what is too short, told to have failed, or cannot be written is not done", () => {
  const short = make();
  short.sink.request("read");
  short.sink.write(bytes("hell"));
  expect(short.sink.finish()).toMatchObject({ outcome: "unavailable", received: 4 });
  const failed = make();
  failed.sink.write(bytes("hello"));
  failed.sink.failed("throttled");
  expect(failed.sink.finish().outcome).toBe("throttled");
  expect(failed.told).toEqual(["throttled"]);
  const unwritable = make("r");
  unwritable.sink.request("read");
  expect(unwritable.sink.write(bytes("hello"))).toBe(false);
  expect(unwritable.sink.finish()).toMatchObject({ outcome: "unavailable", received: 0 });
});

test("what was not asked for is left", () => {
  expect(make().sink.finish().outcome).toBe("left");
});

test("nothing is written once nobody waits, or after the end", () => {
  for (const way of ["stop", "abort", "finish"]) {
    const { sink, shared, controller, content } = make();
    if (way === "stop") shared[0] = 1n;
    else if (way === "abort") controller.abort();
    else sink.finish();
    expect(sink.stopped).toBe(true);
    expect(sink.write(bytes("hello"))).toBe(false);
    expect(content()).toBe("");
  }
});
