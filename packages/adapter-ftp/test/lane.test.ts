/** What a lane of FTP hands over, and what it leaves to the source. */
import { setTimeout } from "node:timers/promises";
import { listAll, openSource } from "@pannier/adapter-kit";
import type { FileEntry, Sink } from "@pannier/core/adapter";
import { expect, onTestFinished, test } from "vitest";
import { type LaneData, openLane } from "../src/ftp-lane.ts";
import { ftp } from "../src/index.ts";
import { type Answer, type Script, startScripted } from "./scripted-server.ts";

const IDLE = 400;
const TIME = Date.UTC(2026, 0, 1);

/** A lane of a server, by which files of 6 bytes are read; they are all the same one of the server. */
function laneOf(port: number, { atOnce = 2, utf8 = false, idleTimeout = IDLE } = {}) {
  const data: LaneData = {
    target: { host: "127.0.0.1", port, user: "u", password: "p", extended: true, utf8 },
    root: "",
    times: true,
    oneByOne: new Int32Array(new SharedArrayBuffer(4)),
  };
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const lane = openLane({ idleTimeout, atOnce, mostUnlisted: 0 });
  return {
    lane,
    async read(count: number) {
      const files = Array.from({ length: count }, (_, index): FileEntry => {
        const path = `${index}.txt`;
        return { kind: "file", path, size: 6, mtime: TIME, fingerprint: `6-${TIME}` };
      });
      const got = new Map<number, string>();
      const failed = new Set<number>();
      const sink = {
        stopped: false,
        put: (index: number, content: Uint8Array) => void got.set(index, String(content)),
        failed: (index: number) => void failed.add(index),
        request: () => {},
      } as unknown as Sink;
      await lane.read({ files, data }, sink, stop.signal);
      return { got, failed, forgets: data.oneByOne[0] === 1 };
    },
  };
}

async function readByLane(
  script: Script,
  count = 3,
  inBytes = false,
  init: Parameters<typeof laneOf>[1] = {},
) {
  const { port, commands } = await startScripted(script, inBytes);
  return { ...(await laneOf(port, init).read(count)), commands };
}

const all = (count: number) =>
  new Map(Array.from({ length: count }, (_, index) => [index, "hello\n"]));

test.each([
  ["in one line each", {}],
  [
    "in several lines",
    { PASS: "230-welcome\r\n 226 no reply\r\n230 in", MDTM: "213 20260101000000.000" },
  ],
  ["with a wait at the beginning of each", { RETR: { data: ["h", "ello", "\n"] } }],
] satisfies [string, Script][])("replies %s", async (_, script) => {
  const { got, failed, commands } = await readByLane(script, 20);
  expect(got).toEqual(all(20));
  expect(failed.size).toBe(0);
  // Two connections, of which each says two commands of its own.
  expect(commands.filter((line) => line.startsWith("USER")).length).toBeLessThanOrEqual(2);
});

test("replies in packets of one byte", async () => {
  expect((await readByLane({}, 4, true)).got).toEqual(all(4));
});

const silence: Answer = { do() {} };

test.each([
  ["a file that is not there", { RETR: "550 no" }],
  ["more than is listed", { RETR: { data: "hello\n\n" } }],
  ["less than is listed", { RETR: { data: "hello" } }],
  ["another time", { MDTM: "213 20260101000001" }],
  ["no time", { MDTM: "550 no" }],
  [
    "a transfer that was cut",
    { RETR: { do: (control) => control.write("150 here\r\n426 cut\r\n") } },
  ],
  [
    "content without a last word",
    {
      RETR: {
        async do(control, data) {
          control.write("150 here\r\n");
          (await data).end("hello\n");
        },
      },
    },
  ],
  ["no word at all", { RETR: silence }],
  ["one command at a time", { EPSV: silence }],
  ["a wrong password", { PASS: "530 no" }],
  ["too many connections", { USER: "421 too many" }],
  ["no port", { EPSV: "229 somewhere" }],
  ["a reply without an end", { TYPE: { do: (control) => control.write("x".repeat(100_000)) } }],
] as [string, Script][])("%s is left", async (_, script) => {
  const { got } = await readByLane(script);
  expect(got.size).toBe(0);
});

test("what is forgotten after OPTS is not waited for as long as a server may be silent", async () => {
  const slow = { utf8: true, idleTimeout: 60_000 };
  const script = { TYPE: silence, EPSV: silence };
  const { port, commands } = await startScripted(script);
  const { read } = laneOf(port, slow);
  const { got, forgets } = await read(3);
  expect(got.size).toBe(0);
  expect(forgets).toBe(true);
  // What comes next is left at once.
  const before = commands.length;
  expect((await read(3)).got.size).toBe(0);
  expect(commands.length).toBe(before);
});

test("a server that forgets a second command, which no listing tells, gets no second lane", async () => {
  const { port } = await startScripted({ EPSV: silence });
  const opening = openSource(ftp(`ftp://u:p@127.0.0.1:${port}/`), { idleTimeout: IDLE });
  const { source, close } = await opening;
  onTestFinished(() => close());
  const { signal } = new AbortController();
  // It has found the directory by then.
  await expect(listAll(source)).rejects.toMatchObject({ code: "unavailable" });
  const spec = await source.lane?.(signal);
  const lane = openLane({ idleTimeout: IDLE, atOnce: 2, mostUnlisted: 0 });
  const entry: FileEntry = { kind: "file", path: "a.txt", size: 6, fingerprint: `6-${TIME}` };
  const sink = { stopped: false, put() {}, failed() {}, request() {} } as unknown as Sink;
  // As the thread gets it.
  await lane.read({ files: [entry], data: structuredClone(spec?.data) }, sink, signal);
  expect(spec).toBeDefined();
  expect(await source.lane?.(signal)).toBeUndefined();
});

test("a file that fails takes no other with it", async () => {
  const { got, failed } = await readByLane(
    { RETR: (path) => (path === "/1.txt" ? "550 no" : { data: "hello\n" }) },
    5,
    false,
    { atOnce: 1 },
  );
  expect([...got.keys()].toSorted()).toEqual([0, 2, 3, 4]);
  expect([...failed]).toEqual([1]);
});

test("makes do with the connections that the server takes", async () => {
  let users = 0;
  const { got } = await readByLane(
    { USER: () => (users++ < 1 ? "331 password" : "421 too many") },
    9,
  );
  expect(got).toEqual(all(9));
});

test("a connection that is refused, as others are not closed yet, is tried once more", async () => {
  let users = 0;
  const script: Script = { USER: () => (users++ < 2 ? "421 too many" : "331 password") };
  const { got, commands } = await readByLane(script, 9);
  expect(got).toEqual(all(9));
  expect(commands.filter((line) => line.startsWith("USER")).length).toBeLessThanOrEqual(4);
});

test("connections that a lane may not have any more are closed", async () => {
  const { port, commands, open } = await startScripted({});
  const { lane, read } = laneOf(port);
  await read(4);
  expect(open()).toBe(2);
  lane.allow?.(0);
  await expect.poll(open).toBe(0);
  expect(commands).toContain("EPSV");
});

test.each(["226 done", "550 no", "500 what?"])(
  "a reply too many, %s, moves no time to another file",
  async (stray) => {
    const names = Array.from({ length: 9 }, (_, index) => String(index));
    const { port } = await startScripted({
      FEAT: "211-F\r\n MDTM\r\n SIZE\r\n211 end",
      LIST: { data: names.map((name) => `-rw-r--r-- 1 u g 6 Jan 01 2026 ${name}\r\n`).join("") },
      MDTM: (path) => `${path === "/3" ? `${stray}\r\n` : ""}213 2026010100000${path.slice(1)}`,
    });
    const { source, close } = await openSource(ftp(`ftp://u:p@127.0.0.1:${port}/`));
    onTestFinished(() => close());
    await expect(listAll(source)).rejects.toMatchObject({ code: "unavailable", transient: true });
    expect(await source.lane?.(new AbortController().signal)).toBeUndefined();
  },
);

test("a server that takes one command at a time is listed one by one the second time", async () => {
  const FILES = 30;
  const lines = Array.from({ length: FILES }, (_, i) => `-rw-r--r-- 1 u g 6 Jan 01 2026 ${i}\r\n`);
  let isBusy = false;
  const { port } = await startScripted({
    FEAT: "211-F\r\n MDTM\r\n SIZE\r\n211 end",
    LIST: { data: lines.join("") },
    // It forgets what comes meanwhile.
    TYPE: { do: (control) => isBusy || control.write("200 ok\r\n") },
    MDTM: {
      async do(control) {
        if (isBusy) return;
        isBusy = true;
        await setTimeout(5);
        isBusy = false;
        control.write("213 20260101000000\r\n");
      },
    },
  });
  const { source, close } = await openSource(ftp(`ftp://u:p@127.0.0.1:${port}/`));
  onTestFinished(() => close());
  // The engine tries again.
  await expect(listAll(source)).rejects.toMatchObject({ code: "unavailable", transient: true });
  const listed = await listAll(source);
  expect(listed.paths.length).toBe(FILES);
  expect(listed.file("7").mtime).toBe(TIME);
  expect(await source.lane?.(new AbortController().signal)).toBeUndefined();
});
