/** What is read is what is there, byte for byte. */
import { createHash } from "node:crypto";
import { listAll, readAll } from "../open-source.ts";
import { type Check, noise } from "./trial.ts";

export function contentChecks(check: Check): void {
  exactChecks(check);
  streamChecks(check);
}

function exactChecks(check: Check): void {
  check("reads content of any size exactly", async (t) => {
    const sizes = [0, 1, 2, 4095, 4096, 4097, 65_535, 65_536, 65_537, 1_000_003];
    const files = new Map(sizes.map((size) => [`size-${size}`, noise(size, size)]));
    const { source } = await t.opened(files);
    const listed = await listAll(source);
    for (const [path, content] of files) {
      const entry = listed.file(path);
      t.expect(digest(await readAll(source, entry)), path).toBe(digest(content));
      if (entry.digest?.algorithm === "sha256") t.expect(entry.digest.value).toBe(digest(content));
    }
  });

  check("does not touch bytes that look like text", async (t) => {
    const files = new Map([
      ["crlf.txt", Buffer.from("a\r\nb\nc\rd\0e")],
      ["bom.html", Buffer.from("\ufeff<html>")],
      ["latin1.txt", Buffer.from([0x63, 0x61, 0x66, 0xe9, 0xff, 0xfe])],
      ["not-really.gz", Buffer.from([0x1f, 0x8b, 0x08, 0x00])],
    ]);
    const { source } = await t.opened(files);
    const listed = await listAll(source);
    for (const [path, content] of files) {
      t.expect(await readAll(source, listed.file(path)), path).toEqual(content);
    }
  });

  check("reads ranges that are slices of the whole", async (t) => {
    const content = noise(300_000, 3);
    const { source } = await t.opened({ file: content });
    const entry = (await listAll(source)).file("file");
    const ranges: [offset: number, length?: number][] = [
      [0],
      [0, 1],
      [1, 1],
      [0, 300_000],
      [65_535, 65_538],
      [299_999, 1],
      [299_999],
      [123_456],
      [299_000, 5000],
      [300_000],
      [7, 0],
    ];
    for (const [offset, length] of ranges) {
      const end = length === undefined ? undefined : offset + length;
      t.expect(
        (await readAll(source, entry, { offset, length })).equals(content.subarray(offset, end)),
        `offset ${offset}, length ${length}`,
      ).toBe(true);
    }
  });
}

function streamChecks(check: Check): void {
  check("reads a large file whole and in ranges, without holding it", async (t) => {
    const content = noise(t.settings.largeFile, 64);
    const { source } = await t.opened({ large: content });
    const entry = (await listAll(source)).file("large");
    const body = await source.read(entry, undefined, new AbortController().signal);
    t.expect(body, "a large file comes as a stream").not.toBeInstanceOf(Uint8Array);
    const hash = createHash("sha256");
    for await (const chunk of body as AsyncIterable<Uint8Array>) hash.update(chunk);
    t.expect(hash.digest("hex")).toBe(digest(content));

    const part = Math.ceil(content.length / 4) + 1;
    const parts = await Promise.all(
      [0, 1, 2, 3].map((i) => readAll(source, entry, { offset: i * part, length: part })),
    );
    t.expect(digest(Buffer.concat(parts))).toBe(digest(content));
  });

  check("reads many files at once", async (t) => {
    const files = new Map<string, Buffer>();
    for (let i = 0; i < 64; i++) files.set(`dir-${i % 5}/file-${i}`, noise(i * 1000, i));
    const { source } = await t.opened(files);
    const listed = await listAll(source);
    const read = await Promise.all(
      [...files.keys()].map((path) => readAll(source, listed.file(path))),
    );
    t.expect(read.map(digest)).toEqual([...files.values()].map(digest));
  });

  check("may be left in the middle of a file", async (t) => {
    const content = noise(Math.min(8 << 20, t.settings.largeFile), 8);
    const { source } = await t.opened({ file: content });
    const entry = (await listAll(source)).file("file");
    const signal = new AbortController().signal;
    // More often than any pool of connections is large.
    for (let i = 0; i < 40; i++) {
      const body = await source.read(entry, undefined, signal);
      if (body instanceof Uint8Array) return t.skip("the file comes in one piece");
      for await (const chunk of body) {
        t.expect(chunk.length).toBeGreaterThan(0);
        break;
      }
    }
    t.expect(digest(await readAll(source, entry))).toBe(digest(content));
  });

  check("reads an entry that an earlier process listed", async (t) => {
    const { source, store } = await t.opened({ "dir/file": "content" });
    const entry = (await listAll(source)).file("dir/file");
    const later = await t.open(store.source({}));
    // The engine keeps entries as JSON.
    const kept = JSON.parse(JSON.stringify(entry)) as typeof entry;
    const outcome = await t.outcome(readAll(later.source, kept), "not-found", "changed");
    if (typeof outcome !== "string") t.expect(outcome.toString()).toBe("content");
  });
}

function digest(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}
