/** Servers that speak the API in their own way, and some that mean harm. */
import type { ServerResponse } from "node:http";
import { listAll } from "@pannier/adapter-kit";
import { expect, test } from "vitest";
import { openAnswering, pour, testEndlessListings } from "../../../test/support/odd-stores.ts";
import { gcs } from "../src/index.ts";
import { ownTime } from "../../../test/support/own-time.ts";

const open = (answer: (response: ServerResponse, count: number) => void) =>
  openAnswering(
    (response, _, __, count) => answer(response, count),
    (endpoint) => gcs("gs://bucket/", { endpoint, anonymous: true }),
  );

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

testEndlessListings(
  (answer) => open((response, count) => response.end(answer(count))),
  (names, token) =>
    page(
      names.map((name) => object(name)),
      token || undefined,
    ),
);

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
  const took = ownTime();
  await expect(listAll(source)).rejects.toMatchObject({ code: "invalid", transient: false });
  // The parser alone would take seconds for some of them.
  expect(took()).toBeLessThan(1000);
});

test("names may hold brackets and quotes as they like", async () => {
  const names = ['"[[[[{{{{"', "\\[\\", "]]]]}}}}"].toSorted();
  const { source } = await open((response) =>
    response.end(page(names.map((name) => object(name)))),
  );
  expect((await listAll(source)).paths).toEqual(names);
});
