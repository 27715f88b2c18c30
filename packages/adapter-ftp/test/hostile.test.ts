/** Servers that never end, or hold back: each ends in time, in bounded memory, with the right word. */
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { listAll, openSource, readAll } from "@pannier/adapter-kit";
import { sync } from "@pannier/core";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { ftp } from "../src/index.ts";
import { type Answer, type Script, startScripted } from "./scripted-server.ts";
import { ownTime } from "../../../test/support/own-time.ts";

const IDLE = 500;

async function open(script: Script) {
  const { port, commands } = await startScripted(script);
  const opened = await openSource(ftp(`ftp://u:p@127.0.0.1:${port}/`), { idleTimeout: IDLE });
  onTestFinished(() => opened.close());
  return { ...opened, commands };
}

/** Writes without an end, as fast as it is taken. */
async function flood(socket: Socket, text: string): Promise<void> {
  const piece = text.repeat(Math.ceil(65_536 / text.length));
  while (!socket.destroyed) {
    if (!socket.write(piece)) await Promise.race([once(socket, "drain"), once(socket, "close")]);
    await turn();
  }
}

const control = (text: string): Answer => ({ do: (socket) => flood(socket, text) });
const data = (text: string): Answer => ({
  async do(socket, opened) {
    socket.write("150 here\r\n");
    await flood(await opened, text);
  },
});

describe("a listing", () => {
  test.each([
    ["of one line without an end", "x", /a line of more than 16,384 bytes/],
    ["of blanks", " ", /a line of more than 16,384 bytes/],
    ["of NULs", "\0", /a line of more than 16,384 bytes/],
    ["of files", "type=file;size=1;modify=20260101000000; a\r\n", /holds more than 400,000 names/],
    ["of directories", "type=dir; a\r\n", /holds more than 400,000 names/],
    ["of devices", "type=OS.unix=chr; a\r\n", /holds more than 400,000 names/],
    ["of what is not told", "size=1; a\r\n", /holds more than 400,000 names/],
  ])("%s", async (_, text, message) => {
    const { source } = await open({ MLSD: data(text) });
    const before = process.memoryUsage.rss();
    await expect(listAll(source)).rejects.toMatchObject({
      code: "invalid",
      message: expect.stringMatching(message),
    });
    expect((process.memoryUsage.rss() - before) / 2 ** 20).toBeLessThan(250);
  });

  test("of empty lines does not hold the thread", async () => {
    const { source } = await open({ MLSD: data("\r\n") });
    const stop = new AbortController();
    const took = ownTime();
    setTimeout(() => stop.abort(new Error("enough")), 200);
    const listing = await source.list(stop.signal);
    const reading = (async () => {
      for await (const batch of listing.entries) expect(batch).toEqual([]);
    })();
    await expect(reading).rejects.toThrow("enough");
    expect(took()).toBeLessThan(1500);
  });

  test("that comes byte by byte ends after a minute", async () => {
    let now = performance.now();
    vi.spyOn(performance, "now").mockImplementation(() => (now += 100));
    onTestFinished(() => void vi.restoreAllMocks());
    const { source } = await open({
      MLSD: {
        async do(socket, opened) {
          socket.write("150 here\r\n");
          const to = await opened;
          while (!to.destroyed) {
            to.write("x");
            await turn();
          }
        },
      },
    });
    await expect(listAll(source)).rejects.toMatchObject({
      code: "unavailable",
      transient: false,
      message: expect.stringMatching(/is too slow: \d+ bytes came in/),
    });
  });

  test("whose last word is never said", async () => {
    const { source } = await open({
      MLSD: {
        async do(socket, opened) {
          socket.write("150 here\r\n");
          (await opened).end("type=file;size=1; a\r\n");
          await flood(socket, "150 still\r\n");
        },
      },
    });
    await expect(listAll(source)).rejects.toMatchObject({ code: "unavailable" });
  });
});

describe("a file", () => {
  test.each(["swap", "mirror"] as const)(
    "that does not end is given up once it is longer than listed: %s",
    async (publish) => {
      let taken = 0;
      const { port } = await startScripted({
        RETR: {
          async do(socket, opened) {
            socket.write("150 here\r\n");
            const to = await opened;
            // It is cut.
            await flood(to, "hello\n").catch(() => {});
            taken += to.bytesWritten;
            socket.write("426 cut\r\n");
          },
        },
      });
      const target = mkdtempSync(join(tmpdir(), "pannier-ftp-"));
      onTestFinished(() => rmSync(target, { recursive: true, force: true }));
      const syncing = sync({
        sources: [ftp(`ftp://u:p@127.0.0.1:${port}/`)],
        target,
        publish,
        idleTimeout: IDLE,
      });
      await expect(syncing).rejects.toMatchObject({ code: "changed" });
      expect(existsSync(join(target, publish === "swap" ? "current" : "a.txt"))).toBe(false);
      // What the buffers of some connections take.
      await expect.poll(() => taken).toBeGreaterThan(0);
      expect(taken).toBeLessThan(32 * 2 ** 20);
    },
  );
});

test("a part of a file that ends early is not taken for the part", async () => {
  const { source } = await open({ RETR: { data: "hel" } });
  const listed = await listAll(source);
  const part = readAll(source, listed.file("a.txt"), { offset: 0, length: 5 });
  await expect(part).rejects.toMatchObject({ code: "changed" });
});

describe("a reply", () => {
  test.each([
    ["of one line without an end", "x"],
    ["of many lines without a last one", "250-more\r\n"],
    ["of a number, and blanks", "250 "],
  ])("%s", async (_, text) => {
    for (const command of ["USER", "FEAT", "PWD", "CWD", "MLSD", "SIZE"]) {
      const { source } = await open({
        MLSD: { data: "size=6; a\r\n" },
        MLST: "500 no",
        [command]: control(text),
      });
      await expect(listAll(source), command).rejects.toMatchObject({ code: "unavailable" });
    }
  });

  test("that comes line by line has to be complete in time", async () => {
    const { source } = await open({
      CWD: {
        do: (socket) => {
          const timer = setInterval(() => socket.write("250-more\r\n"), IDLE / 10);
          socket.on("close", () => clearInterval(timer));
        },
      },
    });
    const took = ownTime();
    await expect(listAll(source)).rejects.toMatchObject({ code: "unavailable" });
    expect(took()).toBeLessThan(IDLE * 6);
  });

  test.each(["RETR", "MLSD"])("that something begins, without an end, to %s", async (command) => {
    const { source } = await open({ [command]: control("150 soon\r\n") });
    const reading = async () => {
      const listed = await listAll(source);
      await readAll(source, listed.file("a.txt"));
    };
    await expect(reading()).rejects.toMatchObject({ code: "unavailable" });
  });
});

test("a port that is none is not asked", async () => {
  for (const EPSV of ["229 ok (|||0|)", "229 ok (|||99999|)"]) {
    const { source } = await open({ EPSV });
    await expect(listAll(source)).rejects.toMatchObject({ code: "unavailable" });
  }
});

test("a directory that holds itself ends with its path", async () => {
  const { source } = await open({
    CWD: "250 ok",
    MLSD: { data: "type=dir; loop-of-directories\r\n" },
  });
  await expect(listAll(source)).rejects.toMatchObject({
    code: "invalid",
    message: expect.stringMatching(/path is longer than 4,096 bytes/),
  });
});
