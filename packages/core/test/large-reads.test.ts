import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it } from "vitest";
import { largeReads } from "../src/source/large-reads.ts";

const CONTENT = Buffer.alloc(8 * 1024 * 1024);
for (let at = 0; at < CONTENT.length; at += 4) CONTENT.writeUInt32LE(at, at);

let server: Server;
let port: number;
beforeAll(async () => {
  server = createServer((socket) => socket.on("error", () => {}).end(CONTENT));
  await once(server.listen(0, "127.0.0.1"), "listening");
  ({ port } = server.address() as AddressInfo);
});
afterAll(() => server.close());

const open = () => connect({ host: "127.0.0.1", port, onread: largeReads() });

it("gives every connection what came by it, to the end", async () => {
  const all = await Promise.all([open(), open(), open()].map((socket) => buffer(socket)));
  for (const content of all) expect(content.equals(CONTENT)).toBe(true);
});

it("reads more at once than Node does", async () => {
  const sizes: number[] = [];
  for await (const chunk of open()) sizes.push((chunk as Buffer).length);
  expect(Math.max(...sizes)).toBeGreaterThan(64 * 1024);
});

it("gives each piece memory of its own, that can be freed", async () => {
  for await (const chunk of open()) {
    const { byteLength, buffer: whole } = chunk as Buffer;
    expect(whole.byteLength).toBe(byteLength);
  }
});

it("reads no further than somebody takes", async () => {
  const socket = open();
  await once(socket, "readable");
  // What else came has come by now.
  await once(connect({ host: "127.0.0.1", port }).resume(), "close");
  expect(socket.readableLength).toBeLessThan(CONTENT.length / 4);
  expect((await buffer(socket)).equals(CONTENT)).toBe(true);
});
