/** An archive whose download is cut is continued, and never from another version of it. */
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, rmdirSync } from "node:fs";
import { appendFile, mkdtemp, readdir, rm, truncate, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { readAll } from "@pannier/adapter-kit";
import type { SourceContext } from "@pannier/core/adapter";
import { afterAll, expect, onTestFinished, test } from "vitest";
import { makeTar, makeZip } from "../archives.ts";
import { failure, never, open, site, tree } from "../open.ts";

const MiB = 1 << 20;

/** What cannot be compressed, as text so that it is easily compared. */
const content = () => randomBytes(1.5 * MiB).toString("base64");
const archiveOf = async (text: string) =>
  gzipSync(await makeTar([{ name: "a", content: text }]), { level: 1 });

interface Served {
  body: Buffer;
  etag: string | undefined;
  /** Bytes of a body after which the connection is cut. */
  cutAfter: number | undefined;
  /** What is odd about answers to ranges. */
  odd?: "stalls" | "ignores ranges" | "ignores If-Range" | "wrong offset" | undefined;
}

/** A server of one archive, and a context with a scratch directory to look into. */
async function served(init: Partial<Served> & { body: Buffer }) {
  const state: Served = { etag: '"1"', cutAfter: undefined, ...init };
  const asked: string[] = [];
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const { range, "if-range": condition } = request.headers;
    const { body, etag, odd } = state;
    const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    const same = condition === etag || odd === "ignores If-Range";
    const partial = range !== undefined && same && odd !== "ignores ranges";
    asked.push(`${range ?? "all"}${condition === undefined ? "" : ` if ${condition}`}`);
    if (etag !== undefined) response.setHeader("ETag", etag);
    if (odd !== "ignores ranges") response.setHeader("Accept-Ranges", "bytes");
    const rest = partial ? body.subarray(from) : body;
    response.setHeader("Content-Length", rest.length);
    if (partial) {
      const shift = odd === "wrong offset" ? 1 : 0;
      response.statusCode = 206;
      response.setHeader(
        "Content-Range",
        `bytes ${from - shift}-${body.length - 1}/${body.length}`,
      );
    }
    const { cutAfter } = state;
    if (cutAfter === undefined || cutAfter >= rest.length) response.end(rest);
    else
      response.write(
        rest.subarray(0, cutAfter),
        () => state.odd !== "stalls" && response.destroy(),
      );
  };
  const server = await site({ "/x.tgz": answer, "/x.zip": answer });
  const scratch = await mkdtemp(join(tmpdir(), "pannier-download-"));
  onTestFinished(() => rm(scratch, { recursive: true, force: true }));
  const context: Partial<SourceContext> = { scratch: async () => scratch };
  return { state, asked, ended: server.log, scratch, context, url: `${server.origin}/x.tgz` };
}

/** Where the part begins that was asked for: a cut loses what had not been read of what was sent. */
const startOf = (question: string | undefined) =>
  Number(/^bytes=(\d+)- if "1"$/.exec(question ?? "")?.[1]);

/** Lists until the connection is cut. */
async function listCut(opened: Awaited<ReturnType<typeof open>>): Promise<void> {
  expect(await failure(opened.source.list(never))).toMatchObject({
    code: "unavailable",
    transient: true,
  });
}

const partsIn = async (scratch: string) =>
  (await readdir(scratch)).filter((name) => name.startsWith("part-"));

test("the next attempt asks for the rest only, and the checksum is that of the whole", async () => {
  const text = content();
  const body = await archiveOf(text);
  const { state, asked, scratch, context, url } = await served({ body, cutAfter: 1.25 * MiB });
  const hex = createHash("sha256").update(body).digest("hex");
  const opened = await open(url, { checksum: `sha256:${hex}` }, context);
  await listCut(opened);
  expect(await readdir(scratch)).toHaveLength(2);
  state.cutAfter = 0.25 * MiB;
  await listCut(opened);
  state.cutAfter = undefined;
  expect(await tree(opened)).toEqual({ a: text });
  expect(asked).toHaveLength(3);
  const [second, third] = asked.slice(1).map(startOf) as [number, number];
  expect(second).toBeGreaterThan(MiB);
  expect(third).toBeGreaterThan(second);
  expect(await partsIn(scratch)).toEqual([]);
});

test.each(["x.tgz", "x.zip"])(
  "so does the next process, whatever a killed one wrote after that: %s",
  async (name) => {
    const text = content();
    const zip = name.endsWith("zip");
    const body = zip ? makeZip([{ name: "a", content: text, method: 0 }]) : await archiveOf(text);
    const { state, asked, scratch, context, url } = await served({ body, cutAfter: 1.25 * MiB });
    const first = await open(new URL(name, url).href, {}, context);
    await listCut(first);
    await first.source.close();
    const [part = ""] = (await partsIn(scratch)).toSorted();
    await appendFile(join(scratch, part), "written by a process that was killed");
    state.cutAfter = undefined;
    const opened = await open(new URL(name, url).href, {}, context);
    expect(await tree(opened)).toEqual({ a: text });
    expect(startOf(asked[1])).toBeGreaterThan(MiB);
    expect(await partsIn(scratch)).toEqual([]);
  },
);

test.each([
  ["the server has another version", { etag: '"2"' }],
  ["the server ignores ranges", { etag: '"2"', odd: "ignores ranges" }],
  ["the server ignores If-Range", { etag: '"2"', odd: "ignores If-Range" }],
  ["the server sends another part", { odd: "wrong offset" }],
] as const)("it starts over where %s", async (_, change) => {
  const { state, asked, scratch, context, url } = await served({
    body: await archiveOf(content()),
    cutAfter: 1.25 * MiB,
  });
  const opened = await open(url, {}, context);
  await listCut(opened);
  const text = content();
  Object.assign(state, { body: await archiveOf(text), cutAfter: undefined, ...change });
  expect(await tree(opened)).toEqual({ a: text });
  expect(asked[1]).toContain("bytes=");
  expect(await partsIn(scratch)).toEqual([]);
});

test.each([
  ["there is no strong ETag", { etag: 'W/"1"' }],
  ["there is no ETag", { etag: undefined }],
  ["the server takes no ranges", { odd: "ignores ranges" }],
  ["little has come", { cutAfter: 1000 }],
] as const)("nothing is kept where %s", async (_, init) => {
  const text = content();
  const body = await archiveOf(text);
  const { state, asked, scratch, context, url } = await served({
    body,
    cutAfter: 1.25 * MiB,
    ...init,
  });
  const opened = await open(url, {}, context);
  await listCut(opened);
  expect(await readdir(scratch)).toEqual([]);
  state.cutAfter = undefined;
  expect(await tree(opened)).toEqual({ a: text });
  expect(asked).toEqual(["all", "all"]);
});

test("a part that is damaged is not used, and one that nobody will ask for is removed", async () => {
  const text = content();
  const { state, asked, scratch, context, url } = await served({
    body: await archiveOf(text),
    cutAfter: 1.25 * MiB,
  });
  for (const damage of [
    (part: string) => truncate(join(scratch, part), MiB),
    (part: string) => writeFile(join(scratch, `${part}.json`), '{"etag":"\\"1'),
    (part: string) => rm(join(scratch, part)),
  ]) {
    state.cutAfter = 1.25 * MiB;
    await listCut(await open(url, {}, context));
    const [part = ""] = (await partsIn(scratch)).toSorted();
    await damage(part);
    state.cutAfter = undefined;
    asked.length = 0;
    expect(await tree(await open(url, {}, context))).toEqual({ a: text });
    expect(asked).toEqual(["all"]);
  }
  state.cutAfter = 1.25 * MiB;
  await listCut(await open(`${url}?signature=1`, {}, context));
  state.cutAfter = undefined;
  await tree(await open(`${url}?signature=2`, {}, context));
  expect(await partsIn(scratch)).toEqual([]);
});

test("an archive that is refused is not kept", async () => {
  const text = content();
  const body = gzipSync(await makeTar([{ name: "../a", content: text }]));
  const { scratch, context, url } = await served({ body });
  expect((await failure((await open(url, {}, context)).source.list(never))).code).toBe("invalid");
  expect(await readdir(scratch)).toEqual([]);
});

test("what had come when it was told to stop is kept", async () => {
  const text = content();
  const body = await archiveOf(text);
  const { state, asked, scratch, context, url } = await served({ body, cutAfter: 1.25 * MiB });
  const stop = new AbortController();
  const opened = await open(url, {}, context);
  await listCut(opened);
  state.odd = "stalls";
  state.cutAfter = 1000;
  const listing = opened.source.list(stop.signal);
  await expect.poll(() => asked.length).toBe(2);
  stop.abort(new Error("enough"));
  await expect(listing).rejects.toThrow("enough");
  state.cutAfter = undefined;
  expect(await tree(opened)).toEqual({ a: text });
  expect(startOf(asked[2])).toBeGreaterThanOrEqual(startOf(asked[1]));
  expect(await partsIn(scratch)).toEqual([]);
});

test("a file is read again from the same version only", async () => {
  const text = content();
  const { state, asked, context, url } = await served({ body: await archiveOf(text) });
  const opened = await open(url, {}, context);
  await tree(opened);
  const { entries } = await opened.source.list(never);
  let entry;
  for await (const [found] of entries) entry = found;
  await opened.source.close();

  state.cutAfter = 1.25 * MiB;
  const later = await open(url, {}, context);
  if (entry?.kind !== "file") throw new Error("no file");
  expect((await failure(readAll(later.source, entry))).code).toBe("unavailable");
  state.cutAfter = undefined;
  expect(String(await readAll(later.source, entry))).toBe(text);
  expect(startOf(asked.at(-1))).toBeGreaterThan(MiB);
});

const small = join(tmpdir(), `pannier-small-${process.pid}`);

/** A volume with room for the content and a little more. */
function mountSmall(): boolean {
  mkdirSync(small, { recursive: true });
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", small], { stdio: "ignore" });
    return true;
  } catch {
    rmdirSync(small);
    return false;
  }
}

const mounted = mountSmall();

afterAll(() => {
  if (!mounted) return;
  execFileSync("umount", ["-l", small]);
  rmdirSync(small);
});

test.skipIf(!mounted)(
  "where there is no room for both, what is kept gives way",
  { meta: { skipReason: "no small volume can be mounted" } },
  async () => {
    const text = content();
    const { context, url } = await served({ body: await archiveOf(text) });
    const opened = await open(url, {}, { ...context, scratch: async () => small });
    expect(await tree(opened)).toEqual({ a: text });
  },
);

test("a server is hung up on where there is no place for what comes", async () => {
  const body = await archiveOf(content());
  const init = { body, cutAfter: 1.25 * MiB, odd: "stalls" } as const;
  const { ended, scratch, context, url } = await served(init);
  const digest = createHash("sha256").update(url).digest("hex");
  mkdirSync(join(scratch, `part-${digest.slice(0, 16)}`));
  const opened = await open(url, {}, context);
  await expect(opened.source.list(never)).rejects.toThrow(/./);
  await expect.poll(() => ended).toEqual(["GET /x.tgz 200"]);
});
