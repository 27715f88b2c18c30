/** Files of a directory that lanes fetch: what is published is what the adapter's own reads would have published. */
import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sync, type SyncOptions } from "@pannier/core";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openSite, type Page, type Site } from "./site.ts";
import { renderIndex, renderManifest } from "./stores.ts";
import { http } from "../src/index.ts";

let site: Site;
let target: string;
/** Files that were asked for, by whom. Only undici says `connection: keep-alive`. */
let asked: { lane: string[]; read: string[] };
/** Answers a lane in the pages' place; everybody else is told the truth. */
let lie: (name: string, response: ServerResponse, request: IncomingMessage) => boolean;

beforeEach(async () => {
  target = await mkdtemp(join(tmpdir(), "pannier-http-lane-"));
  site = await openSite();
  asked = { lane: [], read: [] };
  lie = () => false;
  site.before = (request, response) => {
    const name = decodeURIComponent((request.url as string).split("?")[0] as string).slice(1);
    if (!PATHS.includes(name) || request.method !== "GET") return false;
    const isOfLane = request.headers.connection === undefined;
    asked[isOfLane ? "lane" : "read"].push(name);
    return isOfLane && lie(name, response, request);
  };
  vi.stubEnv("PANNIER_TEST_LANES", "always");
});

afterEach(async () => {
  await site.close();
  await rm(target, { recursive: true });
  vi.unstubAllEnvs();
});

const PATHS = ["a", "b/c", "b/with blank", "b/+plus", "b/100%", "b/it's(*)!", "ü/é", "b/#1", "~"];
const textOf = (path: string) => `this is ${path}`;
const MODIFIED = new Date("2025-02-03T04:05:06Z");

type Rendered = Promise<Map<string, Page>> | Map<string, Page>;
type Render = (tree: Parameters<typeof renderIndex>[0]) => Rendered;

async function fill(render: Render = renderManifest): Promise<void> {
  const tree = new Map(
    PATHS.map((path) => {
      const file = { kind: "file", content: Buffer.from(textOf(path)) } as const;
      return [path, { file, modified: MODIFIED }] as const;
    }),
  );
  for (const [path, page] of await render(tree)) site.pages.set(`/${path}`, page);
}

/** As `sha256sum` writes it: without sizes. */
const renderSums: Render = (tree) => {
  const sums = PATHS.map(
    (path) => `${createHash("sha256").update(textOf(path)).digest("hex")}  ${path}\n`,
  );
  return new Map([...renderManifest(tree), ["SHA256SUMS", { body: sums.join("") }]]);
};

const run = (
  options: Parameters<typeof http>[1] = { manifest: "manifest.json" },
  settings: Partial<SyncOptions> = {},
  search = "",
) => sync({ sources: [http(`${site.origin}/${search}`, options)], target, ...settings });

const published = async () =>
  Object.fromEntries(
    await Promise.all(
      PATHS.map(async (path) => [path, await readFile(join(target, "current", path), "utf8")]),
    ),
  );
const wanted = () => Object.fromEntries(PATHS.map((path) => [path, textOf(path)]));

test.each<[string, Render, Parameters<typeof http>[1]]>([
  ["by a manifest", renderManifest, { manifest: "manifest.json" }],
  ["by SHA256SUMS, which tells no sizes", renderSums, {}],
  ["by index pages", renderIndex, { manifest: "none" }],
])("files of all names, listed %s", async (_, render, options) => {
  await fill(render);
  await run(options);
  expect(await published()).toEqual(wanted());
  expect(asked.lane.toSorted()).toEqual(PATHS.toSorted());
  expect(asked.read).toEqual([]);
});

test("the URL's query, and what signs in, go with each request", async () => {
  await fill();
  const seen = new Set<string>();
  lie = (_, __, { url = "", headers }) => {
    seen.add(`${url.replace(/^.*\?/, "?")} ${headers.authorization}`);
    return false;
  };
  const credentials = { username: "me", password: "a secret" };
  await run(undefined, { credentials }, "?sig=a%2Fb");
  expect([...seen]).toEqual([`?sig=a%2Fb Basic ${btoa("me:a secret")}`]);
  expect(asked.read).toEqual([]);
});

test("there are none where cookies are sent, which may be for some paths only", async () => {
  await fill();
  const cookieFile = join(target, "..", "pannier-http-lane-cookies");
  await writeFile(cookieFile, "127.0.0.1\tFALSE\t/b\tFALSE\t0\tname\tvalue\n");
  try {
    await run(undefined, { credentials: { cookieFile } });
  } finally {
    await rm(cookieFile);
  }
  expect(await published()).toEqual(wanted());
  expect(asked.lane).toEqual([]);
});

const text = textOf("b/c");
test.each<[string, Parameters<typeof http>[1], (response: ServerResponse) => void]>([
  [
    "other bytes than the manifest's",
    undefined,
    (response) =>
      response.writeHead(200, { "content-length": text.length }).end("x".repeat(text.length)),
  ],
  [
    "another date than the index's",
    { manifest: "none" },
    (response) =>
      response
        .writeHead(200, {
          "content-length": text.length,
          "last-modified": "Tue, 01 Apr 2025 04:05:06 GMT",
        })
        .end("x".repeat(text.length)),
  ],
  [
    "a part",
    undefined,
    (response) => response.writeHead(206, { "content-length": text.length }).end(text),
  ],
  [
    "another length",
    undefined,
    (response) => response.writeHead(200, { "content-length": 1 }).end("x"),
  ],
  ["an error", undefined, (response) => response.writeHead(500).end()],
  ["a wish to be left alone", undefined, (response) => response.writeHead(429).end()],
  ["a wish for a password", undefined, (response) => response.writeHead(401).end()],
  ["another place", undefined, (response) => response.writeHead(302, { location: "/a" }).end()],
  ["nothing", undefined, (response) => response.destroy()],
])("where a file is answered with %s, the adapter reads it", async (_, options, say) => {
  await fill(options === undefined ? renderManifest : renderIndex);
  lie = (name, response) => {
    if (name !== "b/c") return false;
    say(response);
    return true;
  };
  await run(options);
  expect(await published()).toEqual(wanted());
  expect(asked.read).toEqual(["b/c"]);
});

test("a file that is replaced meanwhile is found out, and the server listed again", async () => {
  await fill(renderIndex);
  let replaced = false;
  lie = () => {
    if (replaced) return false;
    replaced = true;
    const index = site.pages.get("/") as Page;
    const row = '"~">…</a>  ';
    const body = String(index.body).replace(
      `${row}03-Feb-2025 04:05  9`,
      `${row}03-Feb-2026 05:05  3`,
    );
    site.pages.set("/", { ...index, body });
    site.pages.set("/~", { body: "new", modified: new Date("2026-02-03T05:05:00Z") });
    return false;
  };
  await run({ manifest: "none" });
  expect(await readFile(join(target, "current/~"), "utf8")).toBe("new");
});

const get = () => readFile(join(target, "current/large"));

const fetch = (options: Parameters<typeof http>[1] = { unpack: "no" }, path = "large") =>
  sync({ sources: [http(`${site.origin}/${path}`, options)], target });

describe("a large file", () => {
  const MiB = 2 ** 20;
  const body = Buffer.alloc(80 * MiB, Array.from({ length: 997 }, (_, i) => String(i)).join());
  /** What lanes asked for, and how often the adapter did. */
  let parts: string[];
  let reads: number;
  let say: (response: ServerResponse, range: string) => boolean;

  /** Of 16 MiB. The adapter itself reads the beginning of the first. */
  const PARTS = 5;

  beforeEach(() => {
    parts = [];
    reads = 0;
    say = () => false;
    site.pages.set("/large", { body });
    site.before = ({ url, headers }, response) => {
      if (url !== "/large" || headers.range === "bytes=0-0") return false;
      if (headers.connection !== undefined) {
        reads++;
        return false;
      }
      const range = headers.range ?? "";
      parts.push(range);
      return say(response, range);
    };
  });

  test.each<[string, Partial<Page>, Parameters<typeof http>[1], number]>([
    ["with an ETag", {}, undefined, PARTS],
    ["with a weak one", { validator: "weak" }, undefined, 0],
    ["with a date alone", { validator: "date" }, undefined, 0],
    ["with a date and a checksum", { validator: "date" }, { checksum: "sha256:" }, PARTS],
    ["with a checksum that the engine does not know", {}, { checksum: "sha512:" }, 0],
    ["without ranges", { ranges: false }, undefined, 0],
  ])("%s", async (_, page, options = {}, count) => {
    site.pages.set("/large", { body, ...page });
    const checksum = options.checksum?.slice(0, -1);
    const hex = checksum === undefined ? "" : createHash(checksum).update(body).digest("hex");
    await fetch({
      unpack: "no",
      ...(checksum === undefined ? {} : { checksum: `${checksum}:${hex}` }),
    });
    expect((await get()).equals(body)).toBe(true);
    expect(parts).toHaveLength(count);
  });

  test("of a directory", async () => {
    const file = { kind: "file", content: body } as const;
    for (const [path, page] of await renderManifest(
      new Map([["large", { file, modified: MODIFIED }]]),
    ))
      site.pages.set(`/${path}`, page);
    await fetch({ manifest: "manifest.json" }, "");
    expect((await get()).equals(body)).toBe(true);
    expect(parts).toHaveLength(PARTS);
  });

  test("that is elsewhere is none of theirs", async () => {
    site.pages.set("/moved", (_, response) =>
      response.writeHead(302, { location: "/large" }).end(),
    );
    await fetch(undefined, "moved");
    expect((await readFile(join(target, "current/moved"))).equals(body)).toBe(true);
    expect(parts).toEqual([]);
  });

  const etag = `"${createHash("md5").update(body).digest("hex")}"`;
  const slice = (range: string, by = 0) => {
    const [, start = 0, end = 0] = (/=(\d+)-(\d+)/.exec(range) ?? []).map(Number);
    return { start: start + by, end: end + by, bytes: body.subarray(start + by, end + by + 1) };
  };

  test.each<[string, (response: ServerResponse, range: string) => void]>([
    [
      "the part one byte off, and says so",
      (response, range) => {
        const { start, end, bytes } = slice(range, -1);
        const place = `bytes ${start}-${end}/${body.length}`;
        response.writeHead(206, { etag, "content-range": place, "content-length": bytes.length });
        response.end(bytes);
      },
    ],
    [
      "a part of another version",
      (response, range) => {
        const { start, end, bytes } = slice(range);
        const place = `bytes ${start}-${end}/${body.length}`;
        const other = { etag: '"2"', "content-range": place, "content-length": bytes.length };
        response.writeHead(206, other).end(Buffer.alloc(bytes.length));
      },
    ],
    [
      "a part that is too short",
      (response, range) => {
        const { start, end, bytes } = slice(range);
        const place = `bytes ${start}-${end - 1}/${body.length}`;
        response.writeHead(206, {
          etag,
          "content-range": place,
          "content-length": bytes.length - 1,
        });
        response.end(bytes.subarray(1));
      },
    ],
    [
      "a part that is cut",
      (response, range) => {
        const { start, end, bytes } = slice(range);
        const place = `bytes ${start}-${end}/${body.length}`;
        response.writeHead(206, { etag, "content-range": place, "content-length": bytes.length });
        response.write(bytes.subarray(0, 1000), () => response.destroy());
      },
    ],
    [
      "the whole",
      (response) => response.writeHead(200, { etag, "content-length": body.length }).end(body),
    ],
    ["an error", (response) => response.writeHead(500).end()],
  ])("of which a lane is sent %s: the adapter reads that part", async (_, answer) => {
    let lies = 0;
    say = (response, range) => {
      if (lies++ !== 1) return false;
      answer(response, range);
      return true;
    };
    await fetch();
    expect((await get()).equals(body)).toBe(true);
    expect(parts).toHaveLength(PARTS);
    expect(reads).toBe(2);
  });
});
