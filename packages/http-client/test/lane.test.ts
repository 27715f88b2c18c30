/** A lane against servers that are right, wrong, silent, gone, or out for its memory. */
import type { Socket } from "node:net";
import type { Digest, FileEntry, PartSink, Sink } from "@pannier/core/adapter";
import { generate } from "selfsigned";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { serve, serveRaw, serveTls } from "./servers.ts";
import type { LaneTarget } from "../src/lane/connection.ts";
import type { Head } from "../src/lane/head.ts";
import { rangeHeaders } from "../src/parts.ts";
import { type LaneRequest, openHttpLane } from "../src/lane/lane.ts";

interface Options {
  readonly atOnce?: number;
  readonly idleTimeout?: number;
  readonly tls?: LaneTarget["tls"];
  readonly headers?: LaneRequest["headers"];
  readonly most?: number;
  readonly judge?: (head: Head) => { digest: Digest | undefined } | undefined;
}

/** Reads files by a lane, and returns what it got of them. */
async function read(
  origin: string,
  files: Readonly<Record<string, number | undefined>>,
  options: Options = {},
) {
  const { atOnce = 4, idleTimeout = 5000, tls = { version: "" }, headers = {} } = options;
  const lane = openHttpLane<unknown>(
    {
      target: () => ({ origin, tls }),
      request: ({ path }) => ({
        path: `/${path}`,
        headers,
        most: options.most,
        judge: options.judge ?? (() => ({ digest: undefined })),
      }),
    },
    { idleTimeout, atOnce, mostUnlisted: 10 },
  );
  const names = Object.keys(files);
  const got: Record<string, string> = {};
  const requests: string[] = [];
  const failures: [string, string][] = [];
  const sink: Sink = {
    stopped: false,
    put(index, content) {
      got[names[index] as string] = String(content);
    },
    begin(index) {
      const pieces: Buffer[] = [];
      return {
        write: (piece) => pieces.push(Buffer.from(piece)) > 0,
        end: () => void (got[names[index] as string] = String(Buffer.concat(pieces))),
        drop: () => {},
      };
    },
    failed: (index, code) => failures.push([names[index] as string, code]),
    request: (operation) => requests.push(operation),
  };
  const controller = new AbortController();
  onTestFinished(() => controller.abort());
  const entries = names.map((path): FileEntry => ({
    kind: "file",
    path,
    size: files[path],
    fingerprint: "1",
  }));
  await lane.read({ files: entries, data: undefined }, sink, controller.signal);
  return { got, requests, failures };
}

const answer = (body: string, ...lines: string[]) =>
  [`HTTP/1.1 200 OK`, `Content-Length: ${body.length}`, ...lines, "", body].join("\r\n");

/** Answers each request of a connection, the n-th by the n-th of these; ends the connection after the last. */
const serveAnswers = (...answers: readonly string[]) =>
  serveRaw((socket) => {
    let at = 0;
    const next = () => void socket.write(answers[at++] ?? "", "latin1");
    socket.on("data", () => (at < answers.length ? next() : socket.destroy()));
    next();
  });

describe("reads", () => {
  test("what comes at once, in pieces, and nothing, over kept connections", async () => {
    const texts: Record<string, string> = { empty: "", large: "y".repeat(3_000_000) };
    for (let i = 0; i < 200; i++) texts[`small-${i}`] = `this is ${i}`.repeat(i);
    const peers = new Set<Socket>();
    const origin = await serve((request, response) => {
      peers.add(request.socket);
      const text = texts[(request.url as string).slice(1)] as string;
      response.writeHead(200, { "content-length": text.length }).end(text);
    });
    const sizes = Object.fromEntries(
      Object.entries(texts).map(([name, { length }]) => [name, length]),
    );
    const { got, requests } = await read(origin, sizes);
    expect(got).toEqual(texts);
    expect(requests).toHaveLength(202);
    expect(peers.size).toBeLessThanOrEqual(4);
  });

  test("a head that comes byte by byte, and a body that comes with the next", async () => {
    const origin = await serveRaw((socket) => {
      socket.setNoDelay(true);
      const text = answer("hello");
      let at = 0;
      const send = () => {
        if (at < text.length) socket.write(text[at++] as string, () => setImmediate(send));
      };
      send();
    });
    expect((await read(origin, { a: 5 })).got).toEqual({ a: "hello" });
  });

  test("on another connection after one that the server closes with an answer", async () => {
    const origin = await serveRaw(answer("hello", "Connection: close"));
    expect((await read(origin, { a: 5, b: 5, c: 5 }, { atOnce: 1 })).got).toEqual({
      a: "hello",
      b: "hello",
      c: "hello",
    });
  });

  test("once more what met the end of a kept connection", async () => {
    const origin = await serveAnswers(answer("hello"));
    const { got, requests } = await read(origin, { a: 5, b: 5, c: 5 }, { atOnce: 1 });
    expect(got).toEqual({ a: "hello", b: "hello", c: "hello" });
    expect(requests).toHaveLength(4);
  });
});

test("reads what is of a size that is not listed, up to a bound; leaves what is longer without a word", async () => {
  const origin = await serve(
    ({ url }, response) => void response.end("x".repeat(Number(url?.[1]))),
  );
  const unlisted = { 5: undefined, 9: undefined };
  expect((await read(origin, unlisted)).got).toEqual({ 5: "xxxxx", 9: "xxxxxxxxx" });
  const { got, failures } = await read(origin, { ...unlisted, 6: 6, 8: 8 }, { most: 7 });
  expect(got).toEqual({ 5: "xxxxx", 6: "xxxxxx" });
  expect(failures).toEqual([]);
});

describe("leaves", () => {
  test.each([
    ["another status", "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello"],
    ["a part", "HTTP/1.1 206 Partial\r\nContent-Length: 5\r\n\r\nhello"],
    ["a redirect", "HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 5\r\n\r\nhello"],
    ["a throttle", "HTTP/1.1 503 Slow Down\r\nContent-Length: 5\r\n\r\nhello"],
    ["an interim answer", `HTTP/1.1 102 Wait\r\n\r\n${answer("hello")}`],
    ["chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
    ["a body without a length", "HTTP/1.1 200 OK\r\n\r\nhello"],
    ["a body of another length", answer("hello!")],
    ["a body that is longer than told", `${answer("hello")}!`],
    ["two answers", answer("hello") + answer("hello")],
    ["something else", "SSH-2.0-OpenSSH\r\n\r\n"],
    ["nothing", ""],
  ])("%s", async (_, text) => {
    const origin = await serveRaw((socket) => void socket.end(text, "latin1"));
    const { got, failures } = await read(origin, { a: 5 });
    expect(got).toEqual({});
    expect(failures).toEqual([["a", text.includes("503") ? "throttled" : "unavailable"]]);
  });

  test("a body that is cut, and reads on", async () => {
    let first = true;
    const origin = await serveRaw((socket) => {
      socket.end(first ? answer("hello").slice(0, -1) : answer("hello", "Connection: close"));
      first = false;
    });
    expect((await read(origin, { a: 5, b: 5 }, { atOnce: 1 })).got).toEqual({ b: "hello" });
  });

  test("what is not judged to be the version", async () => {
    const origin = await serveRaw(answer("hello", 'ETag: "2"', "Connection: close"));
    const judge = vi.fn<NonNullable<Options["judge"]>>(() => undefined);
    expect((await read(origin, { a: 5 }, { judge })).got).toEqual({});
    expect(judge.mock.calls[0]?.[0].headers["etag"]).toBe('"2"');
  });

  test("everything where nobody listens, after one try for each connection", async () => {
    const origin = await serveRaw("");
    const gone = origin.replace(/\d+$/, "1");
    const files = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`f${i}`, 5]));
    const { got, requests } = await read(gone, files);
    expect(got).toEqual({});
    expect(requests.length).toBeLessThanOrEqual(8);
  });

  test.each([
    ["is silent", () => {}],
    [
      "sends a byte now and then",
      (socket: Socket) => {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        const timer = setInterval(() => socket.write("x"), 100);
        socket.on("close", () => clearInterval(timer));
      },
    ],
  ])("everything where the server %s", async (_, behave: (socket: Socket) => void) => {
    const origin = await serveRaw(behave);
    const files = Object.fromEntries(Array.from({ length: 100 }, (_none, i) => [`f${i}`, 100_000]));
    const { got, requests } = await read(origin, files, { idleTimeout: 300 });
    expect(got).toEqual({});
    expect(requests).toHaveLength(4);
  });

  test.each([
    ["path", { "a b": 5 }, {}],
    ["path", { "a\r\nX:": 5 }, {}],
    ["path", { ä: 5 }, {}],
    ["header", { a: 5 }, { "if-match": "x\r\nX: y" }],
  ])("what would make another request of its %s: it is not sent", async (_, files, headers) => {
    const origin = await serveRaw(answer("hello"));
    const { requests } = await read(origin, files as Record<string, number>, { headers });
    expect(requests).toEqual([]);
  });
});

/** Asks for "hello" out of 20 bytes. */
async function readPart(origin: string, options: Options & { signal?: AbortSignal } = {}) {
  const { idleTimeout = 5000 } = options;
  const lane = openHttpLane<unknown>(
    {
      target: () => ({ origin, tls: { version: "" } }),
      request: (_, __, range) => ({
        path: "/a",
        headers: rangeHeaders(range),
        judge: options.judge ?? (() => ({ digest: undefined })),
      }),
    },
    { idleTimeout, atOnce: 0, mostUnlisted: 10 },
  );
  const results: string[] = [];
  const ask = async () => {
    let got = "";
    const sink: PartSink = {
      stopped: false,
      write: (piece) => {
        got += String(Buffer.from(piece));
        return true;
      },
      failed: (code) => void (got = code),
      request: () => {},
    };
    const entry: FileEntry = { kind: "file", path: "a", size: 20, fingerprint: "1" };
    const range = { offset: 7, length: 5 };
    await lane.readPart?.(
      { entry, range, data: undefined },
      sink,
      options.signal ?? new AbortController().signal,
    );
    results.push(got);
  };
  return { ask, results };
}

const part = (...lines: string[]) =>
  ["HTTP/1.1 206 Partial Content", "Content-Length: 5", ...lines, "", "hello"].join("\r\n");

describe("of a part", () => {
  const good = part("Content-Range: bytes 7-11/20");

  test("reads the bytes that were asked for, over a kept connection, and once more where that ended", async () => {
    const ranges: unknown[] = [];
    const origin = await serve(({ headers, socket }, response) => {
      ranges.push(headers.range);
      if (ranges.length === 2) return void socket.destroy();
      response.writeHead(206, { "content-length": 5, "content-range": "bytes 7-11/20" });
      response.end("hello");
    });
    const { ask, results } = await readPart(origin);
    await ask();
    await ask();
    expect(results).toEqual(["hello", "hello"]);
    expect(ranges).toEqual(["bytes=7-11", "bytes=7-11", "bytes=7-11"]);
  });

  test.each([
    ["the whole", answer("x".repeat(20))],
    ["a whole that is as long as the part", answer("hello", "Content-Range: bytes 7-11/20")],
    ["a part without a place", part()],
    ["the part before", part("Content-Range: bytes 6-10/20")],
    ["a part one byte off", part("Content-Range: bytes 8-12/20")],
    ["a part of another end", part("Content-Range: bytes 7-12/20")],
    ["a part of another size of file", part("Content-Range: bytes 7-11/21")],
    ["a part of a file of unknown size", part("Content-Range: bytes 7-11/*")],
    ["a place that is none", part("Content-Range: octets 7-11/20")],
    ["two places", part("Content-Range: bytes 7-11/20", "Content-Range: bytes 7-11/20")],
    ["several parts", part("Content-Type: multipart/byteranges; boundary=x")],
    ["a shorter part", good.replace("Length: 5", "Length: 4").slice(0, -1)],
    ["less than told", good.slice(0, -1)],
    ["more than told", `${good}!`],
    ["no such part", "HTTP/1.1 416 No\r\nContent-Range: bytes */20\r\nContent-Length: 0\r\n\r\n"],
    ["an error", "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"],
    ["nothing", ""],
  ])("refuses %s", async (_, text) => {
    const origin = await serveRaw((socket) => void socket.end(text, "latin1"));
    const { ask, results } = await readPart(origin);
    await ask();
    expect(results).toEqual(["unavailable"]);
  });

  test("refuses another version, and tells of a throttle", async () => {
    const judge = vi.fn<NonNullable<Options["judge"]>>(() => undefined);
    const { ask, results } = await readPart(await serveRaw(good), { judge });
    await ask();
    const slow = "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n";
    const throttled = await readPart(await serveRaw(slow));
    await throttled.ask();
    expect([...results, ...throttled.results]).toEqual(["unavailable", "throttled"]);
  });

  test("gives up a server that is silent, and one that nobody waits for", async () => {
    const origin = await serveRaw((socket) => void socket.write(good.slice(0, -2)));
    const silent = await readPart(origin, { idleTimeout: 300 });
    await silent.ask();
    const controller = new AbortController();
    const given = await readPart(origin, { signal: controller.signal });
    const asking = given.ask();
    setImmediate(() => controller.abort());
    await asking;
    expect([...silent.results, ...given.results]).toEqual(["unavailable", "unavailable"]);
  });
});

/** Sends until it is stopped; returns how much was taken. */
async function flood(text: string): Promise<{ taken: () => number; origin: string }> {
  let written = 0;
  const origin = await serveRaw((socket) => {
    const send = () => {
      while (!socket.destroyed && socket.write(text)) written += text.length;
      if (!socket.destroyed) socket.once("drain", send);
    };
    send();
  });
  return { origin, taken: () => written };
}

describe("is not made to hold", () => {
  /** What the buffers of two sockets take, and some pieces of ours. */
  const BOUND = 16 * 2 ** 20;

  test("a head without an end", async () => {
    const { origin, taken } = await flood(`HTTP/1.1 200 OK\r\n${"X: y\r\n".repeat(10_000)}`);
    expect((await read(origin, { a: 5 })).got).toEqual({});
    expect(taken()).toBeLessThan(BOUND);
  });

  test("a line without an end", async () => {
    const { origin, taken } = await flood("x".repeat(65_536));
    expect((await read(origin, { a: 5 })).got).toEqual({});
    expect(taken()).toBeLessThan(BOUND);
  });

  test("a body without an end", async () => {
    const { origin, taken } = await flood(answer("x".repeat(65_536)));
    expect((await read(origin, { a: 65_536 })).got).toEqual({});
    expect(taken()).toBeLessThan(BOUND);
  });

  test.each([
    ["interim answers", "HTTP/1.1 102 Wait\r\n\r\n"],
    ["chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20000000000000\r\nx"],
    ["lines that end in LF alone", "HTTP/1.1 200 OK\nX: y\n"],
  ])("%s without an end", async (_, text) => {
    const { origin, taken } = await flood(text.repeat(4000));
    expect((await read(origin, { a: 5 })).got).toEqual({});
    expect(taken()).toBeLessThan(BOUND);
  });

  test("a head of 1 MiB, however much of it comes at once", async () => {
    const large = answer("hello", `X: ${"y".repeat(2 ** 20)}`);
    const origin = await serveRaw((socket) => void socket.end(large));
    expect((await read(origin, { a: 5 })).got).toEqual({});
    const most = answer("hello", `X: ${"y".repeat(16_000)}`);
    const other = await serveRaw((socket) => void socket.end(most));
    expect((await read(other, { a: 5 })).got).toEqual({ a: "hello" });
  });

  test("100,000 answers that nobody asked for, on a kept connection", async () => {
    let written = 0;
    const closed = Promise.withResolvers<void>();
    const text = answer("hello").repeat(1000);
    const origin = await serveRaw((socket) => {
      socket.on("close", () => closed.resolve());
      // Each in its own time: the first is read, and the connection is free.
      socket.write(answer("hello"), () => {
        const send = () => {
          while (!socket.destroyed && written < 100 * text.length && socket.write(text))
            written += text.length;
          if (!socket.destroyed) socket.once("drain", send);
        };
        setTimeout(send, 50);
      });
    });
    expect((await read(origin, { a: 5 })).got).toEqual({ a: "hello" });
    await closed.promise;
    expect(written).toBeLessThan(BOUND);
  });

  test("100,000 answers to one request", async () => {
    const { origin, taken } = await flood(answer("hello").repeat(100_000));
    expect((await read(origin, { a: 5 })).got).toEqual({});
    expect(taken()).toBeLessThan(BOUND);
  });

  test("a body that it has no memory for: a length alone reserves nothing", async () => {
    const origin = await serveRaw((socket) =>
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\nx"),
    );
    const before = process.memoryUsage().arrayBuffers;
    expect((await read(origin, { a: 99_999_999_999_999 })).got).toEqual({});
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(BOUND);
  });
});

const certificate = () =>
  generate([{ name: "commonName", value: "127.0.0.1" }], {
    algorithm: "sha256",
    extensions: [{ name: "subjectAltName", altNames: [{ type: 7, ip: "127.0.0.1" }] }],
  });

describe("over TLS", () => {
  test("reads from a server whose certificate is trusted, and from no other", async () => {
    const { private: key, cert } = await certificate();
    const large = "z".repeat(1_000_000);
    const origin = await serveTls(
      { key, cert },
      ({ url }, response) => void response.end(url === "/a" ? "hello" : large),
    );
    const files = { a: 5, large: large.length };
    const trusted = { version: cert, ca: cert };
    expect((await read(origin, files, { tls: trusted })).got).toEqual({ a: "hello", large });
    expect((await read(origin, files)).got).toEqual({});
    const byName = origin.replace("127.0.0.1", "localhost");
    expect((await read(byName, files, { tls: trusted })).got).toEqual({});
  });
});
