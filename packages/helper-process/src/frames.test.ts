import { expect, test } from "vitest";
import { createFrameReader, encodeFrame } from "./frames.ts";

const MESSAGES: readonly [object, Uint8Array?][] = [
  [{ id: 1, name: "é\u0000\n" }],
  [{ id: 2 }, Buffer.from("bytes")],
  [{ id: 3 }, Buffer.alloc(0)],
  [{ id: 4, items: Array.from({ length: 50 }, (_, i) => `name ${i}`) }, Buffer.alloc(300, 7)],
];
const ALL = Buffer.concat(MESSAGES.flatMap(([message, body]) => encodeFrame(message, body)));

test.each([1, 3, 8, 100, ALL.length])("messages come whole in pieces of %i bytes", (size) => {
  const got: [object, string][] = [];
  const take = createFrameReader<object>((message, body) => {
    got.push([message, Buffer.from(body).toString("hex")]);
  });
  for (let at = 0; at < ALL.length; at += size) take(ALL.subarray(at, at + size));
  expect(got).toEqual(
    MESSAGES.map(([message, body]) => [message, Buffer.from(body ?? []).toString("hex")]),
  );
});

test("bytes are the receiver's own", () => {
  const bodies: Uint8Array[] = [];
  const take = createFrameReader((_, body) => bodies.push(body));
  const frame = Buffer.concat(encodeFrame({}, Buffer.from("first")));
  take(frame);
  frame.fill(0);
  take(Buffer.concat(encodeFrame({}, Buffer.from("other"))));
  expect(bodies.map((body) => Buffer.from(body).toString())).toEqual(["first", "other"]);
});

test("what is no message is refused before room is made for it", () => {
  const take = createFrameReader(() => {});
  expect(() => take(Buffer.from("HTTP/1.1 400 Bad Request"))).toThrow("this is not a message");
});
