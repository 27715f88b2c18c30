/** Servers that speak the API in their own way, and some that mean harm. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { listAll, openSource } from "@pannier/adapter-kit";
import { expect, onTestFinished, test } from "vitest";
import { gcs } from "../src/index.ts";

async function open(answer: (response: ServerResponse, count: number) => void) {
  let count = 0;
  const server = createServer((_, response) => {
    response.on("error", () => {});
    answer(response, count++);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const endpoint = `http://127.0.0.1:${port}`;
  const opened = await openSource(gcs("gs://bucket/", { endpoint, anonymous: true }));
  onTestFinished(async () => {
    await opened.close();
    server.closeAllConnections();
    server.close();
  });
  return { ...opened, port };
}

const object = (name: string, more: object = {}) => ({ name, size: "1", generation: "7", ...more });
const page = (items: readonly object[], nextPageToken?: string) =>
  JSON.stringify({ kind: "storage#objects", items, nextPageToken });

test.each([
  ["is empty", { md5Hash: "", crc32c: "" }],
  ["is no Base64 of an MD5", { md5Hash: "AAAA" }],
])("a digest that %s is none: the generation tells two contents apart", async (_, digests) => {
  let generation = 1;
  const { source } = await open((response) =>
    response.end(page([object("a", { ...digests, generation: String(generation) })])),
  );
  const before = (await listAll(source)).file("a");
  expect(before.digest).toBeUndefined();
  generation = 2;
  expect((await listAll(source)).file("a").fingerprint).not.toBe(before.fingerprint);
});

test.each<[string, (count: number) => string, RegExp]>([
  ["pages that are empty, for ever", (n) => page([], `t${n}`), /page after page/],
  ["two tokens in turn", (n) => page([], `t${n % 2}`), /page after page/],
  ["one token", () => page([], "t"), /goes on where it was/],
  ["one page in turn", (n) => page([object("a")], `t${n}`), /lists "a" twice/],
  ["a name twice", () => page([object("a"), object("a")]), /lists "a" twice/],
  ["names out of order", () => page([object("b"), object("a")]), /"a" after "b"/],
])("a listing that gets no further is the server's fault: %s", async (_, answer, words) => {
  const { source, port } = await open((response, count) => response.end(answer(count)));
  await expect(listAll(source)).rejects.toMatchObject({
    code: "invalid",
    transient: false,
    message: expect.stringMatching(words),
  });
  await expect(listAll(source)).rejects.toThrow(`127.0.0.1:${port}`);
});

/** Sends without end, as fast as it is read. */
function pour(response: ServerResponse, piece: string): void {
  const more = () => {
    while (!response.destroyed && response.write(piece));
    if (!response.destroyed) response.once("drain", more);
  };
  more();
}

test.each<[string, (response: ServerResponse) => void]>([
  ["an answer without end", (response) => pour(response, " ".repeat(100_000))],
  ["arrays within arrays", (response) => response.end("[".repeat(7 << 20))],
  ["objects within objects", (response) => response.end('{"a":'.repeat(1 << 20))],
  [
    "arrays beside each other",
    (response) => response.end(`{"items":[${"[[]],".repeat(1 << 20)}[]]}`),
  ],
  ["a negative size", (response) => response.end(page([object("a", { size: "-1" })]))],
  ["a size that no number holds", (response) => response.end(page([object("a", { size: "1e9" })]))],
  ["no generation", (response) => response.end(page([object("a", { generation: undefined })]))],
  ["a page of HTML", (response) => response.end("<html>sign in</html>")],
  ["an error in place of a page", (response) => response.end("null")],
  ["nothing", (response) => response.end()],
])("in place of a listing %s is refused", async (_, answer) => {
  const { source } = await open(answer);
  const began = performance.now();
  await expect(listAll(source)).rejects.toMatchObject({ code: "invalid", transient: false });
  // The parser alone would take seconds for some of them.
  expect(performance.now() - began).toBeLessThan(1000);
});

test("names may hold brackets and quotes as they like", async () => {
  const names = ['"[[[[{{{{"', "\\[\\", "]]]]}}}}"].toSorted();
  const { source } = await open((response) =>
    response.end(page(names.map((name) => object(name)))),
  );
  expect((await listAll(source)).paths).toEqual(names);
});
