/** What is made of libnfs's answers, where they are such that no server gives them at will. */
import { constants } from "node:fs";
import { expect, test } from "vitest";
import type { DirectoryEntry, Libnfs } from "../src/libnfs.ts";
import type { Item } from "../src/protocol.ts";
import { createSession, type Session } from "../src/session.ts";

const { S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG } = constants;

interface Answers {
  readonly entries?: readonly Pick<DirectoryEntry, "name" | "mode">[];
  /** The `mode` and `size` of a path. */
  readonly stat: (path: string) => { readonly mode: number; readonly size: number };
  readonly readlink?: (path: string) => string;
}

const nothing = () => {};

/** A connection of version 4 to a library that answers at once. */
function sessionOf(
  { entries = [], stat, readlink = () => "" }: Answers,
  others: Record<string, unknown> = {},
): Session {
  const ENOENT = 2;
  const left = [...entries];
  const call = (answer: (...args: never[]) => void) => ({
    async(...args: unknown[]) {
      const done = args.pop() as (error: null, value: number) => void;
      try {
        answer(...(args.slice(1) as never[]));
        done(null, 0);
      } catch {
        done(null, -ENOENT);
      }
    },
  });
  const libnfs = {
    ...Object.fromEntries(
      ["init", "parseUrl", "destroyUrl", "setClientName", "setAutoReconnect"].map((name) => [
        name,
        nothing,
      ]),
    ),
    setTimeout: nothing,
    setDirCache: nothing,
    closedir: nothing,
    error: () => "",
    opendir: call(nothing),
    readdir: () => {
      const entry = left.shift();
      return entry && { size: 0, mtime: 0, mtime_nsec: 0, ...entry };
    },
    lstat: call((path: string, found: object) =>
      Object.assign(found, { mtime: 0, mtime_nsec: 0, ...stat(path) }),
    ),
    readlink: call((path: string, buffer: Buffer) => void buffer.write(readlink(path))),
    getFd: () => -1,
    ...others,
  };
  return createSession(
    libnfs as unknown as Libnfs,
    { server: "127.0.0.1", version: 4, path: "/", idleTimeout: 1000, crossing: true },
    nothing,
  );
}

test("entries of which a directory tells no more than the name are looked at", async () => {
  const modes: Record<string, number> = {
    "/file": S_IFREG,
    "/sub": S_IFDIR,
    "/fifo": S_IFIFO,
    "/link": S_IFLNK,
  };
  const session = sessionOf({
    entries: ["file", "sub", "gone", "fifo", "link"].map((name) => ({ name, mode: 0 })),
    stat: (path) => {
      const mode = modes[path];
      if (mode === undefined) throw new Error("gone");
      return { mode, size: 6 };
    },
    readlink: () => "target",
  });
  const found: Item[] = [];
  await session.list("", 1000, (items) => found.push(...items));
  expect(found.map((item) => [item.name, item.kind, "target" in item && item.target])).toEqual([
    ["file", "file", false],
    ["sub", "directory", false],
    ["gone", "gone", false],
    ["fifo", "special", false],
    ["link", "symlink", "target"],
  ]);
});

test("a symlink that is gone when its target is read is told as gone", async () => {
  const session = sessionOf({
    entries: [{ name: "link", mode: S_IFLNK }],
    stat: () => ({ mode: S_IFLNK, size: 6 }),
    readlink: () => {
      throw new Error("gone");
    },
  });
  const found: Item[] = [];
  await session.list("", 1000, (items) => found.push(...items));
  expect(found).toEqual([{ name: "link", kind: "gone" }]);
});

test.each([
  ["a byte now and then", 1, true],
  ["a slow link", 70, false],
])("a call that gets %s", async (_, perSecond, ends) => {
  let received = 0;
  let end: (() => void) | undefined;
  const session = sessionOf(
    { stat: () => ({ mode: S_IFREG, size: 0 }) },
    {
      lstat: {
        async(...args: unknown[]) {
          const done = args.pop() as (error: null, value: number) => void;
          end = () => done(null, -5);
        },
      },
      getFd: () => 3,
      getsockopt(_fd: number, _level: number, _name: number, info: Uint8Array) {
        new DataView(info.buffer).setBigUint64(128, BigInt(received), true);
        return 0;
      },
      shutdown: () => end?.(),
    },
  );
  const asked = session.lstat("/a");
  const failed = asked.then(
    () => false,
    (error: { problem?: { step: string } }) => error.problem?.step,
  );
  const now = performance.now();
  for (let second = 1; second <= 20; second++) {
    received += perSecond;
    session.watch(now + second * 900);
  }
  expect(session.usable).toBe(!ends);
  if (!ends) end?.();
  expect(await failed).toBe(ends ? "silent" : "connection");
});

test.each(["longer than before", "short"])(
  "a symlink that was replaced since its size was told has its own target (%j)",
  async (target) => {
    const session = sessionOf({
      // What libnfs gives has no end.
      readlink: () => `${target}${"x".repeat(50)}`,
      stat: () => ({ mode: S_IFLNK, size: target.length }),
    });
    expect(await session.readlink("/link", "the target".length)).toBe(target);
  },
);
