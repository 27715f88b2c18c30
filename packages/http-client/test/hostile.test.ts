/** Servers that break the protocol, or never come to the point. */
import type { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { serveRaw } from "./servers.ts";
import { client, failure } from "./client.ts";
import { contentOf, readText } from "../src/index.ts";

const every = (milliseconds: number, text: string) => (socket: Socket) => {
  const timer = setInterval(() => socket.write(text), milliseconds);
  socket.on("close", () => clearInterval(timer));
};

describe("what is not valid HTTP is told in words, and not asked for again", () => {
  test.each([
    ["lines without CR", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", "end with LF"],
    ["a header line without CR", "HTTP/1.1 200 OK\r\nX: y\nETag: 1\r\n\r\nhi", "end with LF"],
    ["the same after a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nhi", "end with LF"],
    ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n", "another kind of server"],
    ["a status that is none", "HTTP/1.1 OK\r\n\r\n", "status"],
    ["a header that is none", "HTTP/1.1 200 OK\r\nbad header\r\n\r\n", "malformed header"],
    ["a length that is none", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "Content-Length"],
    [
      "an upgrade",
      "HTTP/1.1 101 OK\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
      "not valid HTTP",
    ],
    ["garbage for chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunks"],
  ])("%s", async (_, answer, words) => {
    const origin = await serveRaw((socket) => socket.write(answer));
    const http = client();
    const asking = http.request(origin).then(({ body }) => readText(body, 100));
    expect(await failure(asking)).toMatchObject({
      code: "unavailable",
      transient: false,
      message: expect.stringContaining(words),
      hint: expect.stringContaining("the server's"),
    });
  });

  test("an encoding that nobody asked for", async () => {
    const origin = await serveRaw(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n2\r\nhi\r\n",
    );
    expect(await failure(client().request(origin))).toMatchObject({ code: "invalid" });
  });
});

describe("a server that never comes to the point is given up", () => {
  test.each([
    ["very many interim answers", 1],
    ["interim answers now and then", 100],
  ])("%s", async (_, milliseconds) => {
    const origin = await serveRaw(every(milliseconds, "HTTP/1.1 102 Processing\r\n\r\n"));
    expect(await failure(client({ idleTimeout: 300 }).request(origin))).toMatchObject({
      code: "unavailable",
      transient: false,
      message: expect.stringContaining("1xx"),
    });
  });

  test("a header that does not end: once more, and no more", async () => {
    const origin = await serveRaw((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nX: ");
      every(50, "x")(socket);
    });
    const http = client({ idleTimeout: 1000 });
    const transient: boolean[] = [];
    while (transient.at(-1) !== false && transient.length < 5) {
      const error = await failure(http.request(origin));
      expect(error.code).toBe("unavailable");
      transient.push(error.transient);
    }
    expect(transient).toEqual([true, false]);
  });

  test("a body that hardly moves", async () => {
    const origin = await serveRaw((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
      every(50, "x")(socket);
    });
    const { body } = await client({ idleTimeout: 500 }).request(origin);
    expect(await failure(readText(body, 1000))).toMatchObject({
      code: "unavailable",
      transient: false,
      message: expect.stringContaining("too slow"),
    });
  });

  test("one that hardly moves and is of no interest", async () => {
    const origin = await serveRaw((socket) => {
      socket.write("HTTP/1.1 404 Not Found\r\nContent-Length: 1000\r\n\r\n");
      every(50, "x")(socket);
    });
    expect(await failure(client().request(origin))).toMatchObject({ code: "not-found" });
  });

  test("small content that comes slowly is passed on as it comes", async () => {
    const origin = await serveRaw((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n");
      every(60, "ab")(socket);
    });
    const content = await contentOf(await client({ idleTimeout: 1000 }).request(origin));
    expect(content).not.toBeInstanceOf(Uint8Array);
    expect(await readText(content as AsyncIterable<Uint8Array>, 100)).toBe("ab".repeat(20));
  });
});
