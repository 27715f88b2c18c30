import { listAll } from "@pannier/adapter-kit";
import { comparePaths } from "@pannier/core/adapter";
import { expect, test } from "vitest";
import { makeBlob } from "./blob-server.ts";
import { contents, openContainer } from "./open.ts";

/** Names that a listing in parallel cuts anywhere, and whose two orders differ. */
function manyNames(): string[] {
  const names = ["a", "😀", "～", "z/"].flatMap((stem) =>
    Array.from({ length: 60 }, (_, index) => `${stem}${String(index).padStart(3, "0")}`),
  );
  return [
    ...names,
    ...Array.from({ length: 60 }, (_, index) => `z/${index % 2 ? "😀" : "～"}${index}`),
  ];
}

const asBlobs = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, name]));
const file = (text: string) => makeBlob(text, { resourceType: "file" });
const directory = () => makeBlob("", { resourceType: "directory" });
/** Sorts as a hierarchical namespace does. */
const segments = (key: string) => key.replaceAll("/", "\0");
const starts = (log: readonly { url: string }[]) =>
  log.map(({ url }) => new URL(url, "http://x").searchParams.get("startFrom"));

test("lists side by side, and in the order of bytes", async () => {
  const names = manyNames();
  const container = await openContainer(asBlobs(names));
  container.behaviour.page = 7;
  const { source } = await container.open();
  const { paths, listing } = await listAll(source);
  expect(listing.ordered).toBe(true);
  expect(paths).toEqual(names.toSorted(comparePaths));
  expect(new Set(starts(container.log)).size).toBeGreaterThan(8);
});

test.each([
  ["passes startFrom over", () => undefined],
  ["does not know its version", () => 400],
])("lists one page after the other where the service %s", async (_, status) => {
  const names = manyNames();
  const container = await openContainer(asBlobs(names));
  container.behaviour.page = 100;
  container.behaviour.startFrom = false;
  container.behaviour.intercept = (request, response) => {
    const refused = request.headers["x-ms-version"] === "2026-02-06" ? status() : undefined;
    if (refused === undefined) return false;
    response.writeHead(refused, { "x-ms-error-code": "InvalidHeaderValue" }).end();
    return true;
  };
  const { source } = await container.open();
  for (const asked of [4, 3]) {
    container.log.length = 0;
    expect((await listAll(source)).paths).toEqual(names.toSorted(comparePaths));
    // It is asked once whether it can begin anywhere.
    expect(container.log).toHaveLength(asked);
  }
});

test("leaves the order of a hierarchical namespace to the engine, and its directories out", async () => {
  const container = await openContainer({
    "d/a": directory(),
    "d/a/x": file("1"),
    "d/a-b": file("2"),
    "d/a.c": file("3"),
    "d/e": directory(),
  });
  container.behaviour.compare = (a, b) => comparePaths(segments(a), segments(b));
  container.behaviour.page = 2;
  const opened = await container.open("d/");
  const { listing, paths } = await listAll(opened.source);
  expect(listing.ordered).toBe(false);
  expect(paths).toEqual(["a/x", "a-b", "a.c"]);
  expect(starts(container.log)).toEqual([null, null, null]);
  expect(await contents(opened)).toEqual({ "a/x": "1", "a-b": "2", "a.c": "3" });
});

test("leaves out what stands for directories, whoever made it", async () => {
  const container = await openContainer({
    hadoop: makeBlob("", { metadata: { hdi_isfolder: "true" } }),
    "hadoop/x": "1",
    "portal/": "",
    "portal/x": "2",
    empty: "",
    // Somebody's content, whatever its metadata say.
    odd: makeBlob("3", { metadata: { Hdi_isfolder: "true" } }),
  });
  const opened = await container.open();
  expect(await contents(opened)).toEqual({ "hadoop/x": "1", "portal/x": "2", empty: "", odd: "3" });
  expect(opened.warnings).toEqual([]);
});

test("takes a name without a slash for a prefix, or else for the one blob", async () => {
  const container = await openContainer({
    "site.html": "0",
    "site-old/x": "1",
    "site/x": "2",
    "one/file.json": "3",
    "one/file.json.bak": "4",
  });
  expect(await contents(await container.open("site"))).toEqual({ x: "2" });
  container.log.length = 0;
  expect(await contents(await container.open("one/file.json"))).toEqual({ "file.json": "3" });
  expect(container.log.at(-1)?.url).toMatch(/\/box\/one\/file\.json$/);
  await expect(contents(await container.open("sit"))).rejects.toMatchObject({ code: "not-found" });
});

test("vouches with the MD5 of block blobs only, and pins by ETag", async () => {
  const md5 = makeBlob("x").md5;
  const container = await openContainer({
    a: makeBlob("x", { etag: "0x1" }),
    b: makeBlob("x", { etag: "0x2", md5: undefined }),
    c: makeBlob("longer", { etag: "0x3", md5, type: "AppendBlob" }),
  });
  const { entries } = await listAll((await container.open()).source);
  const hex = "9dd4e461268c8034f5c8564e155c67a6";
  expect([...entries.values()]).toMatchObject([
    { path: "a", fingerprint: `md5:${hex}`, digest: { algorithm: "md5", value: hex }, ref: "0x1" },
    { path: "b", fingerprint: "etag:0x2", digest: undefined, ref: "0x2" },
    { path: "c", fingerprint: "etag:0x3", digest: undefined, ref: "0x3" },
  ]);
});
