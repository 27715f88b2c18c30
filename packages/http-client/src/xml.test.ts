import { expect, test } from "vitest";
import { readXml } from "./xml.ts";

/** In pieces of a few bytes, so that every element and character is cut somewhere. */
async function* pieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 3) yield Buffer.from(bytes.subarray(at, at + 3));
}

async function read(text: string | Buffer, namespace?: string): Promise<string[]> {
  const told: string[] = [];
  const chunks = readXml(pieces(Buffer.from(text)), {
    namespace,
    maxDepth: 5,
    open: (path, attributes) =>
      void told.push(`<${path.join("/")}${attributes["a"] === "1" ? " a" : ""}`),
    close: (path, content) => void told.push(`${content}>${path.join("/")}`),
    invalid: (why) => new Error(why),
  });
  let bytes = 0;
  for await (const size of chunks) bytes += size;
  expect(bytes).toBe(Buffer.byteLength(text));
  return told;
}

test("tells of each element, with its text in one piece", async () => {
  expect(
    await read('\uFEFF<?xml version="1.0"?><r><x a="1">ü &amp; <![CDATA[<]]>&#x1F600;</x><y/></r>'),
  ).toEqual(["<r", "<r/x a", "ü & <😀>r/x", "<r/y", ">r/y", ">r"]);
});

test("names are those of one namespace, whatever its prefix", async () => {
  const text = '<D:r xmlns:D="DAV:" xmlns:o="other"><x xmlns="DAV:"/><o:x/></D:r>';
  expect(await read(text, "DAV:")).toEqual(["<r", "<r/x", ">r/x", "<r/?", ">r/?", ">r"]);
});

test.each<[string, string | Buffer, string?]>([
  ["not XML", "<r><x></r>"],
  ["not XML", "<html><br></html>"],
  ["not XML", "{}"],
  ["not XML", "<r>&nbsp;</r>"],
  ["not XML", "<r/><r/>"],
  ["not XML", "<o:r/>", "DAV:"],
  ["not XML", '<!DOCTYPE r [<!ENTITY a "aaaa">]><r>&a;</r>'],
  ["not XML", "<a>".repeat(6)],
  ["not UTF-8", Buffer.from("<r>\u00ff</r>", "latin1")],
  ["cut", ""],
  ["cut", "<r><x/>"],
])("%s: %s", async (why, text, namespace) => {
  await expect(read(text, namespace)).rejects.toThrow(why);
});
