import { expect, test } from "vitest";
import { parsePage } from "./page.ts";

const blob = (name: string, rest = "", properties = "") =>
  `<Blob><Name${name}</Name><Properties><Last-Modified>Mon, 03 Feb 2025 04:05:06 GMT</Last-Modified><Etag>0x8D1</Etag>${properties}<Content-Length>3</Content-Length><Content-MD5>q1q1q1q1q1q1q1q1q1q1qw==</Content-MD5><BlobType>BlockBlob</BlobType></Properties>${rest}</Blob>`;
const page = (blobs: string, next = "<NextMarker />") =>
  `\uFEFF<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Prefix /><Blobs>${blobs}</Blobs>${next}</EnumerationResults>`;

/** In pieces of a few bytes, so that every element and character is cut somewhere. */
async function* pieces(text: string): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 7) yield bytes.subarray(at, at + 7);
}

test("reads names, sizes, versions and where it goes on", async () => {
  const text = page(
    blob(">a/ü &amp; &lt;&#x1F600;&#x85;> ") + blob(' Encoded="true">x%01%EF%BF%BE%2F'),
    "<NextMarker>2!8!abc=</NextMarker>",
  );
  const { blobs, next, hierarchical } = await parsePage(pieces(text));
  expect(blobs.map(({ key }) => key)).toEqual(["a/ü & <😀\u0085> ", "x\u0001\uFFFE/"]);
  expect(blobs[0]).toEqual({
    key: "a/ü & <😀\u0085> ",
    size: 3,
    etag: "0x8D1",
    mtime: Date.UTC(2025, 1, 3, 4, 5, 6),
    md5: "q1q1q1q1q1q1q1q1q1q1qw==",
    type: "BlockBlob",
    directory: false,
  });
  expect(next).toBe("2!8!abc=");
  expect(hierarchical).toBe(false);
});

test("takes nothing in metadata for a property", async () => {
  const metadata =
    "<Metadata><Name>no</Name><Etag>no</Etag><Blob>no</Blob><Hdi_isfolder>true</Hdi_isfolder></Metadata>";
  const { blobs } = await parsePage(pieces(page(blob(">a", metadata))));
  expect(blobs).toMatchObject([{ key: "a", etag: "0x8D1", directory: true }]);
});

test("tells directories of a hierarchical namespace", async () => {
  const kinds = ["directory", "file"].map((kind) => `<ResourceType>${kind}</ResourceType>`);
  const text = page(kinds.map((kind, index) => blob(`>${index}`, "", kind)).join(""));
  const { blobs, hierarchical } = await parsePage(pieces(text));
  expect(blobs.map(({ directory }) => directory)).toEqual([true, false]);
  expect(hierarchical).toBe(true);
});

test("refuses a page that ends anywhere before its end", async () => {
  const text = page(blob(">a") + blob(">b"));
  const end = text.lastIndexOf(">");
  for (let cut = 0; cut <= end; cut += 13) {
    await expect(parsePage(pieces(text.slice(0, cut)))).rejects.toMatchObject({ code: "invalid" });
  }
  expect((await parsePage(pieces(text))).blobs).toHaveLength(2);
});

test.each([
  ["<html><body>sign in</body></html>"],
  ["<Error><Code>X</Code></Error>"],
  ["{}"],
  [page(blob(">a")).replace("<NextMarker />", "")],
  [page("<Blob><Name>a</Name><Properties><Etag>1</Etag></Properties></Blob>")],
  [page(blob(">"))],
])("refuses what is no list of blobs: %s", async (text) => {
  await expect(parsePage(pieces(text))).rejects.toMatchObject({ code: "invalid" });
});

test("refuses what is not UTF-8", async () => {
  const bytes = Buffer.from(page(blob(">a\u00ff")), "latin1");
  const body = (async function* () {
    yield bytes;
  })();
  await expect(parsePage(body)).rejects.toMatchObject({ code: "invalid" });
});

test("refuses a page without an end before it fills the memory", async () => {
  let given = 0;
  const body = (async function* () {
    yield Buffer.from("<EnumerationResults><Blobs>");
    // Far more than is allowed, so that the test ends where nothing is refused.
    while (++given < 1000) yield Buffer.alloc(1 << 20, " ");
  })();
  await expect(parsePage(body)).rejects.toMatchObject({
    code: "invalid",
    message: expect.stringContaining("larger"),
  });
  expect(given).toBeLessThan(100);
});
