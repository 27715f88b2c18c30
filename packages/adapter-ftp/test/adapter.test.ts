import { appendFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { type Credentials, type FileEntry, UsageError } from "@pannier/core";
import { parseList } from "basic-ftp";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { ftp } from "../src/index.ts";
import { lsParser, parseMlsdLine } from "../src/lines.ts";
import { textOf } from "../src/names.ts";
import { bytesOf } from "../src/path.ts";
import { parseTime } from "../src/time.ts";
import { type FtpServer, startFtpServer } from "./server.ts";
import { ownTime } from "../../../test/support/own-time.ts";

const PASSWORD = "secret of the test";
const CONTENT = Buffer.alloc(3 << 20, "0123456789abcdef");
const IDLE = 1000;
const parseLs = lsParser(parseList, "/here/");
let root = "";
let server: FtpServer;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "pannier-ftp-"));
  await mkdir(join(root, "sub"));
  await writeFile(join(root, "a"), "1");
  await writeFile(join(root, "large"), CONTENT);
  server = await startFtpServer({ password: PASSWORD, mlsd: true });
});

afterEach(async () => {
  await server.close();
  await rm(root, { recursive: true });
});

async function open(path = root, credentials: Credentials = { username: "u", password: PASSWORD }) {
  const url = `ftp://127.0.0.1:${server.port}${path}`;
  const opened = await openSource(ftp(url), { credentials, idleTimeout: IDLE });
  onTestFinished(() => opened.close());
  return opened.source;
}

test("makes do with as many connections as there may be, and looks for more after a while", async () => {
  for (let i = 0; i < 20; i++) await mkdir(join(root, `sub/${i}`));
  const source = await open();
  const logins = () => server.commands.filter((command) => command === "PASS").length;
  server.most = 1;
  await listAll(source);
  server.most = Infinity;
  await listAll(source);
  expect(logins()).toBe(1);
  const now = performance.now();
  vi.spyOn(performance, "now").mockImplementation(() => now + 60_000);
  onTestFinished(() => void vi.restoreAllMocks());
  await listAll(source);
  expect(logins()).toBeGreaterThan(1);
});

test("goes on with the connections that there are while further ones are slow to sign in", async () => {
  for (let i = 0; i < 20; i++) await mkdir(join(root, `sub/${i}`));
  const source = await open();
  const slow = Promise.withResolvers<void>();
  onTestFinished(() => slow.resolve());
  let logins = 0;
  server.onCommand = async (line) => {
    if (line.startsWith("PASS") && ++logins > 1) await slow.promise;
  };
  const took = ownTime();
  await listAll(source);
  expect(logins).toBeGreaterThan(1);
  expect(took()).toBeLessThan(IDLE);
});

test("beside lanes, one connection at most is kept when reads of this thread end", async () => {
  const { signal } = new AbortController();
  const source = await open();
  const large = (await listAll(source)).file("large");
  const go = Promise.withResolvers<void>();
  server.onCommand = async (line) => {
    if (line.startsWith("RETR")) await go.promise;
  };
  const reads = [1, 2, 3].map(() => readAll(source, large));
  await expect.poll(server.open).toBe(3);
  expect(await source.lane?.(signal)).toBeDefined();
  go.resolve();
  for (const content of await Promise.all(reads)) expect(CONTENT.equals(content)).toBe(true);
  await expect.poll(server.open).toBe(1);
});

test("a path with a line break becomes no command", async () => {
  const source = await open();
  const entry = (await listAll(source)).file("a");
  const before = server.commands.length;
  for (const path of ["a\r\nDELE a", "a\nDELE a", "a\rDELE a", "a\0b"]) {
    const changed: FileEntry = { ...entry, path };
    await expect(readAll(source, changed)).rejects.toMatchObject({ code: "invalid" });
    const ref = Buffer.from(path).toString("base64");
    await expect(readAll(source, { ...entry, ref })).rejects.toMatchObject({ code: "invalid" });
  }
  expect(server.commands.slice(before)).toEqual([]);
  await expect(open("/x%0D%0ADELE%20a/")).rejects.toThrow(UsageError);
  const injected = { username: "u\r\nDELE a", password: PASSWORD };
  await expect(listAll(await open(root, injected))).rejects.toMatchObject({ code: "invalid" });
});

test.each(["cut", "drop", "stall"] as const)(
  "data that is %s in the middle is an error, whatever the size; then all is well again",
  async (how) => {
    const source = await open();
    const listed = await listAll(source);
    for (const [path, after] of [
      ["large", 1_000_000],
      ["large", 0],
      ["a", 0],
    ] as const) {
      server.fault = { how, after };
      await expect(readAll(source, listed.file(path))).rejects.toMatchObject({
        code: "unavailable",
        transient: true,
      });
      server.fault = undefined;
      expect((await readAll(source, listed.file(path))).length).toBe(listed.file(path).size);
    }
  },
);

test("data that ends early is an error even where the server says that all went well", async () => {
  const source = await open();
  const listed = await listAll(source);
  server.fault = { how: "lie", after: 1_000_000 };
  await expect(readAll(source, listed.file("large"))).rejects.toMatchObject({
    name: "SourceError",
  });
});

test("a file that grows or is replaced while it is read is not taken", async () => {
  const source = await open();
  const listed = await listAll(source);
  for (const meanwhile of [
    () => appendFile(join(root, "large"), "more"),
    () => writeFile(join(root, "large"), CONTENT.subarray(1)),
  ]) {
    server.fault = { how: "meanwhile", after: 500_000, meanwhile };
    await expect(readAll(source, listed.file("large"))).rejects.toMatchObject({ code: "changed" });
  }
});

test("directories that are deleted while they are listed are left out, but not where all are gone", async () => {
  await mkdir(join(root, "sub/deep"));
  await writeFile(join(root, "sub/deep/b"), "2");
  const source = await open();
  let gone = "sub";
  server.onCommand = async (line) => {
    if (line.startsWith("CWD") && line.includes("deep"))
      await rm(join(root, gone), { recursive: true, force: true });
  };
  expect((await listAll(source)).paths).toEqual(["a", "large"]);
  await mkdir(join(root, "sub/deep"), { recursive: true });
  gone = "";
  await expect(listAll(source)).rejects.toMatchObject({ code: "not-found" });
  await mkdir(root);
});

test("a part is asked for by REST, and the connection is used again after it", async () => {
  const source = await open();
  const entry = (await listAll(source)).file("large");
  const part = await readAll(source, entry, { offset: 1_000_001, length: 300_000 });
  expect(part.equals(CONTENT.subarray(1_000_001, 1_300_001))).toBe(true);
  expect(server.commands).toContain("REST 1000001");
  const logins = server.commands.filter((command) => command === "PASS").length;
  await readAll(source, entry, { offset: 5, length: 10 });
  expect(server.commands.filter((command) => command === "PASS").length).toBe(logins);
});

test("says no at once to what cannot be", async () => {
  await expect(openSource(ftp("ftps://host/?tls=off"))).rejects.toThrow(UsageError);
  expect(() => ftp("ftp://host/?tls=yes")).toThrow(UsageError);
});

test("lines for programs: facts in any order and case, names with anything in them", () => {
  const lines = [
    "Type=cdir;Modify=20251123074500; .",
    "modify=20251123074500.250;SIZE=3;type=file;UNIX.mode=0640;  two blanks; and=more ",
    "type=dir;modify=20251123074500; sub",
    "type=OS.unix=slink:../x;size=4; link",
    "type=OS.unix=symlink;size=4; kept",
    "type=OS.unix=chr-13/29;size=4; device",
    "type=OS.unix=fifo; fifo",
    "size=5;modify=20251123074500; no type",
    "type=OS.unix=whiteout;size=5; not heard of",
    "type=file; no size",
  ];
  expect(lines.map(parseMlsdLine)).toMatchObject([
    undefined,
    {
      name: " two blanks; and=more ",
      kind: "file",
      size: 3,
      mode: 0o640,
      mtime: Date.UTC(2025, 10, 23, 7, 45) + 250,
    },
    { name: "sub", kind: "directory" },
    { name: "link", kind: "symlink", target: "../x" },
    { name: "kept", kind: "symlink", target: undefined },
    { name: "device", kind: "special" },
    { name: "fifo", kind: "special" },
    { name: "no type", kind: "unknown", size: 5 },
    { name: "not heard of", kind: "unknown" },
    { name: "no size", kind: "file", size: undefined },
  ] as never);
});

test("a line that cannot be read is an error, not one file less", () => {
  for (const text of [
    "no facts",
    "type=file;size=x; a",
    "type=file;size=-1; a",
    "type=file;size=1;",
  ]) {
    expect(() => parseMlsdLine(text), text).toThrow(/cannot be read/);
  }
  for (const text of [
    "lines",
    "-rw-r--r-- 1 ftp ftp 1 Nov 23",
    "drwxr-xr-x 1 ftp",
    "    continued by VMS",
    "a=b;c=d; name",
    "totally.txt",
    "report 8",
    "A.TXT;1              1/2          1-JAN-2026 10:20:00  [U,G]  (RWED,RWED,RE,)",
    "WYOSPT 3420   2026/01/01  1    1  FB     128  6144  PS  A.TXT",
    "\0",
  ]) {
    expect(() => parseLs(text), text).toThrow(`cannot be read: ${JSON.stringify(text)}`);
  }
  expect(parseLs("-rw-r----- 1 0 0 5 Nov 23 07:45  a b")).toMatchObject({
    name: " a b",
    kind: "file",
    size: 5,
    mode: 0o640,
    mtime: undefined,
  });
});

describe("lines for people, as servers write them", () => {
  const FILE = { name: "a.txt", kind: "file", size: 6 };
  test.each([
    ["-rw-r--r--   1 u g 6 Jan 01  2026 a.txt", FILE],
    ["01-01-26  10:20AM                    6 a.txt", FILE],
    ["01-01-2026  10:20AM                    6 a.txt", FILE],
    ["2026-01-01  10:20                    6 a.txt", FILE],
    ["01-01-26  10:20AM       <DIR>          d", { name: "d", kind: "directory" }],
    ["-rw-r--r--    1 1000       1000            6 Jan  1 10:20 a.txt", FILE],
    ["-rw-r--r--+   1 u g 6 Jan 01  2026 a.txt", { ...FILE, mode: 0o644 }],
    ["-rw-r--r--.   1 u g 6 Jan 01  2026 a.txt", { ...FILE, mode: 0o644 }],
    ["-rw-r--r--@   1 u g 6 Jan 01  2026 a.txt", FILE],
    [bytesOf("-rw-r--r--   1 u g 6 Mär 01  2026 a.txt"), { ...FILE, mode: 0o644 }],
    ["-rw-r--r--   1 u g 6 M\xe4r 01  2026 a.txt", FILE],
    ["-rw-r--r--   1 u g 6 1. Jan 2026 a.txt", FILE],
    [bytesOf("-rwxr-x--T   1 u g 6  1 févr. 10:20 a.txt"), { ...FILE, mode: 0o750 }],
    [bytesOf("-rw-r--r--   1 u g 6 янв  1  2026 a.txt"), FILE],
    ["-rw-r--r--   1 u g 6 2026-01-01 10:20 a.txt", FILE],
    ["-rw-r--r--   1 u g 6 2026-01-01 10:20:30.123456789 +0100 a.txt", FILE],
    ["-rw-r--r--   1 u g 6 01.02.2026 10:20 a.txt", FILE],
    [bytesOf("-rw-r--r--   1 u g 6  1月  1 10:20 a.txt"), FILE],
    [bytesOf("-rw-r--r--   1 u g 6  1月  1日 10:20 a.txt"), FILE],
    [bytesOf("-rw-r--r--   1 u g 6  1월  1일 2026년 a.txt"), FILE],
    ["-rw-r--r--   1 u g 6 Jan 01  2026  lead.txt", { ...FILE, name: " lead.txt" }],
    ["-rw-r--r--   1 u g 6 Jan 01  2026 a  b.txt", { ...FILE, name: "a  b.txt" }],
    ["-rw-r--r--   1 DOM\\user name  DOM\\Domain Users 6 Jan 01  2026 a.txt", FILE],
    ["-rw-r--r--   1 u 6 Jan 01  2026 a.txt", FILE],
    ["-rw-r--r--   1 u g 6 Jan 01 10:20:30 2026 a.txt", FILE],
    ["----------   1 owner    group               6 Jan 01  2026 a.txt", { ...FILE, mode: 0 }],
    ["-rw-r--r-- 1 u g 6 Jan 01  2026 /here/a.txt", FILE],
    ["d [R----F--] u                 512 Jan 01  2026 d", { name: "d", kind: "directory" }],
    ["- [R----F--] u                 6 Jan 01  2026 a.txt", FILE],
    ["QSYS       6 01/01/26 10:20:00 *STMF      a.txt", FILE],
    ["QSYS       6 01/01/26 10:20:00 *DIR       d/", { name: "d", kind: "directory" }],
    ["+i8388621.29609,m824255902,r,s6,\ta.txt", { ...FILE, written: "824255902" }],
    ["+i8388621.44468,m839956783,/,\td", { name: "d", kind: "directory" }],
    ["drwxr-xr-x   2 u g Jan 01  2026 d", { name: "d", kind: "directory" }],
    [bytesOf("drwxr-xr-x   2 u g Mär 01  2026 d"), { name: "d", kind: "directory" }],
    ["lrwxrwxrwx 1 u g 1 Jan 01  2026 a -> b", { name: "a", kind: "symlink", target: "b" }],
    ["lrwxrwxrwx 1 u g 1 Jan 01  2026 a -> b -> c", { name: "a -> b", target: "c" }],
    ["lrwxrwxrwx 1 u g 6 Jan 01  2026 a -> b -> c", { name: "a", target: "b -> c" }],
    ["crw-rw-rw- 1 root root 1, 3 Jan 01  2026 null", { name: "null", kind: "special" }],
    [bytesOf("brw-rw-rw- 1 root root 8, 1 Mär 01  2026 sda"), { name: "sda", kind: "special" }],
    ["prw-r--r-- 1 u g 0 Jan 01  2026 fifo", { name: "fifo", kind: "special" }],
    ["srw-r--r-- 1 u g 0 Jan 01  2026 socket", { name: "socket", kind: "special" }],
    ["wrw-r--r-- 1 u g 0 Jan 01  2026 whiteout", { name: "whiteout", kind: "unknown" }],
  ])("%s", (line, expected) => {
    expect(parseLs(line)).toMatchObject(expected);
  });

  test.each([
    "total 8",
    "total 8 blocks",
    "total 8.0K",
    "insgesamt 8",
    bytesOf("总用量 8"),
    bytesOf("итого 8"),
    "drwxr-xr-x   2 u g 0 Jan 01  2026 .",
    bytesOf("drwxr-xr-x   2 u g 0 Mär 01  2026 .."),
    "",
  ])("%s stands for nothing", (line) => {
    expect(parseLs(line)).toBeUndefined();
  });

  test("none takes long, whatever it is made of", () => {
    const took = ownTime();
    for (const part of [" ", "1", "1 ", "a ", "1 a ", "\xe4", "1, ", "\xe4 1 "]) {
      for (const head of ["", "-", "-rw-r--r-- ", "-rw-r--r-- 1 a b 1 ", "- [R----F--] ", "+"]) {
        try {
          parseLs(head + part.repeat(16_384 / part.length));
        } catch {
          // Most cannot be read.
        }
      }
    }
    expect(took()).toBeLessThan(1000);
  });
});

test("times, and names of whatever bytes", () => {
  expect(parseTime("20251123074501")).toBe(Date.UTC(2025, 10, 23, 7, 45, 1));
  expect(parseTime("yesterday")).toBeUndefined();
  for (const name of ["a", "é", "日本"]) expect(textOf(bytesOf(name))).toBe(name);
  expect(textOf("caf\u00e9")).toBe("café");
});
