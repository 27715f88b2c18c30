/** What a lane of SFTP hands over, and what it leaves to the source. */
import { setTimeout as sleep } from "node:timers/promises";
import { openSource } from "@pannier/adapter-kit";
import type { FileEntry, Sink } from "@pannier/core/adapter";
import { expect, onTestFinished, test } from "vitest";
import { sftp } from "../src/index.ts";
import { type LaneData, openLane } from "../src/sftp-lane.ts";
import {
  type Answers,
  attrs,
  handle,
  packet,
  startRaw,
  status,
  textOf,
  uint32,
} from "./raw-server.ts";
import { ownTime } from "../../../test/support/own-time.ts";

const IDLE = 600;
const TIME = 1_700_000_000;
const TOLD = { size: 6, mode: 0o100644, mtime: TIME };
const [OK, END, MISSING] = [0, 1, 2];
const data = (id: number, content: string | Buffer) => packet(103, id, textOf(content));

const GOOD: Answers = {
  open: ({ id, path }) => packet(102, id, textOf(path)),
  read: ({ id }) => data(id, "hello\n"),
  fstat: ({ id }) => attrs(id, TOLD),
};

interface Options {
  readonly count?: number;
  readonly size?: number;
  readonly readSize?: number;
  readonly change?: (data: LaneData) => LaneData;
  readonly rounds?: number;
  readonly takes?: (connection: number) => boolean;
  readonly stop?: AbortController;
}

/** Reads files of 6 bytes by a lane, so many in each round. */
async function readByLane(
  answers: Answers,
  {
    count = 3,
    size = 6,
    readSize,
    change = (given) => given,
    rounds = 1,
    takes,
    stop = new AbortController(),
  }: Options = {},
) {
  const asked: string[] = [];
  const watched = Object.fromEntries(
    ["open", "read", "fstat", "close"].map((name): [string, Answers[string]] => [
      name,
      (request) => {
        asked.push(`${name} ${request.path}`);
        return (answers[name] ?? (({ id }) => status(id, OK)))(request);
      },
    ]),
  );
  const { url, open } = await startRaw({ ...answers, ...watched }, takes);
  const { source, close } = await openSource(sftp(url), { idleTimeout: 5000 });
  onTestFinished(() => close());
  onTestFinished(() => stop.abort());
  await source.list(stop.signal);
  const given = (await source.lane?.(stop.signal))?.data as LaneData;
  const laneData = change(
    structuredClone({ ...given, ...(readSize !== undefined && { readSize }) }),
  );
  const files = Array.from({ length: count }, (_, index): FileEntry => {
    const path = `${index}.txt`;
    return { kind: "file", path, size, mtime: TIME * 1000, fingerprint: `${size}-${TIME}` };
  });
  const got = new Map<number, string>();
  const failed = new Set<number>();
  const sink = {
    stopped: false,
    put: (index: number, content: Uint8Array) => void got.set(index, String(content)),
    failed: (index: number) => void failed.add(index),
    request: () => {},
  } as unknown as Sink;
  const lane = openLane({ idleTimeout: IDLE, atOnce: 4, mostUnlisted: 0 });
  for (let round = 0; round < rounds; round++)
    await lane.read({ files, data: laneData }, sink, stop.signal);
  return { got, failed, asked, open };
}

const all = (count: number) =>
  new Map(Array.from({ length: count }, (_, index) => [index, "hello\n"]));

test("files are opened, read, looked at and closed, each once", async () => {
  const { got, failed, asked } = await readByLane(GOOD, { count: 20 });
  expect(got).toEqual(all(20));
  expect(failed.size).toBe(0);
  expect(asked.toSorted()).toEqual(
    Array.from({ length: 20 }, (_, index) =>
      ["open", "read", "fstat", "close"].map((name) => `${name} /top/${index}.txt`),
    )
      .flat()
      .toSorted(),
  );
});

test("an empty file is looked at, and not read", async () => {
  const { got, asked } = await readByLane(
    { ...GOOD, fstat: ({ id }) => attrs(id, { ...TOLD, size: 0 }) },
    { size: 0 },
  );
  expect([...got.values()]).toEqual(["", "", ""]);
  expect(asked.filter((line) => line.startsWith("read"))).toEqual([]);
});

test("answers byte by byte, and out of order", async () => {
  const inBytes: Answers = Object.fromEntries(
    Object.entries(GOOD).map(([name, answer]) => [
      name,
      (request) => {
        for (const byte of answer(request) as Buffer) request.channel.write(Buffer.from([byte]));
        return undefined;
      },
    ]),
  );
  expect((await readByLane(inBytes)).got).toEqual(all(3));
  const turned: Answers = {
    ...GOOD,
    read: () => undefined,
    fstat: () => undefined,
    // By their numbers: READ, FSTAT and CLOSE of one file come one after the other.
    close: ({ id }) =>
      Buffer.concat([status(id, OK), attrs(id - 1, TOLD), data(id - 2, "hello\n")]),
  };
  expect((await readByLane(turned, { count: 1 })).got).toEqual(all(1));
});

test("a file of several reads is put together, and left where one of them is short", async () => {
  const text = "hello\n";
  let at = 0;
  const part: Answers["read"] = ({ id }) => data(id, text.slice(at, (at += 2)));
  expect((await readByLane({ ...GOOD, read: part }, { count: 1, readSize: 2 })).got).toEqual(
    all(1),
  );
  at = 0;
  const short: Answers["read"] = ({ id }) =>
    data(id, text.slice(at, (at += 2) - (at === 4 ? 1 : 0)));
  const { got, failed } = await readByLane({ ...GOOD, read: short }, { count: 1, readSize: 2 });
  expect(got.size).toBe(0);
  expect(failed.size).toBe(1);
});

test.each<[string, Answers]>([
  ["a file that is not there", { open: ({ id }) => status(id, MISSING) }],
  ["less than is listed", { read: ({ id }) => data(id, "hello") }],
  ["more than was asked for", { read: ({ id }) => data(id, "hello\n\n") }],
  ["the end of the file", { read: ({ id }) => status(id, END) }],
  ["another size", { fstat: ({ id }) => attrs(id, { ...TOLD, size: 7 }) }],
  ["another time", { fstat: ({ id }) => attrs(id, { ...TOLD, mtime: TIME + 1 }) }],
  ["what is a directory by now", { fstat: ({ id }) => attrs(id, { ...TOLD, mode: 0o040755 }) }],
  ["what is not looked at", { fstat: ({ id }) => status(id, MISSING) }],
  ["an answer to nothing", { open: ({ id }) => handle(id + 1000) }],
  ["two answers to one", { read: ({ id }) => Buffer.concat([data(id, "hello\n"), data(id, "")]) }],
  ["another kind of answer", { open: ({ id }) => data(id, "h") }],
  ["attributes for content", { read: ({ id }) => attrs(id, TOLD) }],
  ["content for attributes", { fstat: ({ id }) => data(id, "hello\n") }],
  ["a handle for a status", { close: ({ id }) => handle(id) }],
  ["content that goes beyond its packet", { read: ({ id }) => packet(103, id, uint32(6)) }],
  ["attributes that go beyond theirs", { fstat: ({ id }) => packet(105, id, uint32(15)) }],
  ["a handle that goes beyond its own", { open: ({ id }) => packet(102, id, uint32(9)) }],
  ["a packet that is too long", { read: ({ id }) => packet(103, id, Buffer.alloc(0), 2 ** 31) }],
  ["a packet that is too short", { read: ({ id }) => packet(103, id, Buffer.alloc(0), 3) }],
  ["silence", { fstat: () => undefined }],
  [
    "a connection that ends",
    {
      read({ channel }) {
        channel.end();
        return undefined;
      },
    },
  ],
])("%s is left", async (_, answers) => {
  const { got, failed } = await readByLane({ ...GOOD, ...answers });
  expect(got.size).toBe(0);
  expect(failed.size).toBeGreaterThan(0);
});

test("an answer that comes byte by byte, and never whole, is waited for so long and no longer", async () => {
  let asked = 0;
  const { got, failed } = await readByLane(
    {
      ...GOOD,
      open({ channel }) {
        asked = performance.now();
        // Of a packet that may well be: what ends it is the clock.
        channel.write(uint32(1000));
        const timer = setInterval(() => channel.write(Buffer.from([0])), 100);
        onTestFinished(() => clearInterval(timer));
        return undefined;
      },
    },
    { count: 1 },
  );
  expect(performance.now() - asked).toBeGreaterThan(1.5 * IDLE);
  expect(got.size).toBe(0);
  expect(failed.size).toBe(1);
});

test("a file that fails takes no other with it", async () => {
  const { got, failed } = await readByLane(
    {
      ...GOOD,
      open: ({ id, path }) =>
        path.endsWith("/1.txt") ? status(id, MISSING) : packet(102, id, textOf(path)),
    },
    { count: 5 },
  );
  expect([...got.keys()].toSorted()).toEqual([0, 2, 3, 4]);
  expect([...failed]).toEqual([1]);
});

test("after a lost connection, the next batch has a new one", async () => {
  let opened = 0;
  const { got } = await readByLane(
    {
      ...GOOD,
      open(request) {
        if (opened++ < 3) return handle(request.id + 1000);
        return packet(102, request.id, textOf(request.path));
      },
    },
    { rounds: 2 },
  );
  expect(got).toEqual(all(3));
});

test("a connection that is refused is tried once more, and not for ever", async () => {
  const once = await readByLane(GOOD, { takes: (connection) => connection !== 2 });
  expect(once.got).toEqual(all(3));
  let connections = 0;
  // The first is the source's own.
  const takes = (connection: number) => (connections = connection) === 1;
  const never = await readByLane(GOOD, { takes, rounds: 3 });
  expect(never.got.size).toBe(0);
  expect(connections).toBe(3);
});

test.each(["while it connects", "after a refusal", "while files are under way"])(
  "an abort %s ends the batch at once, and leaves nothing open",
  async (when) => {
    const stop = new AbortController();
    let sinceAbort: (() => number) | undefined;
    let last = 0;
    function abort(): void {
      sinceAbort ??= ownTime();
      stop.abort();
    }
    const { open } = await readByLane(
      {
        ...GOOD,
        fstat() {
          abort();
          return undefined;
        },
      },
      {
        count: 20,
        stop,
        takes(connection) {
          last = connection;
          if (connection === 2 && when === "while it connects") abort();
          if (connection === 2 && when === "after a refusal") setTimeout(abort, 200);
          return connection !== 2 || when !== "after a refusal";
        },
      },
    );
    // Sooner than by the clock, or by another try.
    expect(sinceAbort?.()).toBeLessThan(250);
    await sleep(400);
    expect(last).toBe(2);
    // The source's own stays.
    await expect.poll(open).toBe(1);
  },
);

test("nothing is asked of a server with another host key", async () => {
  const { got, asked } = await readByLane(GOOD, {
    rounds: 2,
    change: (given) => ({
      ...given,
      signIn: {
        ...given.signIn,
        trust: { ...given.signIn.trust, pinned: [`SHA256:${"A".repeat(43)}`] },
      },
    }),
  });
  expect(got.size).toBe(0);
  expect(asked).toEqual([]);
});
