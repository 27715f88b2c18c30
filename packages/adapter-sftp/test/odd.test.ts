/** Servers that tell less than others, and servers that never end or lie. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { sync } from "@pannier/core";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { sftp } from "../src/index.ts";
import {
  type Answers,
  attrs,
  handle,
  names,
  packet,
  type Sent,
  startRaw,
  textOf,
  status,
  uint32,
} from "./raw-server.ts";

const [END, MISSING, FAILURE] = [1, 2, 4];
const IDLE = 1000;

async function open(answers: Answers) {
  const { url } = await startRaw(answers);
  const opened = await openSource(sftp(url), { idleTimeout: IDLE });
  onTestFinished(() => opened.close());
  return opened;
}

/** A directory with one name, of which that much is told. */
function listing(name: string, sent: Sent, long = ""): Answers {
  let pages = 0;
  return {
    opendir: ({ id, path }) => {
      if (!path.endsWith("top")) return status(id, FAILURE);
      pages = 0;
      return handle(id);
    },
    readdir: ({ id }) => (pages++ === 0 ? names(id, [{ name, long, sent }]) : status(id, END)),
    lstat: ({ id }) => attrs(id, sent),
    fstat: ({ id }) => attrs(id, sent),
    readlink: ({ id }) => status(id, FAILURE),
    read: ({ id }) => packet(103, id, Buffer.from("\0\0\0\x06hello\n")),
  };
}

describe("a kind that is not told", () => {
  const FILE = { size: 6, mtime: 1_700_000_000 };

  test.each<[string, Sent, string, Answers]>([
    [
      "without permissions: by the attributes alone",
      FILE,
      "",
      { lstat: ({ id }) => attrs(id, { ...FILE, mode: 0o100644 }) },
    ],
    [
      "without the type's bits",
      { ...FILE, mode: 0o644 },
      "",
      { lstat: ({ id }) => attrs(id, { ...FILE, mode: 0o100644 }) },
    ],
    ["by the long name", FILE, "-rw-r--r-- 1 u g 6 Jan 1 2026 a", {}],
    ["of a type that nobody knows", { ...FILE, mode: 0o170644 }, "", {}],
    ["by what can be done with it", FILE, "", {}],
    [
      "without a size",
      { mode: 0o100644, mtime: FILE.mtime },
      "",
      { lstat: ({ id }) => attrs(id, { ...FILE, mode: 0o100644 }) },
    ],
    ["without a time", { size: 6, mode: 0o100644 }, "", {}],
  ])("a file %s", async (_, sent, long, more) => {
    const { source, warnings } = await open({ ...listing("a", sent, long), ...more });
    const listed = await listAll(source);
    expect(listed.paths).toEqual(["a"]);
    expect(String(await readAll(source, listed.file("a")))).toBe("hello\n");
    expect(warnings).toEqual([]);
  });

  test("a directory, a symlink", async () => {
    for (const [sent, long] of [
      [{ mode: 0o755 }, "drwxr-xr-x 1 u g 6 Jan 1 2026 d"],
      [{}, ""],
    ] as const) {
      const answers = listing("d", sent, long);
      const { source } = await open({ ...answers, opendir: ({ id }) => handle(id) });
      expect((await listAll(source)).paths).toEqual([]);
    }
    const { source } = await open({
      ...listing("l", {}),
      readlink: ({ id }) => names(id, [{ name: "target" }]),
    });
    expect([...(await listAll(source)).entries.values()]).toMatchObject([
      { kind: "symlink", path: "l", target: "target" },
    ]);
  });

  test("what nobody tells fails, and is named; what is gone is gone", async () => {
    const { source } = await open({ ...listing("a", {}), open: ({ id }) => status(id, FAILURE) });
    await expect(listAll(source)).rejects.toMatchObject({
      code: "invalid",
      message: 'the server does not tell what "a" is',
    });
    const missing: Answers = { ...listing("a", {}), lstat: ({ id }) => status(id, MISSING) };
    const { source: stubborn } = await open(missing);
    await expect(listAll(stubborn)).rejects.toMatchObject({
      code: "changed",
      message: 'the server lists "a", and says that it does not exist',
    });
    let looks = 0;
    const { source: changed } = await open({
      ...missing,
      readdir: ({ id }) => (looks++ === 0 ? names(id, [{ name: "a", sent: {} }]) : status(id, END)),
    });
    expect((await listAll(changed)).paths).toEqual([]);
  });

  test("a page of itself only is not the end", async () => {
    const pages = [".", "..", "a", "b"];
    const { source } = await open({
      readdir: ({ id }) => {
        const name = pages.shift();
        return name === undefined
          ? status(id, END)
          : names(id, [{ name, sent: { size: 6, mode: 0o100644, mtime: 1 } }]);
      },
    });
    expect((await listAll(source)).paths).toEqual(["a", "b"]);
  });

  test("a symlink that is there, and whose target is not told", async () => {
    for (const readlink of [
      ({ id }: { id: number }) => status(id, MISSING),
      ({ id }: { id: number }) => names(id, []),
    ]) {
      const { source } = await open({ ...listing("l", { mode: 0o120777 }), readlink });
      await expect(listAll(source)).rejects.toMatchObject({
        code: "invalid",
        message: expect.stringMatching(/symlink "l" leads to$|cannot be understood/),
      });
    }
  });

  test("only what the server calls a FIFO, a socket or a device is left out", async () => {
    for (const mode of [0o010644, 0o140644, 0o020644, 0o060644]) {
      const { source, warnings } = await open(listing("s", { mode }));
      expect((await listAll(source)).paths).toEqual([]);
      expect(warnings).toEqual(['left out a FIFO, a socket or a device: "s"']);
    }
  });
});

function page(id: number, name: string, sent: Sent, count = 1000): Buffer {
  return names(
    id,
    Array.from({ length: count }, () => ({ name, sent })),
  );
}

describe("a server without an end", () => {
  test.each<[string, Answers["readdir"] & {}, RegExp]>([
    [
      "pages of files",
      ({ id }) => page(id, "a", { size: 1, mode: 0o100644, mtime: 1 }),
      /more than 400,000 names/,
    ],
    ["pages of itself", ({ id }) => page(id, ".", { mode: 0o040755 }), /more than 400,000 names/],
    ["pages of devices", ({ id }) => page(id, "a", { mode: 0o020644 }), /more than 400,000 names/],
    [
      "long names",
      ({ id }) => page(id, "x".repeat(200_000), { mode: 0o100644, size: 1, mtime: 1 }, 1),
      /more than 400,000 names/,
    ],
    ["empty pages", ({ id }) => names(id, []), /lists nothing, again and again/],
  ])("%s", async (_, readdir, message) => {
    const { source } = await open({ readdir });
    await expect(listAll(source)).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringMatching(message),
    });
  });

  test("directories in directories", async () => {
    const listed = new Set<string>();
    const { source } = await open({
      opendir: ({ id, path }) => packet(102, id, textOf(path)),
      readdir: ({ id, path }) => {
        if (listed.has(path)) return status(id, END);
        listed.add(path);
        return page(id, "loop-of-directories", { mode: 0o040755 }, 1);
      },
    });
    await expect(listAll(source)).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringMatching(/path is longer than 4,096 bytes/),
    });
  });

  test("byte by byte", async () => {
    let now = performance.now();
    vi.spyOn(performance, "now").mockImplementation(() => (now += 5000));
    onTestFinished(() => void vi.restoreAllMocks());
    let begun = false;
    const { source } = await open({
      readdir: ({ id, channel }) => {
        if (begun) return undefined;
        begun = true;
        void (async () => {
          for (const byte of names(id, [{ name: "x".repeat(100_000) }])) {
            channel.write(Buffer.from([byte]));
            await turn();
          }
        })();
        return undefined;
      },
    });
    await expect(listAll(source)).rejects.toMatchObject({
      code: "unavailable",
      transient: false,
      message: expect.stringMatching(/is too slow: \d+ bytes came in/),
    });
  });
});

describe("packets that lie", () => {
  const body = Buffer.from("\0\0\0\x01\0\0\0\x01a\0\0\0\0\0\0\0\0", "latin1");
  test.each<[string, (id: number) => Buffer]>([
    ["a length of nothing", (id) => packet(104, id, body, 0)],
    ["a length of 4 GiB", (id) => packet(104, id, body, 0xffff_ffff)],
    ["a length of 2 GiB", (id) => packet(104, id, body, 0x8000_0000)],
    ["a length of 1 GiB", (id) => packet(104, id, body, 0x4000_0000)],
    [
      "more names than there are",
      (id) => packet(104, id, Buffer.from("\xff\xff\xff\xff\0\0\0\x01a", "latin1")),
    ],
    [
      "a name longer than the packet",
      (id) => packet(104, id, Buffer.from("\0\0\0\x01\xff\xff\xff\xffa", "latin1")),
    ],
    ["a type that is none", (id) => packet(250, id, body)],
    ["an answer to what was not asked", (id) => packet(104, id + 1000, body)],
    ["an answer of another kind", (id) => packet(103, id, Buffer.from("\0\0\0\x01a", "latin1"))],
    ["attributes where names belong", (id) => attrs(id, { size: 1 })],
    ["a handle where names belong", (id) => handle(id)],
    ["garbage", () => Buffer.alloc(100_000, 0x5a)],
    [
      "no extended data",
      (id) =>
        packet(
          104,
          id,
          Buffer.from("\0\0\0\x01\0\0\0\x01a\0\0\0\0\x80\0\0\0\xff\xff\xff\xff", "latin1"),
        ),
    ],
  ])("%s", async (_, readdir) => {
    const { source } = await open({ readdir: ({ id }) => readdir(id) });
    await expect(listAll(source)).rejects.toMatchObject({ name: "SourceError" });
  });
});

function data(id: number, bytes: Buffer, told = bytes.length): Buffer {
  return packet(103, id, Buffer.concat([uint32(told), bytes]));
}

describe("content that lies", () => {
  const SENT = { size: 6, mode: 0o100644, mtime: 1_700_000_000 };

  test.each<[string, (id: number) => Buffer]>([
    ["nothing, again and again", (id) => data(id, Buffer.alloc(0))],
    ["more than the packet holds", (id) => data(id, Buffer.from("hello\n"), 2 ** 31)],
    ["the end before the end", (id) => status(id, END)],
    ["a handle in its place", (id) => handle(id)],
  ])("%s", async (_, read) => {
    let asked = 0;
    const { url } = await startRaw({
      ...listing("a", SENT),
      open: ({ id }) => handle(id),
      read({ id }) {
        asked++;
        return read(id);
      },
    });
    const target = mkdtempSync(join(tmpdir(), "pannier-sftp-"));
    onTestFinished(() => rmSync(target, { recursive: true, force: true }));
    const syncing = sync({ sources: [sftp(url)], target, idleTimeout: IDLE });
    await expect(syncing).rejects.toMatchObject({ code: expect.any(String) });
    expect(existsSync(join(target, "current"))).toBe(false);
    expect(asked).toBeLessThan(100);
  });

  test("more than was asked for: what was asked for is taken, and no more", async () => {
    const { source } = await open({
      ...listing("a", SENT),
      open: ({ id }) => handle(id),
      read: ({ id }) => data(id, Buffer.alloc(200_000, "x")),
    });
    const listed = await listAll(source);
    expect(String(await readAll(source, listed.file("a"), { offset: 0, length: 4 }))).toBe("xxxx");
  });
});
