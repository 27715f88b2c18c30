/** Files and archives that have to have their signature beside them. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { status, sync, type SyncOptions } from "@pannier/core";
import { expect, onTestFinished, test } from "vitest";
import { minisign, minisignKey } from "../../../test/support/minisign.ts";
import { http } from "../src/index.ts";
import { makeTar, makeZip } from "./archives.ts";
import { site } from "./open.ts";

const ada = minisignKey();
const eve = minisignKey();

async function mount(url: string, options: Parameters<typeof http>[1] = {}) {
  const work = await mkdtemp(join(tmpdir(), "pannier-signed-"));
  onTestFinished(() => rm(work, { recursive: true, force: true }));
  const target = join(work, "target");
  const signedBy = [`minisign:${ada.publicKey}`];
  return {
    sync: (other: Partial<SyncOptions> = {}) =>
      sync({ sources: [http(url, options)], target, signedBy, ...other }),
    read: (name: string) => readFile(join(target, "current", name), "utf8"),
    signature: () => status(target)?.sources[0]?.signature,
  };
}

const refused = { exitCode: 6, message: expect.stringContaining("the file is not signed") };

test("a file is published as it was signed; the next one that is not stays away", async () => {
  const { origin, pages } = await site();
  const put = (body: string, signature: string | undefined) => {
    pages.set("/app.json", { body });
    if (signature === undefined) pages.delete("/app.json.minisig");
    else pages.set("/app.json.minisig", { body: signature });
  };
  const app = await mount(`${origin}/app.json`);
  put("1", minisign(ada, "1"));
  expect(await app.sync()).toMatchObject({ result: "published" });
  expect(app.signature()).toMatchObject({ kind: "minisign", of: "file" });
  expect(await app.sync()).toMatchObject({ result: "unchanged" });
  const wrong: [body: string, signature: string | undefined][] = [
    ["2", undefined],
    ["2", minisign(ada, "1")],
    ["2", minisign(eve, "2")],
    ["2", minisign(ada, "2").slice(0, 100)],
    ["2", ""],
  ];
  for (const [body, signature] of wrong) {
    put(body, signature);
    await expect(app.sync(), signature).rejects.toMatchObject(refused);
    expect(await app.read("app.json")).toBe("1");
  }
  put("2", minisign(ada, "2"));
  expect(await app.sync()).toMatchObject({ result: "published" });
  expect(await app.read("app.json")).toBe("2");
});

test("what was published before anybody had to sign is not taken for what was signed", async () => {
  const { origin, pages } = await site();
  const modified = new Date(1_600_000_000_000);
  // Size and date are all that tells two versions apart here.
  const page = (body: string) => ({ body, modified, validator: "date" as const });
  pages.set("/app.json", page("evil"));
  const app = await mount(`${origin}/app.json`);
  await app.sync({ signedBy: [] });
  pages.set("/app.json", page("good"));
  pages.set("/app.json.minisig", { body: minisign(ada, "good") });
  await app.sync();
  expect(await app.read("app.json")).toBe("good");
});

test("a file that becomes another one between the check and the reading", async () => {
  const { origin, pages } = await site();
  pages.set("/app.json.minisig", { body: minisign(ada, "good") });
  let reads = 0;
  pages.set("/app.json", (request, response) => {
    const isWhole = request.headers.range === undefined;
    const body = isWhole && reads++ > 0 ? "evil" : "good";
    response.writeHead(200, { etag: '"same"', "content-length": 4 }).end(body);
  });
  const app = await mount(`${origin}/app.json`);
  await expect(app.sync({ attempts: 1 })).rejects.toMatchObject({ exitCode: expect.any(Number) });
  expect(app.signature()).toBeUndefined();
});

test.each(["tgz", "zip"])("an archive (%s)", async (kind) => {
  const archive = async (content: string) =>
    kind === "zip"
      ? makeZip([{ name: "a", content }])
      : gzipSync(await makeTar([{ name: "a", content }]));
  const { origin, pages } = await site();
  const app = await mount(`${origin}/site.${kind}`);
  const [one, two] = [await archive("1"), await archive("2")];
  pages.set(`/site.${kind}`, { body: one });
  pages.set(`/site.${kind}.minisig`, { body: minisign(ada, one) });
  await app.sync();
  expect(app.signature()).toMatchObject({ of: "file" });
  pages.set(`/site.${kind}`, { body: two });
  await expect(app.sync()).rejects.toMatchObject(refused);
  // Bytes behind the archive's end belong to what is signed.
  pages.set(`/site.${kind}`, { body: Buffer.concat([one, Buffer.from("\0")]) });
  await expect(app.sync()).rejects.toMatchObject({ exitCode: 6 });
  expect(await app.read("a")).toBe("1");
  pages.set(`/site.${kind}`, { body: two });
  pages.set(`/site.${kind}.minisig`, { body: minisign(ada, two) });
  await app.sync();
  expect(await app.read("a")).toBe("2");
});

test("a file of which only the content tells what it is", async () => {
  const { origin, pages } = await site();
  const body = gzipSync(await makeTar([{ name: "a", content: "1" }]));
  pages.set("/download", { body });
  const app = await mount(`${origin}/download`);
  await expect(app.sync()).rejects.toMatchObject(refused);
  pages.set("/download.minisig", { body: minisign(ada, body) });
  await app.sync();
  expect(await app.read("a")).toBe("1");
});

test("a directory has no signature: a mistake", async () => {
  const { origin } = await site();
  const app = await mount(`${origin}/dir/`);
  await expect(app.sync()).rejects.toMatchObject({ exitCode: 2 });
});
