import { once } from "node:events";
import { createServer, get, type IncomingMessage } from "node:http";
import { type AddressInfo, createConnection, createServer as createTcpServer } from "node:net";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createFaultProxy, type FaultProxy } from "../src/fault-proxy.ts";

const PAYLOAD = Buffer.from("0123456789".repeat(100));

/** Sends PAYLOAD at once on each connection, and ends it. */
const tcp = createTcpServer((socket) => {
  socket.on("error", () => {});
  socket.end(PAYLOAD);
});
const http = createServer(({ url }, response) => response.end(`answer to ${url}`));
let proxy: FaultProxy;

beforeEach(async () => {
  for (const server of [tcp, http]) {
    if (server.listening) continue;
    server.listen(0, "127.0.0.1").unref();
    await once(server, "listening");
  }
});
afterEach(() => proxy.close());

async function proxyTo(server: { address(): unknown }): Promise<FaultProxy> {
  proxy = await createFaultProxy({
    target: { host: "127.0.0.1", port: (server.address() as AddressInfo).port },
  });
  return proxy;
}

/** Everything a client receives, and how the connection ended. */
async function receive(): Promise<{ bytes: Buffer; end: string }> {
  const socket = createConnection(proxy.port, proxy.host);
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    return { bytes: Buffer.concat(chunks), end: "end" };
  } catch (error) {
    return { bytes: Buffer.concat(chunks), end: (error as NodeJS.ErrnoException).code ?? "error" };
  }
}

async function request(path = "/"): Promise<{ response: IncomingMessage; body: string }> {
  const [response] = (await once(
    get({ host: proxy.host, port: proxy.port, path, agent: false }),
    "response",
  )) as [IncomingMessage];
  return { response, body: await text(response) };
}

describe("any TCP protocol", () => {
  beforeEach(() => proxyTo(tcp));

  test("passes everything on unchanged when nothing is set", async () => {
    expect(await receive()).toEqual({ bytes: PAYLOAD, end: "end" });
    expect(proxy.stats).toMatchObject({ connections: 1, received: PAYLOAD.length, strikes: 0 });
  });

  test("cuts after exactly so many bytes", async () => {
    await proxy.set({ cutAfter: 123 });
    expect(await receive()).toEqual({ bytes: PAYLOAD.subarray(0, 123), end: "end" });
    expect(proxy.stats.strikes).toBe(1);
  });

  test("resets", async () => {
    await proxy.set({ resetAfter: 10 });
    expect((await receive()).end).toBe("ECONNRESET");
  });

  test("stalls, with the connection open, until closed", async () => {
    await proxy.set({ stallAfter: 7 });
    const socket = createConnection(proxy.port, proxy.host);
    const [first] = (await once(socket, "data")) as [Buffer];
    expect(first.length).toBe(7);
    expect(proxy.stats.open).toBe(1);
    const failed = once(socket, "error");
    await proxy.close();
    expect(await failed).toMatchObject([{ code: "ECONNRESET" }]);
  });

  test("the fault that comes first wins", async () => {
    await proxy.set({ cutAfter: 50, resetAfter: 100 });
    expect(await receive()).toEqual({ bytes: PAYLOAD.subarray(0, 50), end: "end" });
  });

  test("corrupts exactly one byte", async () => {
    await proxy.set({ corruptAt: 500 });
    const { bytes } = await receive();
    const different = [...bytes.keys()].filter((at) => bytes[at] !== PAYLOAD[at]);
    expect(different).toEqual([500]);
  });

  test("strikes only so many times", async () => {
    await proxy.set({ cutAfter: 1, times: 2 });
    const lengths = [];
    for (let i = 0; i < 3; i++) lengths.push((await receive()).bytes.length);
    expect(lengths).toEqual([1, 1, PAYLOAD.length]);
  });

  test("refuses connections, and accepts them again on the same port", async () => {
    await proxy.set({ refuse: true });
    expect((await receive()).end).toBe("ECONNREFUSED");
    await proxy.set({});
    expect(await receive()).toEqual({ bytes: PAYLOAD, end: "end" });
  });

  test("delays", async () => {
    await proxy.set({ delay: 150 });
    const start = performance.now();
    expect((await receive()).bytes).toEqual(PAYLOAD);
    expect(performance.now() - start).toBeGreaterThanOrEqual(145);
  });

  test("limits the bandwidth", async () => {
    await proxy.set({ bytesPerSecond: 4000 });
    const start = performance.now();
    expect((await receive()).bytes).toEqual(PAYLOAD);
    expect(performance.now() - start).toBeGreaterThanOrEqual(240);
  });

  test("counts bytes again on an open connection when faults are set", async () => {
    const echo = createTcpServer((socket) => socket.on("error", () => {}).pipe(socket)).listen(0);
    await once(echo, "listening");
    await proxy.close();
    await proxyTo(echo);
    const socket = createConnection(proxy.port, proxy.host);
    socket.write("x".repeat(100));
    await once(socket, "data");
    await proxy.set({ cutAfter: 5 });
    socket.write("y".repeat(100));
    const [chunk] = (await once(socket, "data")) as [Buffer];
    expect(chunk.toString()).toBe("yyyyy");
    await once(socket, "end");
    echo.close();
  });

  test("says that a target that is not there is a reset", async () => {
    await proxy.close();
    const gone = createTcpServer().listen(0);
    await once(gone, "listening");
    await proxyTo(gone);
    gone.close();
    expect((await receive()).end).toBe("ECONNRESET");
  });
});

describe("HTTP", () => {
  beforeEach(() => proxyTo(http));

  test("answers the first requests itself, the others not", async () => {
    await proxy.set({ http: { status: 429, retryAfter: 7, first: 2 } });
    const first = await request();
    expect(first.response.statusCode).toBe(429);
    expect(first.response.headers["retry-after"]).toBe("7");
    expect((await request()).response.statusCode).toBe(429);
    expect((await request("/x")).body).toBe("answer to /x");
    expect(proxy.stats).toMatchObject({ requests: 3, answered: 2 });
  });

  test("answers by chance, the same way for the same seed", async () => {
    const runs = [];
    for (const seed of [1, 1, 2]) {
      await proxy.set({ http: { status: 503, probability: 0.5, seed } });
      let pattern = "";
      for (let i = 0; i < 24; i++)
        pattern += (await request()).response.statusCode === 503 ? "x" : ".";
      runs.push(pattern);
    }
    expect(runs[0]).toBe(runs[1]);
    expect(runs[0]).not.toBe(runs[2]);
    expect(runs[0]).toMatch(/x.*\..*x/);
  });
});
