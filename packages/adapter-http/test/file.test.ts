import { createHash } from "node:crypto";
import { listAll, readAll } from "@pannier/adapter-kit";
import { expect, test } from "vitest";
import { failure, never, open, site, tree } from "./open.ts";

const BODY = Buffer.from(Array.from({ length: 200_000 }, (_, i) => i % 253));

test("lists one file with size, time and version", async () => {
  const server = await site({ "/dir/app%20%C3%BC.json": { body: BODY } });
  const opened = await open(`${server.origin}/dir/app%20%C3%BC.json`);
  const listed = await listAll(opened.source);
  expect(listed.paths).toEqual(["app ü.json"]);
  expect(listed.file("app ü.json")).toMatchObject({
    size: 200_000,
    mtime: Date.parse("2025-02-03T04:05:06Z"),
  });
  expect(opened.source.ranges).toBe(true);
  expect((await readAll(opened.source, listed.file("app ü.json"))).equals(BODY)).toBe(true);
  expect(opened.requests).toEqual(["list", "read"]);
});

test("takes an empty file", async () => {
  const server = await site({ "/empty.txt": { body: "" } });
  const opened = await open(`${server.origin}/empty.txt`);
  const entry = (await listAll(opened.source)).file("empty.txt");
  expect(entry.size).toBe(0);
  expect(await readAll(opened.source, entry)).toHaveLength(0);
});

test.each(["etag", "weak", "date"] as const)(
  "an unchanged poll costs one request answered 304: %s",
  async (validator) => {
    const server = await site({ "/x.bin": { body: "1", validator } });
    const opened = await open(`${server.origin}/x.bin`);
    const token = (await listAll(opened.source)).listing.token?.();
    server.log.length = 0;
    expect(await opened.source.probe(never, token)).toEqual({ token });
    expect(server.log).toEqual(["GET /x.bin 304"]);
    server.pages.set("/x.bin", { body: "2", validator, modified: new Date(0) });
    expect((await opened.source.probe(never, token))?.token).not.toBe(token);
  },
);

test.each([
  ["etag", true],
  ["date", false],
] as const)("two queries of one path: by %s they may be one file: %s", async (validator, same) => {
  const server = await site({ "/x": { body: "1", validator } });
  const fingerprints = await Promise.all(
    ["v=1", "v=2"].map(async (query) => {
      const { source } = await open(`${server.origin}/x?${query}`);
      return (await listAll(source)).file("x").fingerprint;
    }),
  );
  expect(fingerprints[0] === fingerprints[1]).toBe(same);
});

test.each([
  ["etag", true],
  ["etag", false],
  ["weak", true],
  ["weak", false],
  ["date", true],
  ["date", false],
] as const)(
  "never reads another version, whole or in part: %s, conditions honoured: %s",
  async (validator, conditions) => {
    const server = await site({ "/x.bin": { body: BODY, validator, conditions } });
    const opened = await open(`${server.origin}/x.bin`);
    const entry = (await listAll(opened.source)).file("x.bin");
    const part = { offset: 100_000, length: 50 };
    expect(await readAll(opened.source, entry, part)).toEqual(BODY.subarray(100_000, 100_050));

    const other = Buffer.from(BODY).fill("x", 0, 10);
    const modified = new Date("2025-02-03T04:05:07Z");
    server.pages.set("/x.bin", { body: other, validator, conditions, modified });
    for (const range of [undefined, part, { offset: 10 }]) {
      expect((await failure(readAll(opened.source, entry, range))).code).toBe("changed");
    }
  },
);

test("a whole answer to a range request is not taken for the part", async () => {
  const server = await site({ "/x.bin": { body: BODY } });
  const opened = await open(`${server.origin}/x.bin`);
  const entry = (await listAll(opened.source)).file("x.bin");
  server.pages.set("/x.bin", { body: BODY, ranges: false });
  expect((await failure(readAll(opened.source, entry, { offset: 5 }))).code).toBe("changed");
  expect((await readAll(opened.source, entry, { offset: 0 })).equals(BODY)).toBe(true);
  await listAll(opened.source);
  expect(opened.source.ranges).toBe(false);
});

test.each([
  ["another offset", "bytes 6-9/100"],
  ["another size", "bytes 5-9/200"],
  ["nonsense", "bytes"],
])("a part that is not the one asked for is refused: %s", async (_, contentRange) => {
  const server = await site({ "/x.bin": { body: "x".repeat(100), validator: "date" } });
  const opened = await open(`${server.origin}/x.bin`);
  const entry = (await listAll(opened.source)).file("x.bin");
  server.pages.set("/x.bin", (_request, response) => {
    response.setHeader("last-modified", (entry.ref as string).slice("modified ".length));
    response.writeHead(206, { "content-range": contentRange }).end("12345");
  });
  const range = { offset: 5, length: 5 };
  expect((await failure(readAll(opened.source, entry, range))).code).toBe("changed");
});

test("a file that shrank is changed", async () => {
  const server = await site({ "/x.bin": { body: BODY, validator: "date" } });
  const opened = await open(`${server.origin}/x.bin`);
  const entry = (await listAll(opened.source)).file("x.bin");
  server.pages.set("/x.bin", { body: "short", validator: "date" });
  expect((await failure(readAll(opened.source, entry))).code).toBe("changed");
  const range = { offset: 1000, length: 5 };
  expect((await failure(readAll(opened.source, entry, range))).code).toBe("changed");
});

test("without ETag and date the content itself tells versions apart", async () => {
  const server = await site({ "/api": { body: "{}", validator: "none", ranges: false } });
  const opened = await open(`${server.origin}/api`, { unpack: "no" });
  const first = await listAll(opened.source);
  expect(first.listing.token?.()).toBeUndefined();
  expect(first.file("api")).toMatchObject({
    size: 2,
    digest: { algorithm: "sha256", value: createHash("sha256").update("{}").digest("hex") },
  });
  expect((await listAll(opened.source)).file("api").fingerprint).toBe(
    first.file("api").fingerprint,
  );
  server.pages.set("/api", { body: "[]", validator: "none", ranges: false });
  expect((await listAll(opened.source)).file("api").fingerprint).not.toBe(
    first.file("api").fingerprint,
  );
  expect(await opened.source.probe(never)).toBeUndefined();
});

test("checks a checksum: SHA-256 by the engine, others itself", async () => {
  const server = await site({ "/x.bin": { body: BODY } });
  const hex = (algorithm: string) => createHash(algorithm).update(BODY).digest("hex");
  const url = `${server.origin}/x.bin`;
  const bySha256 = await open(url, { checksum: `sha256:${hex("sha256")}` });
  expect((await listAll(bySha256.source)).file("x.bin").digest).toEqual({
    algorithm: "sha256",
    value: hex("sha256"),
  });
  expect(bySha256.source.ranges).toBe(true);

  for (const algorithm of ["sha512", "sha1", "md5"]) {
    const opened = await open(url, { checksum: `${algorithm}:${hex(algorithm)}` });
    const entry = (await listAll(opened.source)).file("x.bin");
    expect((await readAll(opened.source, entry)).equals(BODY)).toBe(true);
    expect(opened.source.ranges).toBe(false);
    const wrong = { ...entry, fingerprint: `${algorithm}:${hex(algorithm).replaceAll("a", "b")}` };
    expect((await failure(readAll(opened.source, wrong))).code).toBe("invalid");
  }
});

test("says that a directory wants a slash", async () => {
  const server = await site({
    "/dir": (_, response) => response.writeHead(301, { location: "/dir/" }).end(),
    "/dir/": { body: "<title>Index of /dir/</title>" },
  });
  const opened = await open(`${server.origin}/dir`, { unpack: "no" });
  const error = await failure(opened.source.list(never));
  expect(error.code).toBe("unsupported");
  expect(error.hint).toContain('end the URL with "/"');
});

test("a signed URL keeps its query as it was typed, without our options", async () => {
  const server = await site({ "/x.bin": { body: "x" } });
  const query = "X-Amz-Signature=a%2Bb%20c&unpack=no&X-Amz-Date=1&e&strip=0&z=%E2%82%AC";
  const opened = await open(`${server.origin}/x.bin?${query}`);
  await listAll(opened.source);
  expect(server.log).toEqual([
    "GET /x.bin?X-Amz-Signature=a%2Bb%20c&X-Amz-Date=1&e&z=%E2%82%AC 206",
  ]);
});

test("signs in, and never with a secret in an error", async () => {
  const server = await site({
    "/x.bin": (request, response) => {
      const right = `Basic ${btoa("me:s3cret")}`;
      response.writeHead(request.headers.authorization === right ? 200 : 401, { etag: '"1"' });
      response.end("x");
    },
  });
  const at = server.origin.replace("//", "//me:s3cret@");
  const opened = await open(`${at}/x.bin?sig=hush`);
  expect((await listAll(opened.source)).paths).toEqual(["x.bin"]);
  const wrong = await open(`${at.replace("s3cret", "wr0ng")}/x.bin?sig=hush`);
  const error = await failure(wrong.source.list(never));
  expect(error.code).toBe("auth");
  expect(`${error.message} ${error.hint} ${error.stack}`).not.toMatch(/s3cret|wr0ng|hush/);
  const other = await open(
    `${server.origin}/x.bin`,
    {},
    {
      credentials: { username: "me", password: "s3cret" },
    },
  );
  expect((await listAll(other.source)).paths).toEqual(["x.bin"]);
});

test.each([
  ["no ETag that is one", "etag", "abc"],
  ["no date that is one", "last-modified", "yesterday"],
])("a server that gives %s", async (_, header, value) => {
  const asked: (string | undefined)[] = [];
  const server = await site({
    "/a.txt": ({ headers }, response) => {
      asked.push(headers["if-match"] ?? headers["if-unmodified-since"]);
      response.setHeader(header, value).end("hello");
    },
  });
  const opened = await open(`${server.origin}/a.txt`);
  expect(await tree(opened)).toEqual({ "a.txt": "hello" });
  expect(asked.every((condition) => condition === undefined)).toBe(true);
});

test.each([400, 500, 501])(
  "a server that answers %d where a range is asked for",
  async (status) => {
    const server = await site({
      "/a.txt": ({ headers }, response) => {
        if (headers.range !== undefined) return void response.writeHead(status).end();
        response.setHeader("etag", '"1"').end("hello");
      },
    });
    expect(await tree(await open(`${server.origin}/a.txt`))).toEqual({ "a.txt": "hello" });
  },
);

test("without an ETag, what was modified just now is looked at once more", async () => {
  const modified = new Date("2025-02-03T04:05:06Z");
  let now = modified.getTime() + 500;
  let body = "one";
  const server = await site({
    "/a.txt": ({ headers }, response) => {
      response.setHeader("date", new Date(now).toUTCString());
      response.setHeader("last-modified", modified.toUTCString());
      const same = headers["if-modified-since"] === modified.toUTCString();
      response.writeHead(same ? 304 : 200).end(same ? "" : body);
    },
  });
  const { source } = await open(`${server.origin}/a.txt`);
  const first = await listAll(source);
  expect(first.listing.token?.()).toBeUndefined();
  expect(await source.probe(never, undefined)).toBeUndefined();
  body = "two";
  now += 60_000;
  const second = await listAll(source);
  expect(second.file("a.txt").fingerprint).not.toBe(first.file("a.txt").fingerprint);
  const token = second.listing.token?.();
  expect(token).toBeDefined();
  expect(await source.probe(never, token)).toEqual({ token });
});

test("without an ETag, a file of the same date and another size is another one", async () => {
  const server = await site({ "/a.txt": { body: "one", validator: "date" } });
  const { source } = await open(`${server.origin}/a.txt`);
  const { fingerprint } = (await listAll(source)).file("a.txt");
  server.pages.set("/a.txt", { body: "three", validator: "date" });
  expect((await listAll(source)).file("a.txt").fingerprint).not.toBe(fingerprint);
});
