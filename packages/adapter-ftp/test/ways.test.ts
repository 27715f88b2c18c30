/** Servers that do not know, or do not do, what others do: the second way is tried, and the first one not again. */
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { describe, expect, onTestFinished, test } from "vitest";
import { ftp } from "../src/index.ts";
import { type Script, startScripted } from "./scripted-server.ts";

const OLD = { FEAT: "211-F\r\n MDTM\r\n SIZE\r\n REST STREAM\r\n211 end" };

async function open(script: Script, path = "/", inBytes = false) {
  const server = await startScripted(script, inBytes);
  const opened = await openSource(ftp(`ftp://u:p@127.0.0.1:${server.port}${path}`));
  onTestFinished(() => opened.close());
  const count = (command: string) =>
    server.commands.filter((line) => line === command || line.startsWith(`${command} `)).length;
  return { ...opened, ...server, count };
}

async function contentsOf(source: Awaited<ReturnType<typeof open>>["source"]) {
  const listed = await listAll(source);
  const found: Record<string, string> = {};
  for (const path of listed.paths) found[path] = String(await readAll(source, listed.file(path)));
  return found;
}

describe("what a server does not know is done another way, and not asked twice", () => {
  test.each([
    ["MLSD", "500 what?", 1],
    ["MLSD", "502 not implemented", 1],
    ["MLSD", "504 not for that", 1],
    ["MLSD", "501 no arguments", 1],
    ["EPSV", "500 what?", 1],
    ["EPSV", "522 no such family", 1],
    ["EPSV", "229 somewhere", 1],
    ["MDTM", "500 what?", 1],
    ["MDTM", "502 not implemented", 1],
    ["SIZE", "502 not implemented", 1],
    ["SIZE", "500 what?", 1],
    ["OPTS", "501 what?", 30],
    ["FEAT", "500 what?", 30],
    ["FEAT", "502 what?", 30],
    ["PWD", "502 what?", 30],
  ])("%s: %s", async (command, reply, most) => {
    const XPWD = '257 "/"';
    const { source, count } = await open({ XPWD, [command]: reply });
    for (let time = 0; time < 3; time++) {
      expect(await contentsOf(source)).toEqual({ "a.txt": "hello\n" });
    }
    expect(count(command)).toBeLessThanOrEqual(most);
  });

  test.each(["500 what?", "501 what?", "502 what?", "550 what?"])("LIST -a: %s", async (reply) => {
    const { source, count } = await open({ ...OLD, "LIST -a": reply });
    for (let time = 0; time < 3; time++) {
      expect(await contentsOf(source)).toEqual({ "a.txt": "hello\n" });
    }
    expect(count("LIST -a")).toBe(1);
  });

  test("LIST -a that is taken for a name, or answered by ls with a complaint", async () => {
    for (const data of ["", "ls: -a: No such file or directory\r\n"]) {
      const { source } = await open({ ...OLD, "LIST -a": { data } });
      expect(await contentsOf(source)).toEqual({ "a.txt": "hello\n" });
    }
  });

  test("REST: the beginning is read and left", async () => {
    for (const reply of ["500 what?", "501 no", "502 not implemented", "550 no"]) {
      const { source, count } = await open({ REST: reply });
      const entry = (await listAll(source)).file("a.txt");
      for (let time = 0; time < 2; time++) {
        expect(String(await readAll(source, entry, { offset: 2, length: 3 }))).toBe("llo");
      }
      expect(count("REST")).toBe(1);
    }
  });
});

test("lines that end with LF only are lines", async () => {
  for (const end of ["\n", "\r\n"]) {
    const facts = ["a.txt", "b.txt"].map(
      (name) => `type=file;size=6;modify=20260101000000; ${name}${end}`,
    );
    const { source } = await open({ MLSD: { data: facts.join("") } });
    expect((await listAll(source)).paths).toEqual(["a.txt", "b.txt"]);
    // However they come, and the last one without an end.
    const { source: other } = await open({ MLSD: { data: facts.join("").slice(0, -end.length) } });
    expect((await listAll(other)).paths).toEqual(["a.txt", "b.txt"]);
  }
});

test("an empty directory may be told of by a refusal", async () => {
  for (const reply of ["550 No files found", "450 No data sets found.", "550 Directory is empty"]) {
    const { source } = await open({ ...OLD, "LIST -a": "550 no", LIST: reply });
    expect((await listAll(source)).paths).toEqual([]);
  }
  const { source } = await open({ ...OLD, LIST: "550 No such file or directory" });
  await expect(listAll(source)).rejects.toMatchObject({ code: "not-found" });
});

test("one file of a server without FEAT", async () => {
  const { source } = await open({ FEAT: "502 no" }, "/a.txt");
  expect(await contentsOf(source)).toEqual({ "a.txt": "hello\n" });
});

/** A directory with one name. */
function one(facts: string, name = "a.txt"): Script {
  return { MLSD: { data: `${facts} ${name}\r\n` } };
}

describe("what the server does not tell of an entry is asked for", () => {
  test("a kind: by MLST, by entering it, by its size", async () => {
    for (const facts of ["size=6;modify=20260101000000;", "type=;size=6;", "type=OS.x=odd;", ""]) {
      const { source, count } = await open(one(facts));
      expect(await contentsOf(source)).toEqual({ "a.txt": "hello\n" });
      expect(count("MLST")).toBe(1);
      for (const MLST of ["500 what?", "250-f\r\n size=6; a.txt\r\n250 e", "250 odd", "550 no"]) {
        const other = await open({ ...one(facts), MLST });
        expect(await contentsOf(other.source)).toEqual({ "a.txt": "hello\n" });
      }
    }
    let looks = 0;
    const { source } = await open({
      MLST: "500 what?",
      CWD: "250 ok",
      MLSD: () => ({ data: looks++ === 0 ? "size=4096; d\r\n" : "type=file;size=6; a.txt\r\n" }),
    });
    expect(await contentsOf(source)).toEqual({ "d/a.txt": "hello\n" });
  });

  test("what nobody tells fails, and is named", async () => {
    const { source } = await open({
      ...one("modify=20260101000000;"),
      MLST: "500 no",
      SIZE: "550 no",
    });
    await expect(listAll(source)).rejects.toMatchObject({
      code: "invalid",
      message: 'the server does not tell what "a.txt" is',
    });
  });

  test("what is gone by the time it is asked about is gone", async () => {
    let looks = 0;
    const { source } = await open({
      MLST: "550 no",
      SIZE: "550 no",
      MLSD: () => ({ data: looks++ === 0 ? "size=6; gone\r\n" : "type=file;size=6; a.txt\r\n" }),
    });
    expect((await listAll(source)).paths).toEqual([]);
  });

  test("a size", async () => {
    const { source } = await open(one("type=file;modify=20260101000000;"));
    expect(await contentsOf(source)).toEqual({ "a.txt": "hello\n" });
  });

  test("a time that is refused does not make a file disappear", async () => {
    const { source, count } = await open({ ...OLD, MDTM: "550 not allowed" });
    expect(await contentsOf(source)).toEqual({ "a.txt": "hello\n" });
    expect(count("LIST")).toBe(2);
    const facts = await open({ MDTM: "550 not allowed" });
    expect(await contentsOf(facts.source)).toEqual({ "a.txt": "hello\n" });
  });

  test("without any time a file is read again, as it may have changed", async () => {
    const { source } = await open({ ...one("type=file;size=6;"), MDTM: "502 no" });
    const [first, second] = [await listAll(source), await listAll(source)];
    expect(String(await readAll(source, first.file("a.txt")))).toBe("hello\n");
    // Until the clock has gone on.
    for (const before = Date.now(); Date.now() === before;) await new Promise(setImmediate);
    const third = await listAll(source);
    expect(third.file("a.txt").fingerprint).not.toBe(first.file("a.txt").fingerprint);
    expect(second.paths).toEqual(["a.txt"]);
  });

  test("what a symlink leads to: by LIST, or as what it leads to", async () => {
    const link = one("type=OS.unix=symlink;size=3;", "link");
    const LIST = { data: "lrwxrwxrwx 1 u g 5 Jan 01  2026 link -> a.txt\r\n" };
    const listed = await listAll((await open({ ...link, LIST })).source);
    expect([...listed.entries.values()]).toMatchObject([
      { kind: "symlink", path: "link", target: "a.txt" },
    ]);
    for (const other of [{ data: "how odd\r\n" }, "550 no", { data: "" }]) {
      const { source } = await open({ ...link, LIST: other });
      expect(await contentsOf(source)).toEqual({ link: "hello\n" });
    }
    const { source } = await open({ ...link, LIST: "550 no", SIZE: "550 no" });
    await expect(listAll(source)).rejects.toMatchObject({
      code: "invalid",
      message: 'the server does not tell what the symlink "link" leads to',
    });
  });

  test("what it calls a device or a FIFO is left out, with a warning", async () => {
    const { source, warnings } = await open({
      MLSD: {
        data: "type=OS.unix=chr-13/29; device\r\ntype=file;size=6; a.txt\r\ntype=OS.unix=fifo; fifo\r\n",
      },
    });
    expect((await listAll(source)).paths).toEqual(["a.txt"]);
    expect(warnings).toEqual(['left out a FIFO, a socket or a device: "device" and 1 more']);
  });
});

test("replies that come in pieces are read whole", async () => {
  const { source } = await open(OLD, "/", true);
  expect(await contentsOf(source)).toEqual({ "a.txt": "hello\n" });
});

test("a directory that may be entered and not be read is not taken for an empty one", async () => {
  const { source } = await open({
    ...OLD,
    LIST: {
      async do(control, data) {
        control.write("150 Here comes the directory listing.\r\n");
        (await data).end();
        control.write("226 Transfer done (but failed to open directory).\r\n");
      },
    },
  });
  await expect(listAll(source)).rejects.toMatchObject({
    code: "auth",
    hint: expect.stringContaining("--exclude"),
  });
});
